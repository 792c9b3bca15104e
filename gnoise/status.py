"""Why there is, or is not, a number: every reason with its advice."""

from enum import StrEnum


class Status(StrEnum):
    """Why an estimate is, or is not, a number; :attr:`advice` says what to do about it."""

    OK = "ok"
    ONE_SIDED = "one_sided"
    AT_LEAST = "at_least"
    TOO_FEW_DRAWS = "too_few_draws"
    TOO_FEW_VALUES = "too_few_values"
    NO_SIGNAL = "no_signal"
    ALL_ZERO = "all_zero"
    CONSTANT = "constant"
    FEW_DISTINCT = "few_distinct"
    NON_FINITE = "non_finite"
    NOT_CONSTANT_SLOPE = "not_constant_slope"
    HEAVY_TAILED = "heavy_tailed"
    NOT_HEAVY = "not_heavy"
    NOT_CONVERGED = "not_converged"
    NO_OPTIMIZER_STATE = "no_optimizer_state"
    NOT_COLLECTED = "not_collected"
    NOT_FOLLOWED = "not_followed"
    TOO_SHORT_A_BLOCK = "too_short_a_block"
    NO_BULK = "no_bulk"
    ONE_LINE = "one_line"
    ONE_EXAMPLE = "one_example"
    TOO_FEW_SEEDS = "too_few_seeds"
    NO_SCALE = "no_scale"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    FAILED = "failed"

    @property
    def advice(self) -> str:
        """One sentence: what happened and what to do."""
        return _ADVICE[self]


_ADVICE: dict[Status, str] = {
    Status.OK: "a number with its interval",
    Status.ONE_SIDED: "only one end of the interval can be told apart from no bound: profile with more --draws",
    Status.AT_LEAST: "one draw outweighs the others and louder ones are still to come: read the lower end as a bound",
    Status.TOO_FEW_DRAWS: "too few draws to say how sure this is: profile with more --draws (256 is plenty)",
    Status.TOO_FEW_VALUES: "too few values in this tensor for a tail fit: read its kind or the whole model instead",
    Status.NO_SIGNAL: "the mean gradient cannot be told from noise at this many draws: profile with more --draws",
    Status.ALL_ZERO: "every gradient seen was exactly zero: is this parameter used by the loss?",
    Status.CONSTANT: "every value was the same: there is no noise to describe",
    Status.FEW_DISTINCT: "one number makes up a tenth of the values: no continuous law to fit; are they rounded?",
    Status.NON_FINITE: "NaN or Inf among the gradients: look at the loss and the precision first",
    Status.NOT_CONSTANT_SLOPE: "the averaging slope changes with the number averaged: no one tail index describes it",
    Status.HEAVY_TAILED: "one-example gradients are so heavy-tailed that the truth may lie outside of this interval",
    Status.NOT_HEAVY: "the entries are not heavy-tailed to begin with: there is nothing to explain",
    Status.NOT_CONVERGED: "the fit did not settle: report this run file as a bug",
    Status.NO_OPTIMIZER_STATE: "the run holds no optimizer state: profile a checkpoint that was saved with Adam's",
    Status.NOT_COLLECTED: "this run is of before this was collected: profile the checkpoint again",
    Status.NOT_FOLLOWED: "only some matrices are followed through the optimizer: profile with --include and this name",
    Status.TOO_SHORT_A_BLOCK: "a block of draws is too short for Muon's momentum: profile with --draws 256",
    Status.NO_BULK: "the noise has fewer directions than half of the matrix: profile with a larger --batch-size",
    Status.ONE_EXAMPLE: "one example makes more than half of the squared gradient norms: read that example first",
    Status.TOO_FEW_SEEDS: "fewer than two pairs of trainings: give the trial more --seeds or a larger --budget",
    Status.NO_SCALE: "ten percent more steps did not lower the loss for sure: give the trial more --steps or --seeds",
    Status.DIVERGED: "the loss left the range of numbers or doubled: try a smaller --lr",
    Status.OUT_OF_MEMORY: "this arm did not fit in memory: try a smaller --batch-size",
    Status.FAILED: "this arm broke off with an error: its curve says where",
    Status.ONE_LINE: "a single row or column has no rows and columns to compare: read its tail index instead",
}
