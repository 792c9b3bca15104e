"""The noise scale in Adam's norm, on gradients whose mean, covariance and second moments are known."""

from dataclasses import replace

import numpy as np
import pytest

from gnoise.records import CoordinateSample, DrawSample, Estimate, Kind, Layer, NormSample, Status
from gnoise.stats.matched_noise_scale import STATISTIC, adam_norms, estimate_adam_noise_scale
from gnoise.stats.noise_scale import grad_sq_norm_and_trace_cov
from gnoise.stats.statistic import Subject
from gnoise.stats.totals import NormSums, add_norms, summands
from tests.contract import samples

DRAWS, EXAMPLES, COORDS = 64, 8, 300


def _subject(coords: int = COORDS, *, kind: Kind = Kind.MLP, name: str = "AdamW", numel: int | None = None) -> Subject:
    layer = Layer(f"{kind}.weight", kind, (coords if numel is None else numel,), depth=0, owners=("w",))
    draws = samples.draw_sample(DRAWS, EXAMPLES)
    return Subject(layer=layer, draws=draws, optimizer={"name": name, "eps": 0.0})


def _sample(
    rng: np.random.Generator, mean: np.ndarray, variance: np.ndarray, second: np.ndarray | None
) -> CoordinateSample:
    """Gaussian draws of eight examples, each example with a variance of its own an entry."""
    values = mean + rng.standard_normal((DRAWS, mean.size)) * np.sqrt(variance / EXAMPLES)
    sq_norms = np.square(values).sum(1)
    return CoordinateSample(np.arange(mean.size), values, sq_norms, sq_norms, second)


