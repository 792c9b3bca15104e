"""Training both ways from a small checkpoint: paired, resumable, and never lost to one bad arm."""

import dataclasses
import math
import shutil
import sqlite3
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gnoise
from gnoise.collect import Workload
from gnoise.collect.workload import Batch
from gnoise.errors import UserError
from gnoise.records import Remedy, Status
from gnoise.stats.trial import LARGER, LONGER, NONE, judge_arm
from gnoise.trial_records import TrialCurve, TrialState
from gnoise.trials import Progress
from gnoise.trials.arms import Arm
from gnoise.trials.branch import Branch
from gnoise.trials.held_out import beside, split
from gnoise.trials.plan import LOOKS, fit

_TRUTH = torch.randn(6, 3, generator=torch.Generator().manual_seed(8))


def _batches(examples: int, seed: int) -> Iterator[tuple[Batch, np.ndarray]]:
    rng, order = np.random.default_rng(seed), np.empty(0, dtype=np.int64)
    while True:
        while order.size < examples:
            order = np.concatenate([order, rng.permutation(400)])
        ids, order = order[:examples], order[examples:]
        rows = [torch.randn(9, generator=torch.Generator().manual_seed(int(i))) for i in ids]
        x = torch.stack([row[:6] for row in rows])
        yield (x, x @ _TRUTH + 0.5 * torch.stack([row[6:] for row in rows])), ids


def _loss(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(batch, tuple)
    return (module(batch[0]) - batch[1]).square().mean()


def workload() -> Workload:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    return Workload(module, _loss, _batches, sha256="toy", examples=400, optimizer={"lr": 3e-3, "batch_size": 8})


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profiled") / "toy.gnoise"
    gnoise.profile(workload(), path, draws=16, batch_size=4).close()
    return path


@pytest.fixture
def run(profiled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(profiled, tmp_path))


def quick(run: Path, **options: object):
    return gnoise.trial(
        run, **({"source": workload(), "arms": ["stabilize"], "steps": 20, "seeds": 2, "device": "cpu"} | options)
    )


def untimed(curves: tuple[TrialCurve, ...]) -> list[TrialCurve]:
    return [dataclasses.replace(curve, seconds=0.0) for curve in curves]


def test_every_arm_and_seed_is_trained_and_kept(run: Path) -> None:
    trial = quick(run)
    assert trial.plan.arms == (NONE, "stabilize", LONGER, LARGER)
    trained = [(c.arm, c.seed) for c in trial.curves if c.seed]
    assert trained == [(arm, seed) for seed in (1, 2) for arm in trial.plan.arms]
    assert all(c.status is Status.OK and c.loss[-1] < c.loss[0] for c in trial.curves)
    ends = {c.arm: c.examples[-1] for c in trial.curves}
    assert (ends[NONE], ends[LONGER], ends[LARGER]) == (160, 176, 320)
    with gnoise.open_run(run) as opened:
        (kept,) = opened.trials
    assert kept.curves == trial.curves
    assert kept.state is trial.state is TrialState.COMPLETE


def test_arms_of_one_seed_differ_in_nothing_but_the_arm(run: Path, tmp_path: Path) -> None:
    neutral = tmp_path / "neutral.json"
    neutral.write_text(
        '{"format": "gnoise.recommendations", "version": 1, "recommendations": [{"layer": null, "remedy": '
        '"clip_global_norm", "params": {"clip_global_norm": 1e30}, "status": "ok"}]}'
    )
    trial = quick(run, arms=[str(neutral)])
    losses = {(c.arm, c.seed): c.loss for c in trial.curves}
    assert losses["neutral", 1] == losses[NONE, 1] != losses[NONE, 2]
    result = judge_arm(trial, "neutral")
    assert result.difference == 0.0


def test_a_trial_that_was_killed_goes_on_to_the_same_end(run: Path, profiled: Path, tmp_path: Path) -> None:
    whole = quick(run)
    again = Path(shutil.copy(profiled, tmp_path / "again.gnoise"))

    def stop(at: Progress) -> None:
        if at.arm == "stabilize" and at.seed == 1 and at.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(again, on_progress=stop)
    with gnoise.open_run(again) as opened:
        assert opened.trials[0].state is TrialState.RUNNING
    steps: list[int] = []
    resumed = quick(again, on_progress=lambda at: steps.append(at.step))
    assert untimed(resumed.curves) == untimed(whole.curves)
    assert resumed.number == 1
    done: list[int] = []
    assert quick(again, on_progress=lambda at: done.append(at.step)).curves == resumed.curves
    assert done == []
    assert quick(again, fresh=True).number == 2


def test_a_diverging_arm_ends_alone(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = Branch.held_out_loss

    def held_out_loss(self: Branch) -> float:
        loss = unbroken(self)
        return float("nan") if self.batch_size == 8 and _poisoned["arm"] == "stabilize" and loss < 2.0 else loss

    _poisoned = {"arm": ""}
    monkeypatch.setattr(Branch, "held_out_loss", held_out_loss)
    train = Branch.train

    def watched(self: Branch, arm, **options):
        _poisoned["arm"] = arm.name
        return train(self, arm, **options)

    monkeypatch.setattr(Branch, "train", watched)
    trial = quick(run, steps=60)
    assert {c.arm for c in trial.curves if c.status is Status.DIVERGED} == {"stabilize"}
    assert len([c for c in trial.curves if c.seed]) == 2 * 4
    assert judge_arm(trial, "stabilize").status is Status.DIVERGED
    assert trial.state is TrialState.COMPLETE


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), Status.OUT_OF_MEMORY),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            Status.OUT_OF_MEMORY,
        ),
        (RuntimeError("expected scalar type Float"), Status.FAILED),
    ],
)
def test_an_arm_that_breaks_off_ends_with_why(run: Path, error: RuntimeError, status: Status) -> None:
    broken = workload()

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(batch, tuple)
        if len(batch[0]) == 16:  # twice the batch
            raise error
        return _loss(module, batch)

    trial = quick(run, source=dataclasses.replace(broken, loss=loss))
    assert {c.status for c in trial.curves if c.arm == LARGER} == {status}
    assert {c.status for c in trial.curves if c.arm != LARGER} == {Status.OK}


