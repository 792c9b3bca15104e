"""From trainings to a table: tokens saved, octaves won, and what that says of a claim. Run alone it does nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from papers_claims import Claim
from papers_runs import Chosen, Done, best_on_grid, longer, over_grid, trainings
from papers_studies import RATE, Range, Savings
from papers_trainings import Arm, Ended
from scipy.special import stdtrit

from gnoise.records import Status
from gnoise.stats.intervals import t_interval
from gnoise.stats.trial import LONGER, NONE, judge_arm
from gnoise.trial_records import Trial, TrialCurve, TrialPlan, TrialState

COLUMNS = ("claim", "our setting", "arm", "measured (95%)", "verdict")
CONFIRMED, OPPOSITE, NOT_RUN = "confirmed", "opposite", "not yet run"
TOKENS, OCTAVES = "tokens saved", "octaves won"
WELL = 0.1
"""A training goes well that ends within this share of the way from the best loss to the first."""
_POWER = 0.8
_SMALLEST_SAVING, _SMALLEST_OCTAVES = 0.01, 0.1
"""Below these nobody would change a training."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        claim: what a paper says.
        setting: what we trained.
        arm: against what.
        measure: tokens saved, as a share, or octaves won.
        value: positive is what the paper says; ``None`` where there is none.
        low: of its 95% interval.
        high: likewise.
        seen: what would have been told from nothing four times in five.
        remark: behind the numbers.
    """

    claim: Claim
    setting: str
    arm: str
    measure: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seen: float | None = None
    remark: str = ""

    def verdict(self) -> str:
        """Say what it means for the claim's direction."""
        if self.value is None or self.low is None or self.high is None:
            return self.remark or NOT_RUN
        smallest = _SMALLEST_SAVING if self.measure == TOKENS else _SMALLEST_OCTAVES
        if max(-self.low, self.high) < smallest:
            return f"not seen (less than {self._number(smallest, sign='')})"
        if self.low > 0.0:
            return CONFIRMED
        if self.high < 0.0:
            return OPPOSITE
        return "not seen" if self.seen is None else f"not seen (could have seen {self._number(self.seen, sign='')})"

    def cells(self) -> tuple[str, ...]:
        """Return the row under :data:`COLUMNS`."""
        told = "–"
        if self.value is not None and self.low is not None and self.high is not None:
            ends = f"{self._number(self.low)} to {self._number(self.high)}"
            told = f"{self.measure} {self._number(self.value)} ({ends})"
            told += f"; {self.remark}" if self.remark else ""
        return (self.claim.text, self.setting, self.arm, told, self.verdict())

    def _number(self, value: float, sign: str = "+") -> str:
        return f"{100.0 * value:{sign}.1f}%" if self.measure == TOKENS else f"{value:{sign}.2f}"


def savings_rows(study: Savings, done: Done) -> tuple[list[Row], dict[str, object]]:
    """Judge the arms of a comparison of tokens, and keep all losses.

    Args:
        study: which.
        done: finds what came of a training.
    """
    chosen, found = trainings(study, done)
    trial = _trial(study.steps, study.seeds, chosen[NONE].rate, found)
    rows = [
        _saved(claim, study.title, arm.name, trial, label=_label(arm), remark=_chosen(arm, chosen))
        for claim, arm in zip(study.claims, study.arms[1:], strict=True)
    ]
    return rows, {
        "chosen": {arm: asdict(value) for arm, value in chosen.items()},
        "losses": {arm: {str(seed): _finite(x.after) for seed, x in by.items()} for arm, by in found.items()},
    }


def range_rows(study: Range, done: Done) -> tuple[list[Row], dict[str, object]]:
    """Judge how much wider training goes well, and for learning rates what the best of each is worth in tokens.

    Args:
        study: which.
        done: finds what came of a training.
    """
    found = over_grid(study, done)
    ranges = ranges_by_arm(study, found)
    widths = {name: np.array([high - low for low, high in values]) for name, values in ranges.items()}
    ours, rows = study.arms[-1].name, list[Row]()
    for other in study.arms[:-1]:
        apart = widths[ours] - widths[other.name]
        remark = f"{widths[ours].mean():.2f} against {widths[other.name].mean():.2f}"
        beyond = [sum(high == math.log2(study.grid[-1]) for _, high in ranges[x]) for x in (ours, other.name)]
        if any(beyond):
            remark += f", to the grid's end on {beyond[0]} against {beyond[1]} seeds"
        rows.append(_won(study, f"{ours} against {other.name}", apart, remark))
    if study.axis == RATE:
        rows.append(_at_best(study, found, done))
    return rows, {
        "grid": list(study.grid),
        "octaves": {name: values.tolist() for name, values in widths.items()},
        "losses": {
            arm: {str(seed): [_finite(x.after) for x in line] for seed, line in by.items()} for arm, by in found.items()
        },
    }


