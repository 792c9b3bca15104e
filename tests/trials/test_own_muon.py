"""A trial goes on from Muon as its maker's own would have gone on."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gnoise
from gnoise.collect.load import load_workload
from gnoise.collect.workload import Workload
from gnoise.errors import UserError
from gnoise.models.muons import AdamWStep, MuonStep
from gnoise.remedies import LayerwiseLR
from gnoise.stats.trial import NONE
from gnoise.trial_records import TrialCurve
from gnoise.trials import Progress
from gnoise.trials.arms import Arm
from gnoise.trials.branch import Branch, weights_of
from gnoise.trials.held_out import split
from gnoise.trials.optimizers import make_optimizer, settings_of
from tests.models.makers import MODEL_ARGS, gpt
from tests.trials.muon_makers import Jordans, jordans_of_2024, moonlights, orthogonalized

Made = Callable[[Sequence[nn.Parameter], Sequence[nn.Parameter]], Sequence[Optimizer]]


def torchs(hidden: Sequence[nn.Parameter], others: Sequence[nn.Parameter]) -> list[Optimizer]:
    muon = torch.optim.Muon(
        [*hidden], lr=0.02, weight_decay=0.05, momentum=0.9, nesterov=False, ns_steps=4,
        ns_coefficients=(3.0, -3.2, 1.2), adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    return [torch.optim.AdamW([*others], lr=3e-3, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.02), muon]


MAKERS: dict[str, Made] = {
    "jordan 2025": lambda hidden, others: [Jordans(hidden, [others])],
    "jordan 2024": lambda hidden, others: [jordans_of_2024(hidden, others)],
    "moonlight": lambda hidden, others: [moonlights(hidden, others)],
}


def parts(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Hidden matrices, and everything else; one of the former has the shape of the learnt positions."""
    named = [(".h." in name and x.ndim == 2, x) for name, x in module.named_parameters()]
    return [x for hidden, x in named if hidden], [x for hidden, x in named if not hidden]


def learn(workload: Workload, optimizers: Sequence[Optimizer], *, seed: int, steps: int) -> None:
    stream = workload.batches(4, seed)
    for _ in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        workload.loss(workload.module, next(stream)[0]).backward()
        for optimizer in optimizers:
            optimizer.step()


def write(folder: Path, module: nn.Module, optimizers: Sequence[Optimizer]) -> Path:
    states = [optimizer.state_dict() for optimizer in optimizers]
    held = {"model": module.state_dict(), "optimizers": states, "model_args": dict(MODEL_ARGS), "iter_num": 9}
    torch.save(held | {"config": {"batch_size": 4}}, folder / "ckpt.pt")
    return folder / "ckpt.pt"


def trained(folder: Path, make: Made) -> tuple[Workload, Sequence[Optimizer]]:
    """Train nine steps and save; return the training, to be gone on with, as it stands."""
    torch.set_num_threads(1)
    np.random.default_rng(0).integers(0, 16, 900).astype(np.uint16).tofile(folder / "train.bin")
    write(folder, gpt(), [])
    live = load_workload(folder / "ckpt.pt")
    optimizers = make(*parts(live.module))
    learn(live, optimizers, seed=0, steps=9)
    write(folder, live.module, optimizers)
    return live, optimizers


def apart(ours: nn.Module, theirs: nn.Module, start: dict[str, Tensor]) -> dict[str, float]:
    """How far two trainings ended from each other, as a share of the way they went, parameter by parameter."""
    first, second = weights_of(ours), weights_of(theirs)
    names = [name for name, _ in ours.named_parameters()]
    return {name: float((first[name] - second[name]).norm() / (second[name] - start[name]).norm()) for name in names}


@pytest.fixture
def _no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch's Muon orthogonalize in float32 too."""

    def in_float32(grad: Tensor, coefficients: Sequence[float], steps: int, eps: float) -> Tensor:
        return orthogonalized(grad, steps)

    monkeypatch.setattr("torch.optim._muon._zeropower_via_newtonschulz", in_float32)


def test_going_on_is_what_torchs_own_does_bit_for_bit(tmp_path: Path) -> None:
    assert set(_gone_on(tmp_path, torchs).values()) == {0.0}


@pytest.mark.usefixtures("_no_rounding")
@pytest.mark.parametrize("maker", MAKERS)
def test_going_on_is_what_the_makers_own_does(tmp_path: Path, maker: str) -> None:
    assert max(_gone_on(tmp_path, MAKERS[maker]).values()) < 1e-3


def _gone_on(folder: Path, make: Made) -> dict[str, float]:
    """Go on both ways; return how far apart they end."""
    live, optimizers = trained(folder, make)
    start = weights_of(live.module)
    loaded = load_workload(folder / "ckpt.pt")
    settings = settings_of(loaded.optimizer, loaded.optimizer_steps)
    rate = settings["lr"]
    assert isinstance(rate, float)
    ours = make_optimizer(
        loaded.module, "own", settings, lr=rate, state=loaded.optimizer_state, steps=loaded.optimizer_steps
    )
    learn(loaded, [ours], seed=1, steps=6)
    learn(live, optimizers, seed=1, steps=6)
    return apart(loaded.module, live.module, start)


