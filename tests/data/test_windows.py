"""Token files and text: which windows, in which order, and what is refused."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gnoise.data import LOADERS, LoadedData, load_data, text
from gnoise.data.windows import draw_windows
from gnoise.errors import ExitCode
from tests.models.makers import refused, write_tokenizer


def _write(path: Path, tokens: np.ndarray) -> str:
    tokens.astype("<u2").tofile(path)
    return str(path)


def _draw(data: LoadedData, *, batches: int, batch_size: int = 4, seed: int = 0) -> tuple[np.ndarray, torch.Tensor]:
    drawn = list(islice(data.draw(batch_size=batch_size, seed=seed), batches))
    return np.stack([one.example_ids for one in drawn]), torch.stack([one.batch[0] for one in drawn])


@pytest.fixture
def data(tmp_path: Path) -> LoadedData:
    return load_data(_write(tmp_path / "train.bin", np.arange(103)), block_size=10, vocab_size=103)


def test_what_it_says(data: LoadedData, tmp_path: Path) -> None:
    assert data.description == f"nanoGPT tokens {tmp_path / 'train.bin'}: 103 tokens, 10 windows of 10"
    assert (data.example, data.tokens_per_example, data.examples) == ("sequence", 10, 10)


def test_window_starts_at_its_number_times_block_size(data: LoadedData) -> None:
    drawn = next(data.draw(batch_size=10, seed=3))
    inputs, targets = drawn.batch
    assert inputs.dtype == targets.dtype == torch.int64
    assert drawn.example_ids.dtype == np.int64
    for number, window, target in zip(drawn.example_ids.tolist(), inputs, targets, strict=True):
        assert window.tolist() == list(range(10 * number, 10 * number + 10))
        assert target.tolist() == list(range(10 * number + 1, 10 * number + 11))


def test_same_seed_same_stream(data: LoadedData) -> None:
    ids, inputs = _draw(data, batches=6)
    again, same_inputs = _draw(data, batches=6)
    np.testing.assert_array_equal(ids, again)
    assert torch.equal(inputs, same_inputs)
    assert (ids != _draw(data, batches=6, seed=1)[0]).any()


@given(
    windows=st.integers(1, 30),
    batch_size=st.integers(1, 40),
    block_size=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_every_window_once_a_round(windows: int, batch_size: int, block_size: int, seed: int) -> None:
    tokens = np.arange(windows * block_size + 1)
    stream = draw_windows(tokens, block_size=block_size, batch_size=batch_size, seed=seed)
    ids = np.concatenate([drawn.example_ids for drawn in islice(stream, 3 + 2 * windows // batch_size)])
    for start in range(0, len(ids) - windows + 1, windows):
        assert sorted(ids[start : start + windows].tolist()) == list(range(windows))


def test_exactly_one_window(tmp_path: Path) -> None:
    data = load_data(_write(tmp_path / "t.bin", np.arange(11)), block_size=10)
    assert _draw(data, batches=2, batch_size=1)[0].tolist() == [[0], [0]]


def test_relative_to_the_current_folder_then_the_checkpoints(tmp_path: Path, monkeypatch) -> None:
    for name, count in (("here", 21), ("checkpoint", 31)):
        (tmp_path / name).mkdir()
        _write(tmp_path / name / "train.bin", np.arange(count))
    _write(tmp_path / "checkpoint" / "val.bin", np.arange(41))
    monkeypatch.chdir(tmp_path / "here")
    found = [
        load_data(name, folder=tmp_path / "checkpoint", block_size=10).examples for name in ("train.bin", "val.bin")
    ]
    assert found == [2, 4]


def test_odd_byte_count(tmp_path: Path) -> None:
    (tmp_path / "t.bin").write_bytes(b"\0" * 101)
    with refused(ExitCode.UNREADABLE, "even", "101", "t.bin"):
        load_data(str(tmp_path / "t.bin"), block_size=4)


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "t.bin").write_bytes(b"")
    with refused(ExitCode.UNREADABLE, "empty"):
        load_data(str(tmp_path / "t.bin"), block_size=4)


def test_shorter_than_one_window(tmp_path: Path) -> None:
    with refused(ExitCode.UNREADABLE, "at least 11 tokens", "got 10"):
        load_data(_write(tmp_path / "t.bin", np.arange(10)), block_size=10)


def test_tokens_past_the_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.zeros(1000, dtype=np.int64)
    tokens[[700, 950]] = 65, 66
    ref = _write(tmp_path / "t.bin", tokens)
    for chunk in (1 << 24, 64):
        monkeypatch.setattr("gnoise.data.windows._CHUNK", chunk)
        with refused(ExitCode.UNREADABLE, "vocabulary of 65", "token 65 at position 700", "2 of 1,000"):
            load_data(ref, block_size=10, vocab_size=65)
        assert load_data(ref, block_size=10, vocab_size=67).examples == 99


def test_no_block_size(tmp_path: Path) -> None:
    with refused(ExitCode.USAGE, "block size", "module:function"):
        load_data(_write(tmp_path / "t.bin", np.arange(10)))


def test_no_examples_asked_for(data: LoadedData) -> None:
    with refused(ExitCode.USAGE, "at least 1"):
        next(data.draw(batch_size=0, seed=0))


def test_missing_path_names_the_nearest(tmp_path: Path) -> None:
    near = _write(tmp_path / "train.bin", np.arange(10))
    with refused(ExitCode.UNREADABLE, "nothing", f"--data {near}", *(loader.LOOKS_FOR for loader in LOADERS)):
        load_data(str(tmp_path / "trian.bin"), block_size=4)
    with refused(ExitCode.UNREADABLE, "nothing", f"--data {near}"):
        load_data("nowhere.bin", folder=tmp_path, block_size=4)
    with refused(ExitCode.UNREADABLE, "--data loader:batches"):
        load_data("loader.py:batches", block_size=4)


def test_folders_and_other_files(tmp_path: Path) -> None:
    near = _write(tmp_path / "train.bin", np.arange(10))
    with refused(ExitCode.UNREADABLE, "the folder", f"--data {near}"):
        load_data(str(tmp_path), block_size=4)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with refused(ExitCode.UNREADABLE, "4 bytes", ".parquet"):
        load_data(str(tmp_path / "rows.parquet"), block_size=4)


@pytest.mark.parametrize("place", ["given", "beside", "above"])
def test_text_through_the_tokenizer(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    where = {
        "given": tmp_path / "elsewhere.json",
        "beside": folder / "tokenizer.json",
        "above": tmp_path / "tokenizer.json",
    }
    tokenizer = write_tokenizer(where[place])
    (folder / "train.txt").write_text("abc def")
    data = load_data(
        "train.txt",
        folder=folder,
        block_size=6,
        vocab_size=16,
        tokenizer=tokenizer if place == "given" else None,
    )
    assert data.description == f"text {folder / 'train.txt'}: 7 tokens, 1 windows of 6"
    inputs, targets = next(data.draw(batch_size=1, seed=0)).batch
    assert inputs.tolist() == [[0, 1, 2, 13, 3, 4]]
    assert targets.tolist() == [[1, 2, 13, 3, 4, 5]]


def test_text_needs_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    for folder in (None, tmp_path):
        with refused(ExitCode.UNREADABLE, "tokenizer.json"):
            load_data(str(tmp_path / "a.txt"), folder=folder, block_size=2)
    (tmp_path / "tokenizer.json").write_text("{}")
    with refused(ExitCode.UNREADABLE, "tokenizer.json", "copying"):
        load_data("a.txt", folder=tmp_path, block_size=2)


def test_text_needs_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "a.txt").write_text("abc")
    monkeypatch.setattr(text, "find_spec", lambda name: None)
    with refused(ExitCode.USAGE, "tokenizers package", "pip install 'gnoise[hf]'"):
        load_data("a.txt", folder=tmp_path, block_size=2)


@pytest.mark.parametrize(("content", "fragment"), [(b"", "0 bytes"), (b"\n \n", "nothing"), (b"ab\xff", "position 2")])
def test_text_that_is_none(tmp_path: Path, content: bytes, fragment: str) -> None:
    write_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "a.txt").write_bytes(content)
    with refused(ExitCode.UNREADABLE, fragment):
        load_data("a.txt", folder=tmp_path, block_size=2)


def test_text_past_the_vocabulary_and_too_short(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "a.txt").write_text("a b c")
    with refused(ExitCode.UNREADABLE, "vocabulary of 5", "token 13"):
        load_data("a.txt", folder=tmp_path, block_size=2, vocab_size=5)
    with refused(ExitCode.UNREADABLE, "got 5"):
        load_data("a.txt", folder=tmp_path, block_size=8)
