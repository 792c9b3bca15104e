"""Nothing planted along a path, nothing recommended: evidence and thresholds together on drifting Gaussian draws."""

from collections.abc import Callable

import numpy as np
import pytest

from gnoise.records import Kind, Layer, Recommendation, Remedy
from gnoise.rules import recommend_all
from gnoise.stats.evidence import Ladders, adam
from gnoise.stats.spikes import estimate_spikes
from gnoise.stats.statistic import Subject
from tests.contract.samples import layer_samples

LAYERS, PAIRS, EXAMPLES, ROWS, COLUMNS = 40, 40, 4, 10, 16
SHARE = 0.05
"""Of layers that may be named by chance."""

Drift = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def _walking(rng: np.random.Generator, gradient: np.ndarray) -> np.ndarray:
    """The gradient wanders off."""
    return gradient + 0.05 * np.cumsum(rng.standard_normal((PAIRS, ROWS, COLUMNS)), axis=0)


def _falling(rng: np.random.Generator, gradient: np.ndarray) -> np.ndarray:
    """It is many times as large at first, as on the first steps from a checkpoint."""
    del rng
    return gradient * (1.0 + 30.0 * np.exp(-np.arange(PAIRS) / 1.5))[:, None, None]


def _vanishing(rng: np.random.Generator, gradient: np.ndarray) -> np.ndarray:
    """And it is nothing later on, so that no gain can be judged and thresholds speak."""
    return _falling(rng, gradient) * (np.arange(PAIRS) < 4)[:, None, None]


def _pulled_back(rng: np.random.Generator, gradient: np.ndarray) -> np.ndarray:
    """It pulls back the noise of the steps before, each direction as fast as its curvature says."""
    curvature = 0.3 * np.exp(rng.standard_normal(gradient.shape))
    place, speed, along = gradient, np.zeros(gradient.shape), []
    for step in range(PAIRS):
        along.append(curvature * place)
        speed = 0.9 * speed + along[-1] + 0.25 * rng.standard_normal(gradient.shape)
        place = place - 0.2 * (1.0 - step / PAIRS) * speed
    return np.stack(along)


def _recommendations(drift: Drift, *, loud: float = 1.0) -> list[Recommendation]:
    """Judge layers of Gaussian noise of unequal scales; every tenth draw is as loud as asked."""
    rng = np.random.default_rng(0)
    ladders, layers, estimates = Ladders(adam((0.9, 0.95)), moving=True), [], []
    for place in range(LAYERS):
        layer = Layer(f"h.{place}.weight", Kind.MLP, (ROWS, COLUMNS), depth=place)
        means = np.repeat(drift(rng, 0.15 * rng.standard_normal((ROWS, COLUMNS))), 2, axis=0)
        each = means[:, None] + rng.standard_normal((2 * PAIRS, EXAMPLES, ROWS, COLUMNS))
        each *= np.exp(rng.standard_normal((ROWS, COLUMNS)))
        each[::10] *= loud
        samples = layer_samples(each)
        layers.append(layer)
        ladders.add(ladders.judge(layer, samples))
        estimates += estimate_spikes(Subject(layer, moving=True), samples.norms)
    found = recommend_all(layers, estimates, (), ladders.rows(), path_steps=PAIRS)
    return [each for each in found if each.layer is not None]


@pytest.mark.parametrize("drift", [_walking, _falling, _vanishing, _pulled_back])
def test_drifting_weights_alone_name_no_remedy(drift: Drift) -> None:
    found = _recommendations(drift)
    assert len(found) == LAYERS
    assert sum(each.remedy is not Remedy.NONE for each in found) <= SHARE * LAYERS


def test_loud_draws_on_a_path_are_still_named_where_no_gain_is_known() -> None:
    found = _recommendations(_vanishing, loud=10.0)
    assert sum(each.remedy is Remedy.STABILIZE for each in found) > 0.9 * LAYERS