@pytest.mark.usefixtures("_no_rounding")
def test_another_rule_would_be_seen(tmp_path: Path) -> None:
    """The bound above tells a sum of gradients from their average, one factor for the shape from the other."""
    live, optimizers = trained(tmp_path, MAKERS["moonlight"])
    start = weights_of(live.module)
    loaded = load_workload(tmp_path / "ckpt.pt")
    steps, state, settings = loaded.optimizer_steps, loaded.optimizer_state, {"name": "Muon", "betas": []}
    summed = {
        name: {key: 20.0 * x if key == "momentum_buffer" else x for key, x in kept.items()}
        for name, kept in state.items()
    }
    other = {
        name: dataclasses.replace(step, adjust_lr_fn="original") if isinstance(step, MuonStep) else step
        for name, step in steps.by_name.items()
    }
    learn(live, optimizers, seed=1, steps=6)
    for kept, factors in ((summed, steps), (state, dataclasses.replace(steps, by_name=other)), ({}, steps)):
        loaded.module.load_state_dict(start)
        learn(
            loaded,
            [make_optimizer(loaded.module, "own", {**settings}, lr=steps.lr, state=kept, steps=factors)],
            seed=1,
            steps=6,
        )
        assert max(apart(loaded.module, live.module, start).values()) > 0.1


@pytest.fixture
def branch(tmp_path: Path) -> Branch:
    trained(tmp_path, torchs)
    loaded = load_workload(tmp_path / "ckpt.pt")
    return Branch(
        workload=loaded,
        examples=split(loaded, batch_size=4, most=8),
        weights=weights_of(loaded.module),
        optimizer=settings_of(loaded.optimizer, loaded.optimizer_steps),
        with_state=bool(loaded.optimizer_state),
        batch_size=4,
        steps=6,
        evaluate_every=6,
    )


def test_a_whole_training_is_torchs_own_with_the_rates_brought_down(branch: Branch, tmp_path: Path) -> None:
    branch.train(Arm(NONE), seed=3, lr=0.04, on_step=lambda done, steps, loss: None)
    again = load_workload(tmp_path / "ckpt.pt")
    held: dict[str, Any] = torch.load(tmp_path / "ckpt.pt")
    optimizers = torchs(*parts(again.module))
    for optimizer, state in zip(optimizers, held["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    stream = branch.examples.train(4, 3)
    for step in range(6):
        for optimizer, rate in zip(optimizers, (2 * 3e-3, 2 * 0.02), strict=True):
            optimizer.param_groups[0]["lr"] = rate * (1.0 - step / 6)
            optimizer.zero_grad()
        again.loss(again.module, next(stream)[0]).backward()
        for optimizer in optimizers:
            optimizer.step()
    assert set(apart(branch.workload.module, again.module, branch.weights).values()) == {0.0}


def test_each_parameter_keeps_the_optimizer_it_had(branch: Branch) -> None:
    steps = branch.workload.optimizer_steps.by_name
    muons = {name for name, step in steps.items() if isinstance(step, MuonStep)}
    assert muons == {name for name, x in branch.workload.module.named_parameters() if ".h." in name and x.ndim == 2}
    assert {step for step in steps.values() if isinstance(step, AdamWStep)} == {
        AdamWStep(3e-3, 0.02, (0.8, 0.95), 1e-10)
    }


def test_layerwise_rates_are_the_checkpoints_muon_which_starts_to_follow_noise(branch: Branch) -> None:
    made = [
        make_optimizer(
            branch.workload.module,
            kind,
            branch.optimizer,
            lr=0.02,
            state=branch.workload.optimizer_state,
            steps=branch.workload.optimizer_steps,
        )
        for kind in ("own", "layerwise_lr")
    ]
    own, following = made
    assert isinstance(own, LayerwiseLR)
    assert isinstance(following, LayerwiseLR)
    learn(branch.workload, [following], seed=1, steps=2)
    assert {group["measurements"] for group in own.param_groups} == {0}
    assert len({*following.lr_multipliers().values()}) > 1
    for parameter in branch.workload.module.parameters():
        assert own.state[parameter].keys() == following.state[parameter].keys()


ARMS = ["clip", "shrink", "stabilize", "layerwise_lr", "muon"]


@pytest.fixture
def run(branch: Branch, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gnoise"
    gnoise.profile(tmp_path / "ckpt.pt", path, draws=16, batch_size=2).close()
    return path


def losses(curves: Sequence[TrialCurve]) -> dict[tuple[str, int], tuple[float, ...]]:
    return {(curve.arm, curve.seed): curve.loss for curve in curves}


def test_a_trial_of_muon_with_every_remedy_killed_and_gone_on_with(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.gnoise"
    again.write_bytes(run.read_bytes())
    options: dict[str, Any] = {"arms": ARMS, "steps": 12, "seeds": 2, "device": "cpu"}
    whole = gnoise.trial(run, **options)
    assert whole.plan.with_state
    assert whole.plan.optimizer["name"] == "Muon"
    found = losses(whole.curves)
    for seed in (1, 2):
        assert found["muon", seed] == found[NONE, seed]
        for arm in ARMS[:-1]:
            assert found[arm, seed] != found[NONE, seed]
            assert np.isfinite(found[arm, seed]).all()

    def stop(at: Progress) -> None:
        if (at.arm, at.seed, at.step) == ("layerwise_lr", 1, 7):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gnoise.trial(again, **options, on_progress=stop)
    assert losses(gnoise.trial(again, **options).curves) == found


def test_a_muon_that_cannot_be_taken_up_says_why_and_what_to_do(branch: Branch) -> None:
    with pytest.raises(UserError, match=r"got one of Muon, whose state is not in the checkpoint; try gnoise export"):
        settings_of({"name": "Muon"}, dataclasses.replace(branch.workload.optimizer_steps, by_name={}))
    with pytest.raises(UserError, match=r"got one of Lion, whose steps a trial cannot take; try gnoise export"):
        settings_of({"name": "Lion"}, branch.workload.optimizer_steps)
