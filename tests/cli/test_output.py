"""What a terminal shows: the verdict on one screen, whatever its width, and a command for what was folded away."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from gnoise.charts.summary import Summary
from gnoise.cli.output import print_layers, print_summary
from tests.charts.records import ESTIMATES, LAYERS, RECOMMENDATIONS
from tests.cli.conftest import Run

MORE = "gnoise show r.gnoise --all"
REASONS = 12
SAID = Summary(
    headline="No remedy indicated: averaging narrows the noise about as it does Gaussian noise, everywhere.",
    why=tuple(f"reason {n}, of which there is so much to say that a narrow terminal breaks it" for n in range(REASONS)),
    next=(
        "a batch still buys progress per step",
        "gnoise show r.gnoise LAYER",
        "gnoise app r.gnoise",
    ),
)


def printed(said: Summary, *, width: int, more: str = MORE) -> list[str]:
    """Print a summary and return its lines."""
    file = io.StringIO()
    print_summary(Console(file=file, width=width, highlight=False), said, more=more)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_screen_has_the_first_reasons_and_where_the_rest_is(width: int) -> None:
    lines = printed(SAID, width=width)
    text = "\n".join(lines)
    assert len(lines) < 20
    for line in ("reason 0,", SAID.next[1], SAID.next[2]):
        assert line in text
    shown = sum(f"reason {n}," in text for n in range(REASONS))
    assert (f"… {REASONS - shown} more: {MORE}" in text) == (shown < REASONS)
    assert (shown == REASONS) == (width >= 100)


def test_nothing_is_folded_where_no_command_shows_the_rest() -> None:
    assert sum("reason" in line for line in printed(SAID, width=60, more="")) == REASONS


def test_a_narrow_table_has_fewer_columns() -> None:
    for width, left_out in ((80, True), (120, False)):
        file = io.StringIO()
        print_layers(Console(file=file, width=width, highlight=False), LAYERS, ESTIMATES, RECOMMENDATIONS)
        title, *rows = [line for line in file.getvalue().splitlines() if line.strip()]
        assert ("α entries" not in title) == ("spikes" not in title) == left_out
        for word in ("noise scale", "α draws", "remedy"):
            assert word in title
        assert max(map(len, rows)) <= width


def test_all_of_a_run_and_a_screen_of_it(gnoise: Run, a_run: Path) -> None:
    screen, every = gnoise("show", a_run).out, gnoise("show", a_run, "--all").out
    assert "learning rate, Adam" not in screen
    assert "learning rate, Adam" in every
    assert "more layers" in screen
    assert "more layers" not in every
    assert "transformer.h.0.ln_1.weight" in every