def test_a_disk_that_is_full_for_a_while_loses_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = import_module("gnoise.trials.trial")
    write, calls = room.write_curve, []

    def full(path: Path, number: int, curve: TrialCurve) -> None:
        calls.append(curve.arm)
        if 3 <= len(calls) <= 5:
            raise UserError(f"expected to write {path}, but database or disk is full; try another folder with -o")
        write(path, number, curve)

    monkeypatch.setattr(room, "write_curve", full)
    trial = quick(run)
    with gnoise.open_run(run) as opened:
        assert set(untimed(opened.trials[0].curves)) == set(untimed(trial.curves))


def test_a_disk_that_stays_full_is_said_at_the_end(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = import_module("gnoise.trials.trial")

    def full(path: Path, number: int, curve: TrialCurve) -> None:
        raise UserError(f"expected to write {path}, but database or disk is full; try another folder with -o")

    monkeypatch.setattr(room, "write_curve", full)
    with pytest.raises(UserError, match="full"):
        quick(run)


def test_tuning_goes_past_the_end_of_its_grid(run: Path) -> None:
    trial = quick(run, lr=1e-5)
    tried = sorted(c.learning_rate for c in trial.curves if c.arm == "tuning")
    assert tried == pytest.approx([5e-6, 1e-5, 2e-5, 4e-5, 8e-5])
    assert {c.learning_rate for c in trial.curves if c.arm == NONE} == {tried[-1]}


def test_optimizer_state_of_the_checkpoint_is_used(run: Path) -> None:
    with_state = workload()
    state = {
        name: {"step": torch.tensor(100.0), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.full_like(p, 1e6)}
        for name, p in with_state.module.named_parameters()
    }
    fresh, resumed = quick(run), quick(run, source=dataclasses.replace(with_state, optimizer_state=state, sha256="b"))
    assert resumed.plan.with_state
    assert not fresh.plan.with_state
    slow = {c.seed: c.loss[0] - c.loss[-1] for c in resumed.curves if c.arm == NONE}
    quickly = {c.seed: c.loss[0] - c.loss[-1] for c in fresh.curves if c.arm == NONE}
    assert all(slow[seed] < 0.1 * quickly[seed] for seed in slow)  # its v of 10⁶ holds every step back


def test_a_budget_chooses_steps_and_seeds_and_a_small_one_is_refused(run: Path) -> None:
    trial = quick(run, steps=None, seeds=None, budget=20.0)
    assert trial.plan.steps >= 20
    assert len(trial.plan.seeds) >= 5
    with pytest.raises(UserError, match="--budget"):
        quick(run, steps=None, seeds=None, budget=0.01)


def test_a_slow_look_is_taken_less_often_than_it_costs_steps() -> None:
    arms = (Arm(NONE), Arm(LONGER, steps=1.1), Arm(LARGER, batches=2))
    steps, seeds, looks = fit(600.0, 0.5, 0.1, arms, steps=None, seeds=None)
    assert looks == LOOKS
    slower = fit(600.0, 0.5, 5.0, arms, steps=None, seeds=None)
    assert slower[1] == seeds
    assert slower[2] == 1
    assert 0.8 * steps <= slower[0] < steps


def test_unknown_arms_and_other_weights_are_refused(run: Path) -> None:
    with pytest.raises(UserError, match="stabilize"):
        quick(run, arms=["stabilise"])
    with pytest.raises(UserError, match="as_trained"):
        quick(run, arms=["as_trained"])


@pytest.mark.parametrize("arm", ["clip", "shrink", "clip_norm", "clip_global_norm", "muon", "layerwise_lr"])
def test_every_arm_trains(run: Path, arm: str) -> None:
    trial = quick(run, arms=[arm])
    found = [c for c in trial.curves if c.arm == arm]
    assert [c.status for c in found] == [Status.OK, Status.OK]
    assert all(c.loss[-1] < c.loss[0] for c in found)


@pytest.mark.parametrize("lr", [0.0, -1e-3, math.nan, math.inf])
def test_a_learning_rate_that_cannot_train_is_refused(run: Path, lr: float) -> None:
    with pytest.raises(UserError, match="expected --lr above 0"):
        gnoise.trial(run, lr=lr)


def test_nothing_recommended_is_nothing_to_try(run: Path) -> None:
    with gnoise.open_run(run) as opened:
        assert {r.remedy for r in opened.recommendations} == {Remedy.NONE}
    assert quick(run, arms=["recommended"]).plan.arms == (NONE, LONGER, LARGER)


def test_held_out_examples_are_never_trained_on() -> None:
    examples = split(workload(), batch_size=8, most=64)
    assert examples.held_out_examples == 40
    kept = {tuple(row.tolist()) for batch in examples.held_out for row in batch[0]}
    stream = examples.train(8, 1)
    seen = {tuple(row.tolist()) for _ in range(60) for row in next(stream)[0][0]}
    assert len(kept) == 40
    assert not kept & seen


def test_no_held_out_examples_at_all_is_an_error() -> None:
    with pytest.raises(UserError, match="--held-out"):
        split(dataclasses.replace(workload(), examples=None), batch_size=8, most=64)


def test_held_out_data_are_found_beside(tmp_path: Path) -> None:
    (tmp_path / "val.bin").touch()
    assert beside(str(tmp_path / "train.bin")) == str(tmp_path / "val.bin")
    assert beside(str(tmp_path / "tokens.bin")) is None
    assert beside("factory:batches", folder=tmp_path) is None
    (tmp_path / "factory.py").write_text("def batches(): ...\ndef held_out(): ...\n")
    assert beside("factory:batches", folder=tmp_path) == "factory:held_out"
    (tmp_path / "supply.py").write_text("def train_batches(): ...\ndef val_batches(): ...\n")
    assert beside("supply:train_batches", folder=tmp_path) == "supply:val_batches"


def test_a_trial_needs_a_run_that_can_be_written(run: Path) -> None:
    connection = sqlite3.connect(run)
    connection.execute("DROP TABLE trial")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match="gnoise"):
        quick(run)
