"""Learning rates of single layers, judged by what they buy the whole model."""

from dataclasses import replace

import numpy as np
import pytest

from gnoise.stats.evidence import (
    NONE,
    RATES,
    Arm,
    Progress,
    adam,
    add_progress,
    every_rate_progress,
    gains,
    measure_progress,
    rate_progress,
    setting_gains,
)
from gnoise.stats.evidence.progress import LEFT_OUT
from tests.stats.evidence.planted import planted


def _known(along: float, size: float) -> Progress:
    """A layer whose numbers are the same in both folds, and with any block left out."""
    return Progress(
        arms=(NONE,),
        along=np.full((1, 2), along),
        size=np.full((1, 2), size),
        steady=np.array([size / 2]),
        steady_left=np.full(8, size / 2),
        along_left=np.full((8, 1, 2), along),
        size_left=np.full((8, 1, 2), size),
        params=({},),
        draws=64,
        left_out=LEFT_OUT,
        freedom=4,
    )


def _measured(cause: str, seed: int, *, noise: float = 1.0) -> Progress:
    sample = planted(cause, seed, coords=500)
    if noise != 1.0:  # more of it around the same gradient
        values = sample.values
        mean = values.mean(axis=0)
        values = (mean + noise * (values - mean)).astype(np.float32)
        sq_norms = np.square(values, dtype=np.float64).sum(axis=1)
        sample = replace(sample, values=values, draw_sq_norms=sq_norms, model_sq_norms=sq_norms)
    found = measure_progress(sample, adam((0.9, 0.95)), ())
    assert isinstance(found, Progress)
    return found


def test_a_layer_that_does_not_move_is_no_trouble() -> None:
    alone = every_rate_progress([_known(1.0, 1.0), _known(0.5, 4.0)])
    found = every_rate_progress([_known(1.0, 1.0), _known(0.5, 4.0), _known(1e-3, 0.0)])
    np.testing.assert_allclose(found.size, alone.size)
    np.testing.assert_allclose(found.along, alone.along, atol=2e-3)


def test_without_any_progress_no_rate_is_judged() -> None:
    assert setting_gains(every_rate_progress([_known(-1.0, 1.0), _known(-0.5, 4.0)])) == []


@pytest.mark.parametrize("arm", RATES)
def test_one_layers_rate_gains_by_the_formula(arm: Arm) -> None:
    quiet, noisy, a = _known(1.0, 1.0), _known(0.5, 4.0), arm.rate or 1.0
    found = rate_progress(add_progress([quiet, noisy]), noisy, [arm])
    (gain,) = setting_gains(found)
    assert gain.gain is not None
    assert gain.gain.value == pytest.approx((1.0 + 0.5 * a) ** 2 / (1.0 + 4.0 * a**2) / (1.5**2 / 5.0))
    assert gain.params == {"lr_multiplier": a}
    assert gain.setting == f"rate × {a:g}, gain of the model"


def test_rates_by_signal_over_noise_are_the_best_there_are() -> None:
    n, d = np.array([1.0, 0.5, 0.8]), np.array([1.0, 4.0, 2.0])
    found = every_rate_progress([_known(*pair) for pair in zip(n, d, strict=True)])
    root, best = (each.gain.value for each in setting_gains(found) if each.gain is not None)
    assert best == pytest.approx((n**2 / d).sum() * d.sum() / n.sum() ** 2)
    a = np.sqrt(n / d)
    assert root == pytest.approx((a @ n) ** 2 / (a**2 @ d) / (n.sum() ** 2 / d.sum()))
    assert 1.0 < root < best


def test_a_layer_without_any_progress_gets_next_to_no_rate() -> None:
    found = every_rate_progress([_known(1.0, 1.0), _known(-0.1, 4.0)])
    assert setting_gains(found)[-1].gain is not None
    assert found.along[-1] == pytest.approx(1.0, abs=0.001)
    assert found.size[-1] == pytest.approx(1.0, abs=0.001)


def test_only_the_noisy_layer_wants_a_smaller_rate() -> None:
    for seed in range(2):
        parts = [_measured("equal", 10 * seed + place) for place in range(5)]
        parts.append(_measured("equal", 10 * seed + 5, noise=4.0))
        whole = add_progress(parts)
        *others, noisy = (gains(rate_progress(whole, part))[0].gain for part in parts)
        assert noisy is not None
        assert noisy.low > 1.02
        assert all(each is not None and each.high < 1.0 for each in others)


def test_layers_that_are_all_alike_gain_nothing_from_rates_of_their_own() -> None:
    for found in gains(every_rate_progress([_measured("equal", seed) for seed in range(6)])):
        assert found.gain is not None
        assert 0.97 < found.gain.value < 1.01
