"""A model of six layers and its findings, made by hand."""

import numpy as np

from gnoise.records import Estimate, Kind, Layer, Recommendation, Remedy, RunInfo, Severity, Sketch, Status
from gnoise.stats.sketch import sketch_from_values

HOSTILE = "<b>*bold*</b>_[x](http://evil)$y$:smile:"
"""A name that is markup in Markdown, HTML and TeX at once: it must come out as it stands."""

LAYERS = (
    Layer("wte.weight", Kind.EMBEDDING, (50, 12), owners=("wte.weight", "head.weight")),
    Layer("h.0.attn.weight", Kind.ATTENTION, (36, 12), depth=0),
    Layer("h.0.attn.bias", Kind.BIAS, (36,), depth=0),
    Layer("h.0.mlp.weight", Kind.MLP, (48, 12), depth=0),
    Layer("ln_f.weight", Kind.NORM, (12,)),
    Layer(HOSTILE, Kind.OTHER, (12, 12)),
)

INFO = RunInfo(
    model="nanoGPT checkpoint, 2,400 parameters",
    source="ckpt.pt",
    checkpoint_sha256="0" * 64,
    data="train.bin, 90,000 tokens",
    example="sequence",
    tokens_per_example=64,
    loss_reduction="mean",
    draws=64,
    examples_per_draw=4,
    dtype="float32",
    training_mode=True,
    seed=0,
    device="cpu",
    world_size=1,
    parameters=2_400,
    versions={"torch": "2.13.0"},
    command="gnoise profile ckpt.pt",
    created="2025-11-22T05:30:00+00:00",
    optimizer={"name": "AdamW", "batch_size": 32},
)


def known(
    layer: str | None, quantity: str, value: float, low: float | None, high: float | None, *, note: str = ""
) -> Estimate:
    return Estimate(layer, quantity, value, low, high, None, 64, Status.OK, note)


def unknown(layer: str | None, quantity: str, status: Status, *, low: float | None = None) -> Estimate:
    return Estimate(layer, quantity, None, low, None, None, 64, status)


def _of_layer(layer: Layer, place: int) -> list[Estimate]:
    name, calm = layer.name, 1.0 + 0.02 * place
    return [
        known(name, "b_simple", 100.0 * calm, 80.0, 140.0),
        known(name, "alpha_entries", 1.5, 1.4, 1.6),
        known(name, "alpha_draws", 1.97 - 0.01 * place, 1.93 - 0.01 * place, 2.0),
        known(name, "averaging_slope", -0.5 + 0.01 * place, -0.55, -0.42),
        known(name, "spike_ratio", 1.4 * calm, 1.2, 1.6),
    ]


ESTIMATES = (
    known(None, "b_simple", 412.0, 380.0, 455.0),
    known(None, "spike_ratio", 1.6, 1.4, 1.9, note="draw 12"),
    *(estimate for place, layer in enumerate(LAYERS) for estimate in _of_layer(layer, place)),
    known("wte.weight", "row_dispersion", 38.0, 31.0, 45.0, note=f"rows 3, 17: {HOSTILE}"),
    unknown("h.0.attn.weight", "row_dispersion", Status.TOO_FEW_DRAWS),
)

RECOMMENDATIONS = (
    Recommendation(
        "model", None, Remedy.NONE, {}, Status.OK, "the loudest draw is 1.6 times the median", (ESTIMATES[1],)
    ),
    Recommendation(
        "layer",
        HOSTILE,
        Remedy.SHRINK,
        {"form": "rational", "scale": 0.01},
        Status.OK,
        f"averaging will not tame {HOSTILE}",
        (ESTIMATES[-4],),
        Severity.WARNING,
    ),
)


def sketches(values: np.ndarray) -> tuple[Sketch, ...]:
    """Count each row of values as one block."""
    return tuple(sketch_from_values(row.astype(np.float32)) for row in values)
