"""Matrices followed through Muon: its own steps, planted causes, what is not judged, and the way through a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import nn

from gnoise.collect import collect_run, run_info, trainable_parameters
from gnoise.collect.followed import BUDGET, BUFFERS, Followed, choose_followed
from gnoise.collect.layers import Parameter
from gnoise.errors import UserError
from gnoise.models.gpt import GPT, GPTConfig
from gnoise.models.hyperparameters import hyperparameters
from gnoise.records import EvidenceRole, JsonValue, Kind, Layer, ProgressSample, Remedy, Status
from gnoise.runfile import open_run
from gnoise.stats.evidence import (
    MATRIX_ARMS,
    Gain,
    Spectral,
    add_progress,
    is_followed,
    matrix_progress,
    setting_gains,
    simulated_optimizer,
)
from gnoise.stats.evidence.matrix_progress import shared_noise
from tests.collect.workloads import followed_run, planted_workload

SHAPE = (24, 40)
BLOCKS = 8
MUON = Spectral()
NORMS = np.ones(256)


def draws_of(cause: str, seed: int, draws: int = 256) -> np.ndarray:
    """Gradients with a mean of size 0.5 under standard normal noise, and what was planted on top."""
    rng = np.random.default_rng(seed)
    mean = 0.5 * rng.standard_normal(SHAPE)
    noise = rng.standard_normal((draws, *SHAPE))
    if cause == "cauchy":
        noise += (rng.random(noise.shape) < 0.03) * 3.0 * rng.standard_cauchy(noise.shape)
    if cause == "spikes":
        noise[rng.random(draws) < 0.1] *= 10.0
    return (mean + noise).astype(np.float32)


def followed(draws: np.ndarray, momentum: float = MUON.momentum) -> ProgressSample:
    """Feed draws block by block, as the collector does."""
    matrix = Followed(Spectral(momentum), draws=len(draws) // BLOCKS)
    samples: list[ProgressSample] = []
    for block, part in enumerate(np.split(draws, BLOCKS)):
        for place, draw in enumerate(part):
            learning = block < BLOCKS // 2
            matrix.add(torch.tensor(draw), float(np.linalg.norm(draw)), learning=learning)
            if place % 2 and learning:
                matrix.learn_scale(float(np.median(np.abs(draw - part[place - 1]))) * 0.5**0.5)
        samples.append(matrix.take())
    return replace(samples[0], along=np.concatenate([sample.along for sample in samples]))


def judged(cause: str, seed: int) -> dict[str, Gain]:
    progress = matrix_progress(followed(draws_of(cause, seed)), MUON, draw_sq_norms=NORMS)
    assert not isinstance(progress, Status)
    return {gain.setting: gain for gain in setting_gains(progress)}


@pytest.mark.parametrize("zero", [None, 20, 34])
def test_the_updates_of_none_are_those_of_torchs_own_muon(zero: int | None) -> None:
    draws = draws_of("gaussian", 0, 64)
    if zero is not None:
        draws[zero] = 0.0
    sample = followed(draws)
    weight = nn.Parameter(torch.zeros(SHAPE))
    optimizer = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=MUON.momentum)
    path = [np.zeros(SHAPE, np.float32)]
    for place in range(16, 36):  # a quarter is the gradient, a quarter fills the momentum, and four draws make a row
        weight.grad = torch.tensor(draws[place])
        optimizer.step()
        path.append(weight.detach().numpy().copy())
    step = path[-2] - path[-1]  # at a learning rate of 1, and wide matrices are not rescaled
    means = draws[:16].reshape(4, 4, *SHAPE).mean(1)
    np.testing.assert_allclose(sample.along[8, 0, 1], (means * step).sum((1, 2)), rtol=0.02, atol=0.02)
    median = float((np.median(means, axis=0) * step).sum())
    assert sample.along[8, 0, 0].mean() == pytest.approx(median, rel=0.02)


def test_the_horizon_is_what_momentum_averages_over() -> None:
    momentum = torch.zeros(400)
    weights = [torch.zeros(400) for _ in range(400)]
    for draw in range(400):  # an impulse at each draw shows its weight in the last update
        momentum = momentum.lerp(torch.eye(400)[draw], 1.0 - MUON.momentum)
        weights[draw] = torch.eye(400)[draw].lerp(momentum, MUON.momentum)
    assert pytest.approx(1.0 / float(weights[-1].square().sum()), rel=1e-3) == MUON.horizon
    assert pytest.approx(32.9, abs=0.05) == MUON.horizon


def test_noise_at_two_times_is_what_two_averages_share() -> None:
    weights = np.zeros(600)
    weights[:300] = (1.0 - MUON.momentum) * MUON.momentum ** np.arange(1, 301)
    weights[0] = 1.0 - MUON.momentum**2
    shared = [float((weights[lag:] * weights[: 600 - lag]).sum() / np.square(weights).sum()) for lag in (0, 1, 8, 40)]
    np.testing.assert_allclose(MUON.overlap(np.array([0, 1, 8, 40])), shared, rtol=1e-5)


def test_rows_of_squares_scatter_less_than_their_mean_varies() -> None:
    rows, draws = 8, 16
    noise = np.random.default_rng(0).standard_normal((20_000, 400))
    momentum = lfilter([1.0 - MUON.momentum], [1.0, -MUON.momentum], noise, axis=1)
    ahead = (1.0 - MUON.momentum) * noise + MUON.momentum * momentum
    times = np.arange(1, MUON.updates(rows * draws) + 1) * draws * rows // MUON.updates(rows * draws) - 1
    found = np.square(ahead[:, -rows * draws :][:, times]).reshape(-1, 2, rows // 2, MUON.updates(draws)).mean(-1)
    scatter = found.var(axis=2, ddof=1).mean() / rows
    assert found.mean(axis=(1, 2)).var() / scatter == pytest.approx(shared_noise(MUON, rows, draws), rel=0.05)


def test_updates_go_on_from_block_to_block_and_rows_halve_these() -> None:
    draws = draws_of("gaussian", 2)
    other = draws.copy()
    other[128 + 16 : 128 + 32] *= -1.0
    one, two = followed(draws).along, followed(other).along
    assert one.shape[0] == 2 * BLOCKS
    assert not one[:8].any()
    np.testing.assert_array_equal(one[8], two[8])
    assert all(not np.allclose(one[row], two[row]) for row in (9, 10, 11))


def test_updates_share_no_draw_with_what_they_are_held_against() -> None:
    draws = draws_of("gaussian", 1)
    other = draws.copy()
    other[:64] *= -1.0
    np.testing.assert_allclose(followed(draws).along, -followed(other).along, rtol=1e-5, atol=1e-5)


def test_loud_entries_keep_their_signal() -> None:
    rng = np.random.default_rng(4)
    scales = np.exp(rng.standard_normal(SHAPE))
    mean = 0.5 * rng.standard_normal(SHAPE)
    logs: list[float] = []
    for _ in range(12):
        draws = (mean + scales * rng.standard_normal((256, *SHAPE))).astype(np.float32)
        sample = followed(draws)
        plain, robust = (2.0 * np.log(sample.along[8:, :, of].mean((0, 2))) for of in (1, 0))
        logs.append((robust - robust[0] - plain + plain[0])[1])
    assert abs(np.mean(logs)) < 0.03  # bounding entries at one limit for all paid clipping 3 to 5% more


def test_gaussian_noise_needs_no_remedy_before_muon() -> None:
    for seed in range(4):
        assert all(gain.gain is not None and gain.gain.low < 1.01 for gain in judged("gaussian", seed).values())


def test_cauchy_entries_are_for_clipping_and_shrinking() -> None:
    for seed in range(4):
        gains = judged("cauchy", seed)
        entrywise = [gain for gain in gains.values() if gain.remedy in ("clip", "shrink")]
        assert len(entrywise) == 4
        assert all(gain.gain is not None and gain.gain.low > 1.2 for gain in entrywise)
        worst = min(gain.gain.value for gain in entrywise if gain.gain is not None)
        others = [gain.gain for gain in gains.values() if gain.remedy in ("clip_norm", "stabilize")]
        assert all(gain is not None and gain.value < 0.6 * worst for gain in others)


def test_spikes_are_for_norms() -> None:
    logs = [[np.log(gain.gain.value) for gain in judged("spikes", seed).values() if gain.gain] for seed in range(6)]
    assert np.median(logs, axis=0).min() > np.log(1.5)


def test_parameters_are_those_apply_reads() -> None:
    gains = judged("cauchy", 0)
    sample = followed(draws_of("cauchy", 0))
    assert gains["clip at 6 median |noise|"].params == {"clip_value": pytest.approx(6.0 * sample.scale)}
    assert gains["1 median ‖g‖"].params == {"clip_norm": pytest.approx(sample.median_norm)}


def test_what_cannot_be_judged_says_why() -> None:
    sample = followed(draws_of("gaussian", 0))
    assert matrix_progress(None, MUON, draw_sq_norms=NORMS) is Status.NOT_FOLLOWED
    assert matrix_progress(sample, MUON, draw_sq_norms=NORMS[:64]) is Status.TOO_SHORT_A_BLOCK
    assert matrix_progress(sample, Spectral(0.8), draw_sq_norms=NORMS[:64]) is not Status.TOO_SHORT_A_BLOCK
    assert matrix_progress(replace(sample, along=sample.along[:2]), MUON, draw_sq_norms=NORMS) is Status.TOO_FEW_DRAWS
    assert matrix_progress(replace(sample, along=0.0 * sample.along), MUON, draw_sq_norms=NORMS) is Status.ALL_ZERO


def test_where_one_draw_outweighs_the_others_gains_are_lower_bounds() -> None:
    sample, norms = followed(draws_of("cauchy", 0)), NORMS.copy()
    norms[7] = 1.2 * 255 / 7  # a bit more than an eighth of all
    for draw_sq_norms, status in ((NORMS, Status.OK), (norms, Status.AT_LEAST)):
        progress = matrix_progress(sample, MUON, draw_sq_norms=draw_sq_norms)
        assert not isinstance(progress, Status)
        assert {gain.status for gain in setting_gains(add_progress([progress, progress]))} == {status}


def test_zero_gradients_are_seen_as_such() -> None:
    assert matrix_progress(followed(np.zeros((256, *SHAPE), np.float32)), MUON, draw_sq_norms=NORMS) is Status.ALL_ZERO


def test_every_arm_is_one_of_the_ladder() -> None:
    assert len({each.arm.setting for each in MATRIX_ARMS}) == len(MATRIX_ARMS)
    assert not MATRIX_ARMS[0].arm.setting


def test_followed_matrices_fit_the_budget_and_are_spread_over_the_depth() -> None:
    module = GPT(GPTConfig(block_size=16, vocab_size=64, n_layer=12, n_head=2, n_embd=32))
    parameters = trainable_parameters(module)
    chosen = [p.layer for p in parameters if p.layer.name in choose_followed(parameters)]
    assert BUFFERS * sum(layer.numel for layer in chosen) <= BUDGET * sum(p.layer.numel for p in parameters)
    assert len({layer.depth for layer in chosen}) >= 4
    assert len({layer.name.split(".", 3)[3] for layer in chosen}) == 4
    assert all(is_followed(layer) for layer in chosen)
    alone = [Parameter(Layer("w", Kind.MLP, (4, 4), depth=0, owners=("w",)), nn.Parameter(torch.zeros(4, 4)))]
    assert choose_followed(alone) == {"w"}


def test_a_run_judges_followed_matrices_under_muon_and_the_rest_under_adamw(tmp_path: Path) -> None:
    shapes = [(16, 24)] * 6 + [(24,)]
    means = [np.random.default_rng(3).standard_normal(shape) for shape in shapes]

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        noise = [rng.standard_normal((examples, *shape)) for shape in shapes]
        noise[0] += (rng.random(noise[0].shape) < 0.03) * 2.0 * rng.standard_cauchy(noise[0].shape)
        return [mean + x for mean, x in zip(means, noise, strict=True)]

    path = followed_run(planted_workload(draw, *shapes), tmp_path / "muon.gnoise")
    with open_run(path) as run:
        assert run.info.judged_under == "muon"
        first, *_ = run.layers
        sample = run.samples(first.name).progress
        assert sample is not None
        assert sample.along.shape == (2 * BLOCKS, len(MATRIX_ARMS), 2, 4)
        best = {each.layer: each for each in run.evidence if each.role is EvidenceRole.BEST}
        advice = {each.layer: each for each in run.recommendations}
        assert not [each for each in run.evidence if each.remedy == "layerwise_lr"]
    loud = best["weights.0"]
    assert loud.remedy in ("clip", "shrink")
    assert (loud.status is Status.AT_LEAST) == (loud.high is None)
    assert best["weights.1"].status is Status.NOT_FOLLOWED
    assert (advice["weights.1"].remedy, advice["weights.1"].status) == (Remedy.NONE, Status.NOT_FOLLOWED)
    assert best["weights.6"].status is Status.OK
    assert best[None].status is loud.status


def test_without_muon_nothing_is_followed(tmp_path: Path) -> None:
    workload = planted_workload(lambda rng, examples: [rng.standard_normal((examples, 8, 12))], (8, 12))
    parameters = trainable_parameters(workload.module)
    info = run_info(workload, parameters, source="x", draws=16, examples_per_draw=2, seed=0, command="test")
    collect_run(workload, parameters, tmp_path / "adamw.gnoise", info=info)
    with open_run(tmp_path / "adamw.gnoise") as run:
        assert run.samples("weights.0").progress is None


def test_what_muon_cannot_be_judged_by_is_known_before_drawing() -> None:
    workload = planted_workload(lambda rng, examples: [rng.standard_normal((examples, 8, 12))], (8, 12))
    parameters = trainable_parameters(workload.module)

    def info(draws: int, path_steps: int) -> object:
        return run_info(
            workload,
            parameters,
            source="x",
            draws=draws,
            examples_per_draw=2,
            seed=0,
            command="test",
            path_steps=path_steps,
            optimizer="muon",
        )

    with pytest.raises(UserError, match=r"at least 208 draws to judge remedies under Muon.*got 64; try --draws 208"):
        info(64, 0)
    with pytest.raises(UserError, match="expected SGD or Adam to take --path with, got Muon"):
        info(256, 64)


def test_own_betas_stand_where_the_optimizer_is_another() -> None:
    found: dict[str, JsonValue] = {"name": "AdamW", "betas": [0.9, 0.95]}
    assert simulated_optimizer(found, "muon").second_decay == 0.95
    assert simulated_optimizer(found, "sgd").second_decay is None
    assert simulated_optimizer({"betas": [0.8, 0.9]}, "adamw").momentum == 0.8


def test_an_unknown_optimizer_is_refused() -> None:
    workload = planted_workload(lambda rng, examples: [rng.standard_normal((examples, 8, 12))], (8, 12))
    with pytest.raises(UserError, match="expected --optimizer to be one of adamw, sgd, sign, muon, got 'lion'"):
        run_info(
            workload,
            trainable_parameters(workload.module),
            source="x",
            draws=16,
            examples_per_draw=2,
            seed=0,
            command="test",
            optimizer="lion",
        )


def test_a_checkpoint_of_muon_is_recognised_with_adamw_beside_it() -> None:
    weight, bias = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(4))
    muon = torch.optim.Muon([weight], lr=0.02, momentum=0.9).state_dict()
    adamw = torch.optim.AdamW([bias], lr=1e-3).state_dict()
    for states in ([muon, adamw], [adamw, muon]):
        found = hyperparameters({"optimizer": states})
        assert (found["name"], found["momentum"], found["lr"]) == ("Muon", 0.9, 0.02)
