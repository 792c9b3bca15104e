import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnoise.errors import ExitCode, UserError
from gnoise.export import BatchSchedule, batch_schedule, load_schedule, schedule_document
from gnoise.remedies import NoiseScaleBatchSchedule

positive = st.floats(1.0, 1e9)
measurements = st.lists(st.tuples(positive, positive), min_size=1, max_size=6, unique_by=lambda pair: pair[0])


def test_passes_through_the_measurements_and_is_straight_between_them() -> None:
    schedule = batch_schedule([4000.0, 1000.0], [80.0, 20.0], lowest=8, highest=100)
    assert [schedule.examples_at(t) for t in (0, 500, 1000, 2500, 4000, 9000)] == [8.0, 14.0, 20.0, 50.0, 80.0, 80.0]


@given(measured=measurements, low=st.floats(1.0, 64.0), times=st.floats(1.0, 100.0))
def test_is_bounded_and_never_falls(measured: list[tuple[float, float]], low: float, times: float) -> None:
    tokens, scales = zip(*measured, strict=True)
    schedule = batch_schedule(tokens, scales, lowest=low, highest=low * times)
    sizes = [schedule.examples_at(t) for t in np.linspace(0.0, 2.0 * max(tokens), 101)]
    assert min(sizes) >= low * (1.0 - 1e-12)
    assert max(sizes) <= low * times * (1.0 + 1e-12)
    assert np.all(np.diff(sizes) >= -1e-9 * max(sizes))


def test_counts_tokens_and_rounds_to_micro_batches() -> None:
    keeper = NoiseScaleBatchSchedule(BatchSchedule((0.0, 640.0), (8.0, 24.0), 10), micro_batch=4, world_size=2)
    seen = []
    for _ in range(8):
        seen.append((keeper.tokens, keeper.accumulation_steps, keeper.examples))
        keeper.step()
    assert seen[0] == (0, 1, 8)
    assert seen[3] == (320, 2, 16)  # half of the way, two micro-batches of each of two processes
    assert seen[-1][1:] == (3, 24)
    keeper.step(tokens=1)
    assert keeper.tokens == seen[-1][0] + 240 + 1


@given(
    measured=measurements,
    low=st.integers(1, 64),
    times=st.floats(1.0, 100.0),
    micro_batch=st.integers(1, 40),
    world_size=st.integers(1, 3),
)
def test_whole_micro_batches_stay_within_the_bounds_or_are_refused(
    measured: list[tuple[float, float]], low: int, times: float, micro_batch: int, world_size: int
) -> None:
    tokens, scales = zip(*measured, strict=True)
    schedule = batch_schedule(tokens, scales, lowest=low, highest=low * times)
    together = micro_batch * world_size
    if not any(schedule.examples[0] <= n * together <= schedule.examples[-1] for n in range(1, 6401)):
        with pytest.raises(UserError, match=rf"multiple of {together} examples.*try"):
            NoiseScaleBatchSchedule(schedule, micro_batch=micro_batch, world_size=world_size)
        return
    keeper = NoiseScaleBatchSchedule(schedule, micro_batch=micro_batch, world_size=world_size)
    sizes: list[int] = []
    for trained in np.linspace(0.0, 2.0 * max(tokens), 51):
        keeper.load_state_dict({"tokens": int(trained)})
        sizes.append(keeper.examples)
    assert schedule.examples[0] <= min(sizes) <= max(sizes) <= schedule.examples[-1]
    assert sizes == sorted(sizes)
    assert all(size % together == 0 for size in sizes)


def test_a_micro_batch_that_fits_is_named() -> None:
    with pytest.raises(UserError, match=r"try micro_batch=7$"):
        NoiseScaleBatchSchedule(BatchSchedule((0.0, 9.0), (10.0, 15.0)), micro_batch=8)
    with pytest.raises(UserError, match="try a schedule with wider bounds"):
        NoiseScaleBatchSchedule(BatchSchedule((0.0,), (10.5,)), micro_batch=8)


