"""The noise scale in Muon's norm: matrices with noise and signal of known nuclear norms, and the way through a run."""

import importlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gnoise.collect.dual_norms import DualNorms
from gnoise.collect.followed import Followed
from gnoise.records import Estimate, ProgressSample, Status
from gnoise.remedies.geometry import approximate_polar_factor, nuclear_norm
from gnoise.runfile import open_run
from gnoise.stats.evidence import Spectral
from gnoise.stats.muon_noise_scale import MuonNorms, muon_estimate
from tests.collect.workloads import followed_run, planted_workload
from tests.contract.samples import draw_sample

SHAPE = (24, 40)
DRAWS, EXAMPLES, BLOCKS = 64, 4, 8


@cache
def noise_sq(shape: tuple[int, int] = SHAPE) -> float:
    """E‖E‖_*² of standard normal matrices, to a tenth of a percent."""
    drawn = np.random.default_rng(0).standard_normal((4000, *shape))
    return float(np.square(np.linalg.norm(drawn, "nuc", axis=(1, 2))).mean())


def signal(rng: np.random.Generator, rank: int, scale_in_draws: float) -> np.ndarray:
    """A matrix of some rank with this noise scale against standard normal noise."""
    made = rng.standard_normal((SHAPE[0], rank)) @ rng.standard_normal((rank, SHAPE[1]))
    return made * np.sqrt(noise_sq() / scale_in_draws) / np.linalg.norm(made, "nuc")


def bracketed(draws: Tensor) -> MuonNorms:
    """Feed draws as a followed matrix does: as the benchmark of the bracket does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
        return importlib.import_module("muon_noise_scale").bracketed(draws)


def estimated(rng: np.random.Generator, mean: np.ndarray, draws: int = DRAWS) -> Estimate:
    made = (mean + rng.standard_normal((draws, *SHAPE))).astype(np.float32)
    return muon_estimate("w", bracketed(torch.from_numpy(made)), draw_sample(draws, EXAMPLES))


@pytest.mark.parametrize("rank", [1, SHAPE[0]])
@pytest.mark.parametrize("in_draws", [0.1, 1.0, 10.0, 100.0])
def test_the_bracket_holds_the_truth(rank: int, in_draws: float) -> None:
    rng = np.random.default_rng(7)
    found = [estimated(rng, signal(rng, rank, in_draws)) for _ in range(40)]
    truth = in_draws * EXAMPLES
    held = [(e.low or 0.0) <= truth and (e.high is None or truth <= e.high) for e in found]
    assert sum(held) >= 38
    assert all(e.status in (Status.OK, Status.ONE_SIDED, Status.NO_SIGNAL) for e in found)


def test_under_strong_signals_both_ends_come_together_and_with_more_draws() -> None:
    def width(in_draws: float, draws: int) -> float:
        rng = np.random.default_rng(3)
        found = [estimated(rng, signal(rng, SHAPE[0], in_draws), draws) for _ in range(10)]
        return float(np.median([e.high / e.low for e in found if e.high is not None and e.low]))

    assert width(0.01, 64) < 1.4
    assert width(10.0, 512) < 0.7 * width(10.0, 64)


def test_pure_noise_has_no_upper_end() -> None:
    rng = np.random.default_rng(4)
    found = [estimated(rng, np.zeros(SHAPE)) for _ in range(20)]
    assert sum(e.high is None for e in found) >= 18
    assert all(e.low is not None and e.low > EXAMPLES for e in found)


@pytest.mark.parametrize("shape", [(24, 40), (150, 40), (160, 200)])
def test_the_factor_has_spectral_norm_one_and_norms_are_not_far_off(shape: tuple[int, int]) -> None:
    dual = DualNorms(draws=2)
    mean = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    dual.learn(mean)
    dual.add(mean)
    dual.add_noise(mean)
    found = dual.take()
    exact = float(torch.linalg.svdvals(mean).sum())
    assert float(torch.linalg.matrix_norm(approximate_polar_factor(mean).float(), 2)) <= 1.01
    for number in (found.above, found.noise[0], found.along[0]):
        assert 0.95 * exact <= number <= 1.001 * exact


def test_only_some_pairs_of_a_block_are_decomposed() -> None:
    dual = DualNorms(draws=32)
    for place in range(16):
        dual.add_noise(torch.full((2, 3), float(place)))
    expected = [float(nuclear_norm(torch.full((2, 3), float(place)))) for place in (0, 4, 8, 12)]
    np.testing.assert_allclose(dual.take().noise, expected)


def test_a_followed_matrix_keeps_all_that_is_asked() -> None:
    rng = np.random.default_rng(5)
    draws = torch.from_numpy((0.5 + rng.standard_normal((DRAWS, *SHAPE))).astype(np.float32))
    matrix, samples = Followed(Spectral(), draws=DRAWS // BLOCKS), list[ProgressSample]()
    for place, draw in enumerate(draws):
        learning = place < DRAWS // 2
        matrix.add(draw, float(draw.norm()), learning=learning)
        if place % 2:
            noise = (draws[place - 1] - draw) * 0.5**0.5
            matrix.add_noise(noise)
            if learning:
                matrix.learn_scale(float(noise.abs().median()))
        if place % BLOCKS == BLOCKS - 1:
            samples.append(matrix.take())
    whole = bracketed(draws)
    noises = [sample.noise_nuclear for sample in samples if sample.noise_nuclear is not None]
    alongs = [sample.along_mean for sample in samples if sample.along_mean is not None]
    assert [part.size for part in noises] == [4] * BLOCKS
    assert [part.size for part in alongs] == [0] * (BLOCKS // 2) + [BLOCKS] * (BLOCKS // 2)
    np.testing.assert_allclose(np.concatenate(noises), whole.noise, rtol=1e-5)
    assert samples[-1].mean_nuclear == pytest.approx(whole.above, rel=1e-4)
    assert np.concatenate(alongs).mean() == pytest.approx(whole.along.mean(), rel=0.05)


def test_a_run_brackets_followed_matrices_and_the_sum_of_them(tmp_path: Path) -> None:
    shapes = [(16, 24)] * 6 + [(24,)]
    means = [np.random.default_rng(3).standard_normal(shape) for shape in shapes]

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        return [mean + rng.standard_normal((examples, *shape)) for mean, shape in zip(means, shapes, strict=True)]

    path = followed_run(planted_workload(draw, *shapes), tmp_path / "muon.gnoise")
    with open_run(path) as run:
        found = {each.layer: each for each in run.estimates if each.quantity == "b_muon"}
        sample = run.samples("weights.0").progress
        assert sample is not None
        sizes = [None if x is None else x.size for x in (sample.noise_nuclear, sample.along_mean)]
        assert sizes == [26, 104]
    truth = noise_sq((16, 24)) / float(np.linalg.norm(means[0], "nuc")) ** 2  # of draws of two
    own, whole = found["weights.0"], found[None]
    for each in (own, whole):
        assert each.status is Status.OK
        assert each.low is not None
        assert each.high is not None
    assert (own.low or 0.0) <= truth <= (own.high or 0.0)
    assert whole.note.startswith("of followed matrices alone (")
    unfollowed = [each for name, each in found.items() if name is not None and each.value is None]
    assert unfollowed
    assert all(each.status is Status.NOT_FOLLOWED for each in unfollowed)
    assert "weights.6" not in found