def _law(rng: np.random.Generator, b_adam: float, coords: int = COORDS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and second moment of unlike entries, with a known noise scale in Adam's norm."""
    variance = rng.lognormal(0.0, 1.0, coords)
    second = rng.lognormal(0.0, 1.5, coords)
    mean = rng.standard_normal(coords)
    weights = 1.0 / np.sqrt(second)
    mean *= np.sqrt((weights @ variance) / b_adam / (weights @ np.square(mean)))
    return mean, variance, second


def _covers(estimate: Estimate, truth: float) -> bool:
    return (estimate.low is None or estimate.low <= truth) and (estimate.high is None or truth <= estimate.high)


@pytest.mark.parametrize("b_adam", [2.0, 20.0, 100.0])
def test_interval_covers_and_the_number_is_near(b_adam: float) -> None:
    rng = np.random.default_rng(3)
    found = [estimate_adam_noise_scale(_subject(), _sample(rng, *_law(rng, b_adam)))[0] for _ in range(200)]
    covered = sum(_covers(estimate, b_adam) for estimate in found)
    assert 180 <= covered <= 199  # of 190 expected, standard deviation 3
    values = [estimate.value for estimate in found if estimate.value is not None]
    assert np.median(values) == pytest.approx(b_adam, rel=0.08)


def test_equal_second_moments_are_the_plain_noise_scale() -> None:
    rng = np.random.default_rng(4)
    mean, variance, _ = _law(rng, 10.0)
    sample = _sample(rng, mean, variance, np.full(COORDS, 0.25))
    (found,) = estimate_adam_noise_scale(_subject(), sample)
    blocks = sample.values.reshape(8, 8, -1).mean(1)
    signal, trace = grad_sq_norm_and_trace_cov(
        float(np.square(sample.values).sum(1).mean()), float(np.square(blocks).sum(1).mean()), EXAMPLES, 8 * EXAMPLES
    )
    assert found.value == pytest.approx(trace / signal)


def test_scale_of_second_moments_and_gradients_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    sample = _sample(rng, *_law(rng, 10.0))
    assert sample.second_moment is not None
    scaled = replace(sample, values=1e3 * sample.values, second_moment=1e-5 * sample.second_moment)
    (one,), (other,) = (estimate_adam_noise_scale(_subject(), each) for each in (sample, scaled))
    assert other.value == pytest.approx(one.value)
    assert other.low == pytest.approx(one.low)


def test_entries_adam_never_saw_move_are_left_out() -> None:
    rng = np.random.default_rng(6)
    mean, variance, second = _law(rng, 10.0)
    sample = _sample(rng, mean, variance, second)
    silent = np.append(second, [0.0, 0.0])
    grown = np.hstack([sample.values, 1e6 * np.ones((DRAWS, 2))])
    wider = replace(sample, index=np.arange(302), values=grown, second_moment=silent)
    (found,), (expected,) = (estimate_adam_noise_scale(_subject(n), s) for n, s in ((302, wider), (300, sample)))
    assert found.value == pytest.approx(expected.value)


def test_without_state_there_is_advice_and_under_sgd_nothing() -> None:
    rng = np.random.default_rng(7)
    mean, variance, second = _law(rng, 10.0)
    lacking = _sample(rng, mean, variance, None)
    (found,) = estimate_adam_noise_scale(_subject(), lacking)
    assert (found.value, found.status) == (None, Status.NO_OPTIMIZER_STATE)
    assert estimate_adam_noise_scale(_subject(name="SGD"), _sample(rng, mean, variance, second)) == []
    assert STATISTIC.quantities == ("b_adam",)


def test_a_sample_of_coordinates_speaks_for_the_whole_tensor() -> None:
    rng = np.random.default_rng(8)
    sample = _sample(rng, *_law(rng, 10.0))
    part, whole = (adam_norms(_subject(numel=n), sample) for n in (COORDS, 10 * COORDS))
    assert part is not None
    assert whole is not None
    np.testing.assert_allclose(whole.draw_sq_norms, 10.0 * part.draw_sq_norms)


def test_kinds_and_the_model_are_sums_divided_once() -> None:
    made = {kind: samples.layer_samples(samples.gaussian(seed=i)) for i, kind in enumerate((Kind.MLP, Kind.NORM))}
    made |= {Kind.MLP: samples.layer_samples(3.0 * samples.gaussian(seed=5) - 1.0)}
    draws = samples.draw_sample(64, 4)
    sums = NormSums(draws)
    for kind in (Kind.MLP, Kind.NORM, Kind.NORM):
        layer = replace(samples.LAYER, kind=kind, name=f"{kind}")
        followed_none = replace(made[kind], progress=None)
        sums.add(summands(Subject(layer=layer, draws=draws, optimizer={"name": "AdamW"}), followed_none))
    found = {estimate.quantity: estimate for estimate in sums.estimates()}
    assert list(found) == ["b_simple_mlp", "b_simple_norm", "b_adam"]
    one = made[Kind.NORM].norms
    doubled = add_norms(one, one)
    np.testing.assert_allclose(doubled.block_sq_norms, 2.0 * one.block_sq_norms)
    signal, trace = _two_sizes(one)
    assert found["b_simple_norm"].value == pytest.approx(trace / signal)
    assert all(estimate.layer is None and estimate.status is Status.OK for estimate in found.values())


def test_one_layer_without_state_leaves_the_model_without_a_number() -> None:
    made, draws = replace(samples.layer_samples(samples.gaussian()), progress=None), samples.draw_sample(64, 4)
    sums = NormSums(draws)
    subject = Subject(layer=samples.LAYER, draws=draws)
    sums.add(summands(subject, made))
    sums.add(summands(subject, replace(made, coordinates=replace(made.coordinates, second_moment=None))))
    assert [estimate.quantity for estimate in sums.estimates()] == ["b_simple_mlp"]


def _two_sizes(norms: NormSample) -> tuple[float, float]:
    draws, examples = norms.example_sq_norms.shape
    small, large = float(norms.example_sq_norms.mean()), float(norms.block_sq_norms.mean())
    signal, trace = grad_sq_norm_and_trace_cov(small, large, 1, draws * examples // norms.block_sq_norms.size)
    return float(signal), float(trace)


def test_unequal_weights_are_fewer_examples() -> None:
    rng = np.random.default_rng(9)
    sample = _sample(rng, *_law(rng, 10.0))
    weights = np.tile(np.array([0.5, 0.5] + 6 * [0.0]), (DRAWS, 1))
    uneven = DrawSample(np.zeros((DRAWS, 8), np.int64), np.zeros((DRAWS, 8)), weights)
    equal = _subject()
    (one,), (other,) = (estimate_adam_noise_scale(s, sample) for s in (equal, replace(equal, draws=uneven)))
    assert one.value is not None
    assert other.value == pytest.approx(one.value / 4.0)