def test_noise_scales_measured_before_training_and_twice_at_one_moment() -> None:
    start = batch_schedule([0.0, 1000.0], [20.0, 40.0], lowest=8, highest=100)
    assert (start.tokens, start.examples) == ((0.0, 1000.0), (20.0, 40.0))
    twice = batch_schedule([1000.0, 1000.0, 3000.0], [20.0, 40.0, 90.0], lowest=8, highest=100)
    assert (twice.tokens, twice.examples) == ((0.0, 1000.0, 3000.0), (8.0, 30.0, 90.0))


def test_goes_on_from_a_checkpoint() -> None:
    schedule = BatchSchedule((0.0, 100.0), (1.0, 11.0))
    first, second = (NoiseScaleBatchSchedule(schedule, micro_batch=1) for _ in range(2))
    first.step(50)
    second.load_state_dict(first.state_dict())
    assert second.accumulation_steps == first.accumulation_steps == 6


def test_json_comes_back(tmp_path: Path) -> None:
    keeper = NoiseScaleBatchSchedule(batch_schedule([5e5], [33.3], lowest=8, highest=64), micro_batch=2)
    keeper.save(tmp_path / "schedule.json")
    assert NoiseScaleBatchSchedule.load(tmp_path / "schedule.json", micro_batch=2).schedule == keeper.schedule
    assert "B_simple" in json.loads((tmp_path / "schedule.json").read_text())["caveat"]


@pytest.mark.parametrize(
    ("tokens", "scales", "lowest", "highest"),
    [
        ([], [], 1, 2),
        ([1.0], [1.0, 2.0], 1, 2),
        ([-1.0], [1.0], 1, 2),
        ([1.0], [0.0], 1, 2),
        ([1.0], [-1.0], 1, 2),
        ([1.0], [1.0], 4, 2),
        ([1.0], [float("nan")], 1, 2),
        ([float("inf")], [1.0], 1, 2),
    ],
)
def test_refuses_what_makes_no_schedule(tokens: list[float], scales: list[float], lowest: int, highest: int) -> None:
    with pytest.raises(UserError, match="expected"):
        batch_schedule(tokens, scales, lowest=lowest, highest=highest)


@pytest.mark.parametrize(("tokens", "examples"), [((0.0, 0.0), (1.0, 2.0)), ((0.0, 1.0), (2.0, 1.0)), ((0.0,), (0.5,))])
def test_refuses_knots_out_of_order(tokens: tuple[float, ...], examples: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="expected"):
        BatchSchedule(tokens, examples)


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"format": "other"}, {"knots": 3}, {"knots": [{"tokens": 0}]}, {"tokens_per_example": ""}],
)
def test_refuses_documents_it_does_not_know(change: dict) -> None:
    document = schedule_document(BatchSchedule((0.0,), (8.0,))) | change
    with pytest.raises(UserError) as caught:
        load_schedule(document)
    assert caught.value.exit_code is ExitCode.UNREADABLE


@pytest.mark.parametrize("text", ["[]", "{", None])
def test_refuses_files_it_cannot_read(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "schedule.json").write_text(text)
    with pytest.raises(UserError) as caught:
        load_schedule(tmp_path / "schedule.json")
    assert caught.value.exit_code is ExitCode.UNREADABLE


def test_refuses_no_micro_batch() -> None:
    with pytest.raises(UserError, match="micro_batch"):
        NoiseScaleBatchSchedule(BatchSchedule((0.0,), (8.0,)), micro_batch=0)


def test_tokens_never_fall() -> None:
    keeper = NoiseScaleBatchSchedule(BatchSchedule((0.0, 640.0), (8.0, 24.0), 10), micro_batch=8)
    with pytest.raises(UserError, match="expected a number of tokens that were seen, got -1000"):
        keeper.step(-1000)
    with pytest.raises(UserError, match="expected a number of tokens that were seen, got -1"):
        keeper.load_state_dict({"tokens": -1})
    assert keeper.tokens == 0


@pytest.mark.parametrize("width", [float("inf"), 1.7])
def test_an_example_is_a_whole_number_of_tokens(width: float) -> None:
    document = {**schedule_document(BatchSchedule((0.0, 640.0), (8.0, 24.0), 10)), "tokens_per_example": width}
    with pytest.raises(UserError, match="expected knots of tokens and examples"):
        load_schedule(document)
