"""Draw the terminal picture of the README from a real run.

Run from the repository's root after ``make demo``:

    .venv/bin/python docs/pictures.py runs/demo.gnoise docs/pictures/verdict.svg
"""

import io
import sys
from pathlib import Path

from rich.console import Console

from gnoise.charts.summary import summary
from gnoise.cli.output import print_layers, print_summary
from gnoise.runfile import open_run

WIDTH = 112


def main() -> None:
    """Print a run's verdict and layer table into an SVG."""
    source, target = sys.argv[1], Path(sys.argv[2])
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    with open_run(source) as run:
        estimates, recommendations = run.estimates, run.recommendations
        said = summary(run.info, estimates, run.verdicts, recommendations, run.evidence, run=Path(source).name)
        print_summary(console, said)
        print_layers(console, run.layers, estimates, recommendations)
        title = f"gnoise profile {Path(run.info.source).name}"
    console.save_svg(str(target), title=title)


if __name__ == "__main__":
    main()
