"""The caller's own loaders."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnoise.data import Drawn, LoadedData, load_data
from gnoise.errors import ExitCode
from tests.models.makers import refused

SOURCE = """
import torch
from torch.utils.data import DataLoader, TensorDataset

CALLS = []

def endless(batch_size, seed):
    CALLS.append((batch_size, seed))
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.rand(batch_size, 1, 4, 4, generator=generator), torch.zeros(batch_size, dtype=torch.int64)

def ragged(seed):
    number = 1000 * seed
    for size in (3, 1, 5):
        yield {"x": torch.arange(number, number + size).float()[:, None], "y": torch.ones(size)}
        number += size

def listed(): return [torch.arange(8.0).reshape(4, 2)]

def torch_loader(batch_size):
    return DataLoader(TensorDataset(torch.arange(10.0)[:, None], torch.arange(10)), batch_size=batch_size)

def tokens(**options): return [torch.arange(18).reshape(2, 9)]
def pairs(batch_size=2, *, seed=0):
    yield torch.arange(8).reshape(1, 8), torch.arange(8).reshape(1, 8) + 1
def empty(batch_size): return []
def empty_second_time(seed): return [torch.zeros(2)] if seed == 0 else []
def one_tensor(): return torch.zeros(3)
def number(): return 3
def numpy_rows(): yield [[1, 2], [3, 4]]
def scalars(): yield torch.tensor(1.0)
def uneven(): yield torch.zeros(3, 2), torch.zeros(4)
def no_rows(): yield torch.zeros(0, 2)
def padded():
    yield torch.zeros(2, 5)
    yield torch.zeros(2, 6)
def mixed():
    yield torch.zeros(2, 5)
    yield (torch.zeros(2, 5), torch.zeros(2))
def failing(batch_size):
    yield torch.zeros(batch_size, 2)
    raise OSError("the disk is gone")
def needs_path(path, batch_size): ...
def only_by_position(batch_size, /): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path


def _part(drawn: Drawn, key: int | str) -> torch.Tensor:
    batch: Any = drawn.batch
    return batch[key]


def _load(folder: Path, name: str, **options: int) -> LoadedData:
    return load_data(f"mine:{name}", folder=folder, **options)


def test_function_gets_batch_size_and_seed(folder: Path) -> None:
    data = _load(folder, "endless")
    assert (data.example, data.tokens_per_example, data.examples) == ("image", None, None)
    assert data.description == "mine:endless: tuple of float32 (1, 1, 4, 4), int64 (1,) at a time"
    first, second = islice(data.draw(batch_size=6, seed=5), 2)
    assert [len(part) for part in first.batch] == [6, 6]
    assert first.example_ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert second.example_ids.tolist() == [6, 7, 8, 9, 10, 11]
    wanted = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first.batch[0], wanted)


def test_same_seed_same_stream(folder: Path) -> None:
    data = _load(folder, "endless")
    one, two, other = (next(data.draw(batch_size=4, seed=seed)).batch[0] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 7, 20])
def test_yields_are_cut_and_joined(folder: Path, batch_size: int) -> None:
    # Nine rows a call, in yields of 3, 1 and 5; it ends, and is called again with the next seed.
    stream = _load(folder, "ragged").draw(batch_size=batch_size, seed=0)
    drawn = list(islice(stream, 3))
    values = torch.cat([_part(one, "x") for one in drawn]).flatten().tolist()
    everything = [1000 * seed + row for seed in range(10) for row in range(9)]
    assert values == everything[: 3 * batch_size]
    assert all(len(_part(one, "x")) == len(_part(one, "y")) == batch_size for one in drawn)
    np.testing.assert_array_equal(np.concatenate([one.example_ids for one in drawn]), np.arange(3 * batch_size))


def test_lists_and_torch_loaders(folder: Path) -> None:
    data = _load(folder, "listed")
    assert data.example == "row"
    rows = next(data.draw(batch_size=6, seed=0)).batch
    assert isinstance(rows, torch.Tensor)
    assert rows[:, 0].tolist() == [0, 2, 4, 6, 0, 2]
    data = _load(folder, "torch_loader")
    batches = [_part(one, 1).tolist() for one in islice(data.draw(batch_size=4, seed=0), 3)]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]


def test_sequences_are_told_by_the_model(folder: Path) -> None:
    assert _load(folder, "tokens").example == "row"
    data = _load(folder, "tokens", vocab_size=18)
    assert (data.example, data.tokens_per_example) == ("sequence", 8)
    data = _load(folder, "pairs", block_size=8)
    assert (data.example, data.tokens_per_example) == ("sequence", 8)


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("empty", "none"),
        ("one_tensor", "float32 (3,)"),
        ("number", "int"),
        ("numpy_rows", "list"),
        ("scalars", "float32 ()"),
        ("uneven", "float32 (3, 2), float32 (4,)"),
        ("no_rows", "float32 (0, 2)"),
    ],
)
def test_functions_that_yield_no_batches(folder: Path, name: str, fragment: str) -> None:
    with refused(ExitCode.UNREADABLE, f"mine:{name}", fragment):
        _load(folder, name)


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("padded", "(2, 6)"),
        ("mixed", "tuple of"),
        ("failing", "the disk is gone"),
        ("empty_second_time", "none"),
    ],
)
def test_functions_that_go_wrong_later(folder: Path, name: str, fragment: str) -> None:
    stream = _load(folder, name).draw(batch_size=3, seed=0)
    with refused(ExitCode.UNREADABLE, f"mine:{name}", fragment):
        list(islice(stream, 5))


def test_batches_of_the_right_size_may_differ_in_length(folder: Path) -> None:
    lengths = [one.batch.shape[1] for one in islice(_load(folder, "padded").draw(batch_size=2, seed=0), 3)]
    assert lengths == [5, 6, 5]


@pytest.mark.parametrize(("name", "fragment"), [("needs_path", "path"), ("only_by_position", "batch_size")])
def test_signatures_that_cannot_be_called(folder: Path, name: str, fragment: str) -> None:
    with refused(ExitCode.USAGE, fragment, "default"):
        _load(folder, name)


def test_wrong_references(folder: Path) -> None:
    with refused(ExitCode.USAGE, "--data mine:endless"):
        _load(folder, "endles")
    with refused(ExitCode.USAGE, "module not_there"):
        load_data("not_there:batches", folder=folder)
    with refused(ExitCode.USAGE, "at least 1"):
        next(_load(folder, "endless").draw(batch_size=0, seed=0))