def ranges_by_arm(
    study: Range, found: Mapping[str, Mapping[int, Sequence[Ended]]]
) -> dict[str, list[tuple[float, float]]]:
    """Find each arm's range on each seed, against one bar for all arms of a seed.

    Args:
        study: whose grid.
        found: by arm and seed, along the grid.

    Returns:
        binary logarithms of both ends, in the seeds' order.
    """
    ranges: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for seed in study.seeds:
        best = min(each.after for by in found.values() for each in by[seed])
        bar = best + WELL * (found[NONE][seed][0].before - best)
        for name, by in found.items():
            ranges[name].append(good_range(study.grid, [each.after for each in by[seed]], bar))
    return ranges


def good_range(grid: Sequence[float], losses: Sequence[float], bar: float) -> tuple[float, float]:
    """Find how far around the lowest loss all stay below a bar, straight lines between the values of a grid.

    Args:
        grid: ascending.
        losses: there; infinite where a training diverged.
        bar: as high as a loss may be.

    Returns:
        binary logarithms of both ends, which are one where nothing is below the bar.
    """
    lowest, at = int(np.argmin(losses)), [math.log2(value) for value in grid]
    if not losses[lowest] <= bar:
        return at[lowest], at[lowest]

    def reach(step: int) -> float:
        here = lowest
        while 0 <= here + step < len(losses) and losses[here + step] <= bar:
            here += step
        if not 0 <= here + step < len(losses):
            return at[here]
        part = (bar - losses[here]) / (losses[here + step] - losses[here])  # 0 before one that diverged
        return at[here] + part * (at[here + step] - at[here])

    return reach(-1), reach(1)


def _at_best(study: Range, found: Mapping[str, dict[int, list[Ended]]], done: Done) -> Row:
    """Compare the stabilizer with none, each at the rate of the grid that is best over the seeds."""
    ours = study.arms[-1].name
    places = {name: best_on_grid(study, found[name]) for name in (NONE, ours)}
    rate, problem = study.grid[places[NONE]], study.problem()
    ended = {name: {seed: line[place] for seed, line in found[name].items()} for name, place in places.items()}
    ended[LONGER] = {seed: longer(study, problem, rate, seed, done) for seed in study.seeds}
    trial = _trial(study.steps, study.seeds, rate, ended)
    remark = f"rate {study.grid[places[ours]]:.2g} against {rate:.2g}"
    label = f"{ours} against {NONE}, each at its best rate"
    return _saved(study.claim, study.title, ours, trial, label=label, remark=remark)


def _label(arm: Arm) -> str:
    return f"{arm.name}, {arm.note}" if arm.note else arm.name


def _chosen(arm: Arm, chosen: Mapping[str, Chosen]) -> str:
    ours = chosen[arm.name]
    gain = f", gain {ours.setting:g}" if len(arm.settings) > 1 else ""
    return f"rate {ours.rate:.2g} against {chosen[NONE].rate:.2g}{gain}"


def _saved(claim: Claim, title: str, arm: str, trial: Trial, *, label: str, remark: str) -> Row:
    result = judge_arm(trial, arm)
    if result.ended_early:
        remark += f", {result.ended_early} diverged"
    if result.tokens_saved is None:
        return Row(claim, title, label, TOKENS, remark=f"no ruler: a tenth more steps did not surely help ({remark})")
    return Row(claim, title, label, TOKENS, result.tokens_saved, result.low, result.high, result.detectable, remark)


def _won(study: Range, arm: str, apart: np.ndarray, remark: str) -> Row:
    error, freedom = float(apart.std(ddof=1)) / math.sqrt(apart.size), apart.size - 1
    found = t_interval(float(apart.mean()), error, freedom)
    seen = (float(stdtrit(freedom, 0.975)) + float(stdtrit(freedom, _POWER))) * error
    return Row(
        study.claim, study.title, arm, f"{OCTAVES} of {study.axis}", found.value, found.low, found.high, seen, remark
    )


def _trial(steps: int, seeds: Sequence[int], rate: float, found: Mapping[str, Mapping[int, Ended]]) -> Trial:
    plan = TrialPlan(
        source="",
        references={},
        arms=(NONE, *(arm for arm in found if arm not in (NONE, LONGER)), LONGER),
        predicted={},
        seeds=tuple(seeds),
        steps=steps,
        batch_size=1,
        learning_rate=rate,
        multiples=(),
        evaluate_every=steps,
        held_out_examples=0,
        optimizer={},
        with_state=False,
        device="cpu",
        dtype="float32",
        budget=None,
        request={},
    )
    curves = [
        TrialCurve(
            arm=arm,
            seed=seed,
            learning_rate=rate,
            examples=(steps,),
            loss=(ended.after,),
            spikes=0,
            seconds=ended.seconds,
            status=Status.OK if math.isfinite(ended.after) else Status.DIVERGED,
        )
        for arm, by in found.items()
        for seed, ended in by.items()
    ]
    return Trial(1, plan, tuple(curves), TrialState.COMPLETE, "")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
