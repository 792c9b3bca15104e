"""Pieces of the papers' benchmark: few bits, a policy that learns, trainings kept, octaves, verdicts."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
Bench = Callable[[str], ModuleType]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def nearest_fp4(x: torch.Tensor, sizes: tuple[float, ...]) -> torch.Tensor:
    """The obvious way: the nearest of all numbers there are, in units of the block's largest sixth."""
    numbers = torch.tensor([*(-s for s in sizes), *sizes])
    blocks = [x[i : i + 32] for i in range(0, len(x), 32)]
    return torch.cat(
        [b.abs().max() / 6 * numbers[(b[:, None] / (b.abs().max() / 6) - numbers).abs().argmin(1)] for b in blocks]
    )


@pytest.mark.parametrize("size", [1, 31, 32, 100])
def test_fp4_takes_the_nearest_number_of_each_block(bench: Bench, size: int) -> None:
    rounding = bench("papers_rounding")
    x = torch.randn(size, generator=torch.Generator().manual_seed(size))
    torch.testing.assert_close(rounding.fp4(x), nearest_fp4(x, rounding.FP4))


def test_fp4_keeps_its_own_numbers_and_zeros(bench: Bench) -> None:
    rounding = bench("papers_rounding")
    own = torch.tensor([*rounding.FP4, *(-x for x in rounding.FP4)])
    torch.testing.assert_close(rounding.fp4(own), own)
    assert (rounding.fp4(torch.zeros(40)) == 0.0).all()


