"""Draw predicted against measured gains from the benchmark's numbers.

Run from the repository's root:

    .venv/bin/python docs/calibration_picture.py benchmarks/results/calibration.json docs/pictures/calibration.svg
"""

import json
import math
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

SIDE, MARGIN, GAP, HEAD, FOOT = 330, 52, 40, 24, 44
LOW, HIGH = 0.4, 2.5
TICKS = (0.5, 0.7, 1.0, 1.4, 2.0)
COLOURS = ("#2b8cbe", "#e66101", "#5e3c99", "#1b9e77")
PANELS = (("frozen", "predicted at frozen weights"), ("path", "predicted along a path"))

Interval = tuple[float, float, float]


class Mark(NamedTuple):
    """One arm at one checkpoint, as multiples of no remedy's progress a step."""

    training: str
    words: str
    predicted: Interval
    measured: Interval


def main() -> None:
    """Draw both panels into one file."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    cells = json.loads(source.read_text("utf-8"))["cells"]
    trainings = sorted({cell["training"] for cell in cells})
    width, height = 2 * (MARGIN + SIDE) + GAP, HEAD + SIDE + FOOT + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="11" fill="#777">',
        "<title>Predicted against measured gains of every arm, at frozen weights and along a path</title>",
    ]
    for place, (name, words) in enumerate(PANELS):
        left = MARGIN + place * (MARGIN + SIDE + GAP / 2)
        marks = [mark for cell in cells for mark in _marks(cell, name)]
        parts.append(f'<g transform="translate({left:g} {HEAD})">{_panel(marks, words, trainings)}</g>')
    for place, training in enumerate(trainings):
        x = MARGIN + place * 110
        parts.append(f'<circle cx="{x}" cy="{height - 12}" r="4" fill="{COLOURS[place]}"/>')
        parts.append(f'<text x="{x + 9}" y="{height - 8}">{escape(training)}</text>')
    target.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _marks(cell: dict, predictor: str) -> list[Mark]:
    predictions = cell["predictions"].get(predictor, {})
    found: list[Mark] = []
    for result in cell["trial"]["results"]:
        arm, saved = result["arm"], (result["tokens_saved"], result["low"], result["high"])
        predicted = predictions.get(arm)
        if predicted is None or predicted["gain"] is None or None in saved:
            continue
        cost = 2.0 if arm == "batch_x2" else 1.0
        middle, low, high = (cost / (1.0 - share) for share in saved)
        words = (
            f"{cell['training']} {cell['moment']}, {arm}: predicted ×{predicted['gain']:.3f}, measured ×{middle:.3f}"
        )
        gain = (predicted["gain"], predicted["low"], predicted["high"])
        found.append(Mark(cell["training"], words, gain, (middle, low, high)))
    return found


def _panel(marks: Sequence[Mark], words: str, trainings: Sequence[str]) -> str:
    parts = [f'<rect width="{SIDE}" height="{SIDE}" fill="none" stroke="#bbb"/>']
    for tick in TICKS:
        x, y = _across(tick), _up(tick)
        parts.append(f'<path d="M{x:.1f} 0V{SIDE}M0 {y:.1f}H{SIDE}" stroke="#bbb" stroke-opacity="0.4"/>')
        parts.append(f'<text x="{x:.1f}" y="{SIDE + 15}" text-anchor="middle">×{tick:g}</text>')
        parts.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">×{tick:g}</text>')
    parts.append(f'<path d="M0 {SIDE}L{SIDE} 0" stroke="#777" stroke-dasharray="5 4"/>')
    for mark in marks:
        colour = COLOURS[trainings.index(mark.training)]
        x, x_low, x_high = (_across(value) for value in mark.predicted)
        y, y_low, y_high = (_up(value) for value in mark.measured)
        bars = f"M{x_low:.1f} {y:.1f}H{x_high:.1f}M{x:.1f} {y_low:.1f}V{y_high:.1f}"
        parts.append(f'<path d="{bars}" stroke="{colour}" stroke-opacity="0.35" fill="none"/>')
        title = f"<title>{escape(mark.words)}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}">{title}</circle>')
    parts.append(f'<text x="{SIDE / 2}" y="{SIDE + 32}" text-anchor="middle">{escape(words)}</text>')
    parts.append(
        f'<text x="-38" y="{SIDE / 2}" text-anchor="middle" transform="rotate(-90 -38 {SIDE / 2})">measured</text>'
    )
    return "".join(parts)


def _across(value: float) -> float:
    inside = min(max(value, LOW), HIGH)
    return SIDE * (math.log(inside) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))


def _up(value: float) -> float:
    return SIDE - _across(value)


if __name__ == "__main__":
    main()
