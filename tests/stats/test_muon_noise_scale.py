"""What is said of a noise scale in Muon's norm, on norms made up by hand."""

from dataclasses import replace

import numpy as np
import pytest

from gnoise.records import DrawSample, Estimate, Kind, Layer, Status
from gnoise.stats import NormSums, Subject, summands
from gnoise.stats.muon_noise_scale import (
    STATISTIC,
    MuonNorms,
    add_muon_norms,
    estimate_muon_noise_scale,
    muon_estimate,
    muon_norms,
)
from tests.contract import samples

DRAWS = samples.draw_sample(64, 4)
LAYER = samples.LAYER
SAMPLE = samples.layer_samples(samples.gaussian())
MUON = Subject(layer=LAYER, draws=DRAWS, optimizer={"name": "Muon"})


def known(noise: float = 6.0, along: float = 2.0, above: float = 3.0, *, spread: float = 0.0) -> MuonNorms:
    """Norms that scatter as told around their means."""
    zigzag = spread * np.tile([1.0, -1.0], 16)
    return MuonNorms(noise + zigzag, along + zigzag, above)


def of(norms: MuonNorms, draws: DrawSample = DRAWS) -> Estimate:
    return muon_estimate("w", norms, draws)


def test_without_errors_of_sampling_the_ends_are_the_two_ratios() -> None:
    found = of(known())
    assert found.low == pytest.approx(4.0 * 36.0 / 9.0)
    assert found.high == pytest.approx(4.0 * 36.0 / 4.0)
    assert found.value == pytest.approx(4.0 * 36.0 / 6.0)
    assert (found.status, found.n) == (Status.OK, 32)
    assert "bracket" in found.note


def test_errors_of_sampling_move_both_ends_out() -> None:
    sure, unsure = of(known()), of(known(spread=1.0))
    assert (unsure.low or 0.0) < 0.9 * (sure.low or 0.0)
    assert (unsure.high or 0.0) > 1.2 * (sure.high or 0.0)


def test_a_signal_not_surely_there_has_no_upper_end() -> None:
    unsure = of(known(along=0.1, spread=1.0))
    assert (unsure.status, unsure.high) == (Status.ONE_SIDED, None)
    assert unsure.low is not None
    none = of(known(along=-0.1, spread=1.0))
    assert (none.status, none.value, none.high) == (Status.NO_SIGNAL, None, None)
    assert none.low is not None


@pytest.mark.parametrize("factor", [1e-30, 1e-8, 1e12, 1e30])
def test_units_of_the_gradient_do_not_matter(factor: float) -> None:
    norms = known(spread=0.5)
    scaled = MuonNorms(factor * norms.noise, factor * norms.along, factor * norms.above)
    for one, other in zip(_numbers(of(norms)), _numbers(of(scaled)), strict=True):
        assert other == pytest.approx(one)


def test_what_has_no_number_says_why() -> None:
    assert of(known(noise=0.0)).status is Status.CONSTANT
    assert of(known(noise=0.0, along=0.0, above=0.0)).status is Status.ALL_ZERO
    assert of(known(above=np.inf)).status is Status.NON_FINITE
    assert of(MuonNorms(np.ones(3), np.ones(32), 1.0)).status is Status.TOO_FEW_DRAWS
    assert SAMPLE.progress is not None
    older = replace(SAMPLE.progress, noise_nuclear=None, along_mean=None, mean_nuclear=None)
    assert muon_norms(older) is None
    (found,) = estimate_muon_noise_scale(MUON, older)
    assert found.status is Status.NOT_COLLECTED


@pytest.mark.parametrize(
    ("subject", "reported"),
    [
        (MUON, True),
        (replace(MUON, optimizer={}, under="muon"), True),
        (replace(MUON, optimizer={"name": "Muon"}, under="adamw"), False),
        (replace(MUON, optimizer={}), False),
        (replace(MUON, layer=replace(LAYER, kind=Kind.EMBEDDING)), False),
        (replace(MUON, layer=replace(LAYER, shape=(6,))), False),
    ],
)
def test_only_hidden_matrices_under_muon_are_missed(subject: Subject, reported: bool) -> None:
    found = [each.status for each in STATISTIC.absent(subject) if isinstance(each, Estimate)]
    assert found == ([Status.NOT_FOLLOWED] if reported else [])


def test_matrices_add_up_in_the_dual_of_their_largest_norm() -> None:
    tall, wide = replace(LAYER, shape=(8, 2)), Layer("conv", Kind.CONV, (2, 2, 2, 2), depth=0)
    total = add_muon_norms([(tall, known()), (wide, known(noise=1.0))])
    np.testing.assert_allclose(total.noise, 2.0 * 6.0 + 0.5 * 1.0)
    np.testing.assert_allclose(total.along, 2.5 * 2.0)
    assert total.above == pytest.approx(2.5 * 3.0)


def test_the_model_is_the_sum_of_what_was_followed() -> None:
    sums = NormSums(DRAWS)
    for progress in (SAMPLE.progress, SAMPLE.progress, None):
        sums.add(summands(MUON, replace(SAMPLE, progress=progress)))
    (whole,) = (each for each in sums.estimates() if each.quantity == "b_muon")
    assert SAMPLE.progress is not None
    (own,) = estimate_muon_noise_scale(MUON, SAMPLE.progress)
    assert whole.layer is None
    assert whole.note.startswith("of followed matrices alone (2)")
    for one, other in zip(_numbers(own), _numbers(whole), strict=True):
        assert other == pytest.approx(one)
    nothing = NormSums(DRAWS)
    nothing.add(summands(MUON, replace(SAMPLE, progress=None)))
    assert all(each.quantity != "b_muon" for each in nothing.estimates())


def test_unequal_weights_are_fewer_examples() -> None:
    uneven = replace(DRAWS, example_weights=np.tile([0.5, 0.5, 0.0, 0.0], (64, 1)))
    assert (of(known(), uneven).value or 0.0) == pytest.approx((of(known()).value or 0.0) / 2.0)


def _numbers(found: Estimate) -> list[float | None]:
    return [found.value, found.low, found.high]