def test_fp16_bounds_gradients_and_fp4_passes_them(bench: Bench) -> None:
    rounding, trainings = bench("papers_rounding"), bench("papers_trainings")

    def make(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return torch.nn.Linear(32, 32, bias=False)

    problem = trainings.Problem(1, make, lambda m, b: m(b[0]).sum(), lambda s: iter(()), lambda m: 0.0)
    x = torch.randn(4, 32)
    grads = []
    for made in (problem, rounding.in_fp4(problem), rounding.in_fp16(problem)):
        module = made.make(0)
        (1e5 * module(x).sum()).backward()
        grads.append(next(module.parameters()).grad)
    torch.testing.assert_close(grads[1], grads[0], rtol=0.5, atol=1e5)  # of the same weights and rounded inputs
    assert not torch.isfinite(grads[2]).all()


def test_steps_beyond_fp16_are_left_out(bench: Bench) -> None:
    trainings = bench("papers_trainings")
    module = torch.nn.Linear(2, 1, bias=False)
    before = module.weight.detach().clone()

    def loss(model: torch.nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        total = model(batch[0]).sum()
        total.register_hook(lambda grad: grad * math.inf)
        return total

    problem = trainings.Problem(
        1, lambda s: module, loss, lambda s: iter([(torch.ones(1, 2),)] * 3), lambda m: 1.0, loss_scale=8.0
    )
    arm = trainings.Arm("none")
    ended = trainings.train(problem, arm, trainings.Key("none", 0, 0.1, 0.0, 0.0, 3))
    assert ended.after == 1.0
    assert torch.equal(module.weight, before)


def test_the_pole_falls_by_itself_and_a_policy_learns_to_hold_it(bench: Bench) -> None:
    small, trainings = bench("papers_small"), bench("papers_trainings")
    problem = small.balance()
    key = trainings.Key("none", 0, 0.03, 0.0, 0.0, 30)
    ended = trainings.train(problem, trainings.Arm("none"), key)
    assert -30.0 < ended.before < -10.0
    assert ended.after < 1.5 * ended.before
    assert trainings.train(problem, trainings.Arm("none"), key).after == ended.after


def test_a_pole_is_pushed_as_the_books_say(bench: Bench) -> None:
    small = bench("papers_small")
    state = small.moved(torch.zeros(1, 4), torch.ones(1, dtype=torch.int64))[0]
    # Barto, Sutton and Anderson's cart at rest, pushed right by 10 N for 20 ms.
    torch.testing.assert_close(state, torch.tensor([0.0, 0.195122, 0.0, -0.292683]), atol=1e-5, rtol=0.0)


def test_what_has_ended_survives_an_interruption(bench: Bench, tmp_path: Path) -> None:
    trainings = bench("papers_trainings")
    file = tmp_path / "runs" / "study.jsonl"
    first, second = (trainings.Key("none", seed, 0.1, 0.0, 3.0, 5) for seed in (1, 2))
    kept = trainings.Kept(file)
    kept.add(first, trainings.Ended(2.0, 1.5, 0.1))
    kept.add(second, trainings.Ended(2.0, math.inf, 0.1))
    whole = file.read_text("utf-8")
    file.write_text(whole[:-9], "utf-8")
    again = trainings.Kept(file)
    assert again.find(first) == trainings.Ended(2.0, 1.5, 0.1)
    assert again.find(second) is None
    again.add(second, trainings.Ended(2.0, math.inf, 0.1))
    assert file.read_text("utf-8") == whole
    assert trainings.Kept(file).find(second).after == math.inf


def test_a_range_reaches_to_where_the_bar_is_crossed(bench: Bench) -> None:
    good_range = bench("papers_table").good_range
    grid = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert good_range(grid, [5.0, 2.0, 1.0, 2.0, 5.0], 2.0) == pytest.approx((1.0, 3.0))
    assert good_range(grid, [4.0, 2.0, 1.0, 2.0, math.inf], 3.0) == pytest.approx((0.5, 3.0))
    assert good_range(grid, [1.0, 1.0, 1.0, 1.0, 1.0], 2.0) == pytest.approx((0.0, 4.0))
    low, high = good_range(grid, [math.inf] * 5, 2.0)
    assert low == high
    low, high = good_range(grid, [1.0, 9.0, 0.5, 9.0, 1.0], 2.0)
    assert 1.0 < low < 2.0 < high < 3.0  # what lies beyond a gap does not count


def test_verdicts_follow_the_interval(bench: Bench) -> None:
    table, claims = bench("papers_table"), bench("papers_claims")

    def said(*numbers: float) -> str:
        return table.Row(claims.SHRINK, "here", "arm", table.TOKENS, *numbers).verdict()

    assert said(0.05, 0.01, 0.09, 0.04) == "confirmed"
    assert said(-0.05, -0.09, -0.01, 0.04) == "opposite"
    assert said(0.01, -0.02, 0.04, 0.043) == "not seen (could have seen 4.3%)"
    assert said(0.004, 0.001, 0.007, 0.004) == "not seen (less than 1.0%)"
    assert said() == "not yet run"


def test_a_known_saving_is_found(bench: Bench) -> None:
    """An arm that is none trained a twentieth longer saves a twenty-first of the tokens."""
    table, studies, trainings = bench("papers_table"), bench("papers_studies"), bench("papers_trainings")
    claims = bench("papers_claims")
    study = studies.Savings(
        "known", (claims.SHRINK,), "a line", lambda: None, (trainings.Arm("none"), trainings.Arm("ahead")), 100, 0.1
    )

    def done(problem: object, arm: object, key: object) -> object:
        steps = key.steps * (1.05 if arm.name == "ahead" else 1.0)
        wrong_rate = abs(math.log2(key.rate / 0.2))  # the best is twice the middle of the grid
        chance = 1e-5 * math.sin(7.0 * key.seed + steps)
        return trainings.Ended(1.0, 1.0 - steps / 1000.0 + wrong_rate + chance, 1.0)

    (row,), details = table.savings_rows(study, done)
    assert details["chosen"]["none"]["rate"] == pytest.approx(0.2)
    assert row.low < 1.0 - 1.0 / 1.05 < row.high
    assert row.verdict() == "confirmed"


def test_a_wider_range_and_a_better_best_are_found(bench: Bench) -> None:
    """Losses rise by one for every octave off the best rate; the stabilizer's by half, from a lower one."""
    table, studies, trainings = bench("papers_table"), bench("papers_studies"), bench("papers_trainings")
    claims = bench("papers_claims")
    grid = tuple(2.0**k for k in range(-12, 3))
    study = studies.Range("known", claims.STABLE, "a line", lambda: None, "AdamW", 100, studies.RATE, grid)

    def done(problem: object, arm: object, key: object) -> object:
        steady = arm.name == "stabilizer"
        off = abs(math.log2(key.rate) + 5.0) * (0.5 if steady else 1.0)
        chance = 1e-4 * math.sin(7.0 * key.seed + key.steps)
        return trainings.Ended(11.0, 1.0 - 0.001 * key.steps - 0.005 * steady + off + chance, 1.0)

    (against_none, against_clip, at_best), details = table.range_rows(study, done)
    assert against_none.value == pytest.approx(2.03, abs=0.02)
    assert against_none.verdict() == against_clip.verdict() == at_best.verdict() == "confirmed"
    assert at_best.value == pytest.approx(1.0 - 1.0 / 1.05, abs=0.005)
    assert len(details["octaves"]["none"]) == 5
