"""Train from a checkpoint both ways, and say what the difference is worth in tokens."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from gnoise.collect.load import load_workload
from gnoise.collect.profile import place
from gnoise.collect.workload import Workload
from gnoise.errors import UserError, unreadable
from gnoise.records import JsonValue, Status
from gnoise.runfile import Run, end_trial, open_run, start_trial, write_curve
from gnoise.stats.trial import FEWEST_SEEDS, NONE, TUNING, best_rate, is_settled
from gnoise.trial_records import Trial, TrialCurve, TrialPlan, TrialState
from gnoise.trials.arms import OWN_OPTIMIZER, RECOMMENDED, Arm, make_arms, predicted
from gnoise.trials.branch import Branch, weights_of
from gnoise.trials.held_out import beside, split
from gnoise.trials.optimizers import settings_of
from gnoise.trials.plan import LOOKS, MULTIPLES, STEPS, fit, seconds_of

_HELD_OUT = 256
_FIRST_SEED = 1
_TUNING_SEED = 0
_WIDEST = (0.125, 8.0)


@dataclass(frozen=True)
class Progress:
    """Where a trial is.

    Attributes:
        trial: plan and curves so far.
        arm: being trained.
        seed: being trained.
        step: steps done of it.
        steps: of it in all.
        loss: held-out loss, where it was just looked at.
        ended: the curve, once it has ended.
    """

    trial: Trial
    arm: str
    seed: int
    step: int
    steps: int
    loss: float | None = None
    ended: TrialCurve | None = None


OnProgress = Callable[[Progress], None]


def trial(
    run: str | Path,
    *,
    arms: Sequence[str] = (RECOMMENDED,),
    source: str | Path | Workload | None = None,
    data: str | None = None,
    held_out: str | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    budget: float | None = None,
    device: str = "auto",
    fresh: bool = False,
    on_progress: OnProgress = lambda progress: None,
) -> Trial:
    """Branch training from the checkpoint of a run, once for each arm and seed, and keep the curves in the run.

    Arms of one seed share weights, optimizer state, data order and dropout: their losses are compared in pairs. With
    them go training without remedy, whose learning rate is tuned on a grid first; the same for a tenth more steps, the
    ruler that turns a difference into tokens; and twice the batch. It ends when a strict interval settles every arm,
    or when all seeds are done. Called again with the same request after an interruption, it goes on and ends with
    the same result.

    Args:
        run: run file; written to.
        arms: names of :data:`gnoise.trials.NAMES`, or paths of a ``recommendations.json``.
        source: checkpoint, where it has moved since; or a workload of one's own.
        data: training data, where they have moved.
        held_out: data to judge by; found beside the training data, or every tenth example, without.
        seeds: pairs at most; 5 without a budget.
        steps: of an arm; 200 without a budget.
        batch_size: examples of a step; without, the checkpoint's where it says, else those of a draw.
        lr: learning rate, in place of the checkpoint's; the grid is around it.
        budget: seconds that steps and seeds shall fit into.
        device: a torch device, or ``auto``.
        fresh: begin anew where the same request was answered before.
        on_progress: called after each step, and as each training ends.

    Returns:
        plan and curves; :func:`gnoise.stats.judge_trial` says what they mean.

    Raises:
        UserError: anything that keeps the job from being done, with what to type next.
    """
    path, started = Path(run), perf_counter()
    if lr is not None and not 0.0 < lr < math.inf:
        raise UserError(f"expected --lr above 0 and finite, got {lr:g}; try --lr 1e-3")
    request: dict[str, JsonValue] = {"arms": [*arms], "seeds": seeds, "steps": steps, "batch_size": batch_size}
    request |= {"lr": lr, "budget": budget, "data": data, "held_out": held_out, "device": device}
    request["source"] = source.sha256 if isinstance(source, Workload) else None if source is None else str(source)
    with open_run(path) as opened:
        info = opened.info
        if info.judged_under not in ("", str(info.optimizer.get("name", "")).lower()):
            raise UserError(
                "expected remedies judged under the checkpoint's own optimizer, with which a trial trains, got "
                f"{info.judged_under}; try gnoise profile without --optimizer"
            )
        made = make_arms(opened, arms)
        gains = predicted(opened, made)
        workload = _workload(opened, source, data, held_out)
        going = None if fresh else _earlier(opened, request)
        settings = settings_of({**info.optimizer, **({} if lr is None else {"lr": lr})}, workload.optimizer_steps)
        size = batch_size or info.training_batch or info.examples_per_draw
    place(workload, device)
    if going is not None:
        size = going.plan.batch_size
    examples = split(workload, batch_size=size, most=_HELD_OUT)
    branch = Branch(
        workload=workload,
        examples=examples,
        weights=weights_of(workload.module),
        optimizer=settings,
        with_state=bool(workload.optimizer_state),
        batch_size=size,
        steps=STEPS,
        evaluate_every=STEPS // LOOKS,
    )
    if going is None:
        origin = workload.model if isinstance(source, Workload) else str(source or info.source)
        plan = _plan(branch, made, gains, request, source=origin, seeds=seeds, steps=steps, budget=budget)
        going = Trial(start_trial(path, plan), plan, (), TrialState.RUNNING, "")
    branch = replace(branch, steps=going.plan.steps, evaluate_every=going.plan.evaluate_every)
    return _Runner(path, branch, made, going, started, on_progress).run()


def _earlier(run: Run, request: dict[str, JsonValue]) -> Trial | None:
    return next((trial for trial in reversed(run.trials) if trial.plan.request == request), None)


def _workload(run: Run, source: str | Path | Workload | None, data: str | None, held_out: str | None) -> Workload:
    if isinstance(source, Workload):
        return source
    found = run.info.references
    training = data or found.get("data")
    reference = Path(source) if source is not None else Path(run.info.source)
    if not reference.exists():
        raise unreadable(f"expected the checkpoint {reference} that {run.path} was made from; try --source PATH")
    folder = reference if reference.is_dir() else reference.parent
    kept = held_out or (beside(training, folder=folder) if training is not None else None)
    factory, loss = found.get("factory"), found.get("loss")
    workload = load_workload(reference, data=training, factory=factory, loss=loss, held_out=kept)
    if workload.sha256 != run.info.checkpoint_sha256:
        raise UserError(
            f"expected the checkpoint that {run.path} was made from, got other weights in {reference}; "
            f"try --source PATH, or gnoise profile {reference} first"
        )
    return workload


def _plan(
    branch: Branch,
    arms: Sequence[Arm],
    gains: dict[str, tuple[float, float, float]],
    request: dict[str, JsonValue],
    *,
    source: str,
    seeds: int | None,
    steps: int | None,
    budget: float | None,
) -> TrialPlan:
    length, count, looks = steps or STEPS, seeds or FEWEST_SEEDS, LOOKS
    if budget is not None:
        step, look = seconds_of(branch)
        length, count, looks = fit(budget, step, look, arms, steps=steps, seeds=seeds)
    parameter = next(branch.workload.module.parameters())
    rate = branch.optimizer["lr"]
    return TrialPlan(
        source=source,
        references=dict(branch.workload.references),
        arms=tuple(arm.name for arm in arms),
        predicted=gains,
        seeds=tuple(range(_FIRST_SEED, _FIRST_SEED + count)),
        steps=length,
        batch_size=branch.batch_size,
        learning_rate=float(rate) if isinstance(rate, int | float) else 0.0,
        multiples=MULTIPLES,
        evaluate_every=max(1, length // looks),
        held_out_examples=branch.examples.held_out_examples,
        optimizer=branch.optimizer,
        with_state=branch.with_state,
        device=str(parameter.device),
        dtype=str(parameter.dtype).removeprefix("torch."),
        budget=budget,
        request=request,
    )


class _Runner:
    """Trains what a plan still lacks."""

    def __init__(
        self, path: Path, branch: Branch, arms: Sequence[Arm], trial: Trial, started: float, on_progress: OnProgress
    ) -> None:
        self._path, self._branch, self._arms = path, branch, arms
        self._trial, self._started, self._on_progress = trial, started, on_progress
        self._unwritten: list[TrialCurve] = []

    def run(self) -> Trial:
        if self._trial.state in (TrialState.SETTLED, TrialState.COMPLETE):
            return self._trial
        state = self._train_all()
        self._keep()
        end_trial(self._path, self._trial.number, state)
        self._trial = replace(self._trial, state=state)
        return self._trial

    def _train_all(self) -> TrialState:
        rates = {kind: self._tuned(kind) for kind in dict.fromkeys(arm.optimizer for arm in self._arms)}
        for seed in self._trial.plan.seeds:
            for arm in self._arms:
                if self._is_late():
                    return TrialState.OUT_OF_TIME
                self._train(arm, seed, rates[arm.optimizer])
            if is_settled(self._trial) and seed != self._trial.plan.seeds[-1]:
                return TrialState.SETTLED
        return TrialState.COMPLETE

    def _tuned(self, kind: str) -> float:
        """Find the rate at which training without remedy ends lowest; go on past an end of the grid that wins."""
        base, name = self._trial.plan.learning_rate, TUNING if kind == OWN_OPTIMIZER else f"{TUNING}:{kind}"
        tried: dict[float, TrialCurve] = {}
        ahead = list(self._trial.plan.multiples)
        while ahead:
            multiple = ahead.pop(0)
            tried[multiple] = self._train(Arm(NONE, optimizer=kind), _TUNING_SEED, base * multiple, name)
            if ahead:
                continue
            if all(curve.status is not Status.OK for curve in tried.values()):
                ahead = [min(tried) / 4.0]
                if ahead[0] < _WIDEST[0] / 16.0:
                    raise UserError(
                        f"expected one learning rate at which training holds, got none from {base * min(tried):.2g} "
                        f"to {base * max(tried):.2g}; try --lr"
                    )
                continue
            best = best_rate([*tried.values()]) / base
            edges = {min(tried): min(tried) / 2.0, max(tried): max(tried) * 2.0}
            beyond = next((new for edge, new in edges.items() if abs(best - edge) < 1e-9 * edge), None)
            if beyond is not None and _WIDEST[0] <= beyond <= _WIDEST[1]:
                ahead = [beyond]
        return best_rate([*tried.values()])

    def _train(self, arm: Arm, seed: int, lr: float, name: str | None = None) -> TrialCurve:
        """Train, or find the curve of an earlier time; keep it even where the disk will not."""
        label = name or arm.name
        known = (c for c in self._trial.curves if c.arm == label and c.seed == seed and c.learning_rate == lr)
        if (found := next(known, None)) is not None:
            return found

        def on_step(done: int, steps: int, loss: float | None) -> None:
            self._on_progress(Progress(self._trial, label, seed, done, steps, loss))

        curve = self._branch.train(arm, seed=seed, lr=lr, on_step=on_step, name=label)
        self._trial = replace(self._trial, curves=(*self._trial.curves, curve))
        self._unwritten.append(curve)
        with suppress(UserError):  # a full disk may have room again: all is written with the next one, or at the end
            self._keep()
        self._on_progress(Progress(self._trial, label, seed, 0, 0, ended=curve))
        return curve

    def _keep(self) -> None:
        while self._unwritten:
            write_curve(self._path, self._trial.number, self._unwritten[0])
            self._unwritten.pop(0)

    def _is_late(self) -> bool:
        budget = self._trial.plan.budget
        return budget is not None and perf_counter() - self._started > 1.1 * budget
