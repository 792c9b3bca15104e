"""Matrices followed through Muon: its own steps, planted causes, what is not judged, and the way through a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
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
    is_followed,
    matrix_progress,
    setting_gains,
    simulated_optimizer,
)
from tests.collect.workloads import followed_run, planted_workload

SHAPE = (24, 40)
BLOCKS = 8
MUON = Spectral()


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
    progress = matrix_progress(followed(draws_of(cause, seed)), MUON, draws=256)
    assert not isinstance(progress, Status)
    return {gain.setting: gain for gain in setting_gains(progress)}


def test_the_update_of_none_is_the_one_torchs_own_muon_makes_of_the_mean() -> None:
    draws = draws_of("gaussian", 0, 64)
    sample = followed(draws)
    weight = nn.Parameter(torch.zeros(SHAPE))
    optimizer = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.0)
    weight.grad = torch.tensor(draws[32:40].mean(0))
    optimizer.step()
    step = -weight.detach().numpy()  # at a learning rate of 1, and wide matrices are not rescaled
    for part in range(4):
        mean = draws[8 * part + 2 * (part == 0) : 8 * part + 8].mean(0)  # the first pair only sets the scale
        assert sample.along[4, 0, 1, part] == pytest.approx(float((mean * step).sum()), rel=0.01)


def test_the_horizon_is_what_momentum_averages_over() -> None:
    momentum = torch.zeros(400)
    weights = [torch.zeros(400) for _ in range(400)]
    for draw in range(400):  # an impulse at each draw shows its weight in the last update
        momentum = momentum.lerp(torch.eye(400)[draw], 1.0 - MUON.momentum)
        weights[draw] = torch.eye(400)[draw].lerp(momentum, MUON.momentum)
    assert pytest.approx(1.0 / float(weights[-1].square().sum()), rel=1e-3) == MUON.horizon
    assert pytest.approx(32.9, abs=0.05) == MUON.horizon


def test_long_blocks_make_several_updates() -> None:
    draws = draws_of("gaussian", 2, 1024)
    other = draws.copy()
    other[512 + 96 : 512 + 128] *= -1.0  # the last of a block's four means
    one, two = followed(draws).along[4], followed(other).along[4]
    assert 0.0 < np.abs(one - two).max() < 0.75 * np.abs(one).max()


def test_each_block_starts_from_nothing() -> None:
    draws = draws_of("gaussian", 1, 64)
    other = draws.copy()
    other[32:40] *= -1.0
    assert not np.allclose(followed(draws).along[4], followed(other).along[4])
    np.testing.assert_array_equal(followed(draws).along[5:], followed(other).along[5:])


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
    assert matrix_progress(None, MUON, draws=256) is Status.NOT_FOLLOWED
    assert matrix_progress(sample, MUON, draws=64) is Status.TOO_SHORT_A_BLOCK
    assert matrix_progress(sample, Spectral(0.8), draws=64) is not Status.TOO_SHORT_A_BLOCK
    assert matrix_progress(replace(sample, along=sample.along[:2]), MUON, draws=256) is Status.TOO_FEW_DRAWS
    assert matrix_progress(replace(sample, along=0.0 * sample.along), MUON, draws=256) is Status.ALL_ZERO


def test_zero_gradients_are_seen_as_such() -> None:
    assert matrix_progress(followed(np.zeros((256, *SHAPE), np.float32)), MUON, draws=256) is Status.ALL_ZERO


@pytest.mark.parametrize("zero", [31, 32 * 5 + 31, 32 * 6])
def test_a_draw_of_zeros_leaves_blocks_apart(zero: int) -> None:
    draws = draws_of("gaussian", 3)
    draws[zero] = 0.0
    other = draws.copy()
    other[32 * 5 : 32 * 5 + 31] *= -1.0
    one, two = followed(draws).along, followed(other).along
    assert one.shape[0] == BLOCKS
    np.testing.assert_array_equal(one[[4, 6, 7]], two[[4, 6, 7]])
    assert not np.allclose(one[5], two[5])


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
        assert sample.along.shape == (BLOCKS, len(MATRIX_ARMS), 2, 4)
        best = {each.layer: each for each in run.evidence if each.role is EvidenceRole.BEST}
        advice = {each.layer: each for each in run.recommendations}
        assert not [each for each in run.evidence if each.remedy == "layerwise_lr"]
    assert (best["weights.0"].remedy, best["weights.0"].status) in [("clip", Status.OK), ("shrink", Status.OK)]
    assert best["weights.1"].status is Status.NOT_FOLLOWED
    assert (advice["weights.1"].remedy, advice["weights.1"].status) == (Remedy.NONE, Status.NOT_FOLLOWED)
    assert best["weights.6"].status is Status.OK
    assert best[None].status is Status.OK


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
