"""The row chart names the loud rows, and gives no name a meaning."""

from dataclasses import replace

import numpy as np

from gnoise.charts.rows import row_energy
from gnoise.collect.matrices import matrix_numbers, matrix_sample
from gnoise.records import MatrixSample
from tests.charts.records import HOSTILE, known


def _matrix(noise: np.ndarray) -> MatrixSample:
    import torch

    generator = torch.Generator().manual_seed(0)
    numbers = [
        matrix_numbers(torch.tensor(e), median_magnitude=float(np.median(np.abs(e))), generator=generator)
        for e in noise.astype(np.float32)
    ]
    return matrix_sample(noise.shape[1], noise.shape[2], numbers)


def test_loud_rows_are_named() -> None:
    noise = np.random.default_rng(0).standard_normal((8, 200, 40))
    noise[:, 7] *= 3.0
    labels = [f"t{row}" for row in range(200)]
    labels[7] = HOSTILE
    chart = row_energy(_matrix(noise), [known("a", "row_dispersion", 12.0, 9.0, 15.0)], labels=labels)
    assert f"row 7 {HOSTILE!r} has" in chart.finding
    assert "rows differ 12.0 times as much as chance makes them" in chart.finding
    assert chart.table.loc[chart.table["times_even"].idxmax(), "row"] == 7
    assert len(chart.table) == 200
    texts = [text for trace in chart.figure.data for text in trace.text or ()]
    assert not any("<b>" in text for text in texts)


def test_even_noise_is_even() -> None:
    chart = row_energy(_matrix(np.random.default_rng(1).standard_normal((8, 100, 400))), [])
    assert chart.table["times_even"].between(0.8, 1.2).all()


def test_nothing_to_draw_has_a_reason() -> None:
    assert row_energy(None, []).finding == "No rows to draw: this tensor has no rows."
    silent = _matrix(np.random.default_rng(1).standard_normal((4, 3, 5)))
    silent = replace(silent, row_energy=np.zeros_like(silent.row_energy))
    assert row_energy(silent, []).finding == "No rows to draw: no noise was seen."
