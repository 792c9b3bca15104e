"""Arms and coordinates in groups against one at a time."""

import numpy as np
import pytest

from gnoise.stats.evidence import ARMS, NONE, adam, sgd, sign
from gnoise.stats.evidence.arms import Gradients
from gnoise.stats.evidence.influence import by_block
from gnoise.stats.evidence.optimizers import Simulated
from gnoise.stats.evidence.simulate import simulate as simulate_all
from gnoise.stats.evidence.updates import arm_moments, treat_all, two_passes

DRAWS, COORDS = 32, 50
COUNTS = (4, 1, 4)


def gradients(seed: int, draws: int) -> Gradients:
    """Return draws with heavy entries, one of them loud."""
    rng = np.random.default_rng(seed)
    values = 0.3 + rng.standard_t(2, (draws, COORDS)) * rng.lognormal(size=COORDS)
    values[5] *= 10.0
    norms = np.linalg.norm(values, axis=1)
    return Gradients(values, norms, 3.0 * norms, float(np.median(norms)), float(3.0 * np.median(norms)), 1.0, values)


@pytest.mark.parametrize("optimizer", [adam((0.9, 0.95)), sgd(0.9), sign()], ids=lambda x: x.name)
@pytest.mark.parametrize("at_once", [1, 7 * DRAWS, 3 * COORDS * DRAWS, 10**6])
def test_every_arm_has_what_it_has_alone(optimizer: Simulated, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnoise.stats.evidence.simulate._AT_ONCE", at_once)
    own, fillings = gradients(0, DRAWS), [gradients(1, 16), gradients(2, 8), gradients(3, 8)]
    curvature, passes = np.linspace(0.5, 2.0, COORDS), two_passes(optimizer, DRAWS)
    found = simulate_all((NONE, *ARMS), own, fillings, optimizer, curvature, COUNTS)
    for place, arm in enumerate((NONE, *ARMS)):
        moments = arm_moments(treat_all(arm, own, fillings), passes)
        for of_filling, made, count in zip(found, moments, COUNTS, strict=True):
            alone = by_block(made, passes, optimizer, curvature, count)
            np.testing.assert_allclose(of_filling.middle[place], alone.middle, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(of_filling.size[place], alone.size, rtol=1e-9)


def test_an_arm_that_touches_nothing_has_exactly_what_none_has() -> None:
    own, fillings = gradients(0, DRAWS), [gradients(1, 16)]
    high = next(arm for arm in ARMS if arm.setting == "4 median ‖g‖" and arm.for_layer)
    calm = [
        Gradients(x.values, np.ones(len(x.norms)), x.model_norms, 1.0, 1.0, 1.0, x.filling) for x in (own, *fillings)
    ]
    (found,) = simulate_all((NONE, high), calm[0], calm[1:], adam(), np.ones(COORDS), (4,))
    assert np.array_equal(found.middle[0], found.middle[1])
    assert np.array_equal(found.size[0], found.size[1])
