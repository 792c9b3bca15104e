"""Whether the norm layers' noise scale tells the whole model's, over the three shipped moments of gpt-docs' training.

Each moment is profiled as `gnoise profile` does it, with the settings that lie beside the checkpoint; the line is the
one the Noise scale page draws. Three points leave one degree of freedom: r is near 1 for almost any three that rise
together.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from report import Cell, publish

from gnoise import profile
from gnoise.charts.moments import Moment, evolution, moment, norm_layer_fit
from gnoise.cli.settings import resolve
from gnoise.records import Estimate
from gnoise.stats.norm_layer_fit import NormLayerFit

SAMPLE = Path("sample_checkpoints/gpt-docs")
MOMENTS = (SAMPLE / "early", SAMPLE / "middle", SAMPLE)
COLUMNS = (
    "moment", "tokens trained", "noise scale", "its low", "its high", "norm layers", "their low", "their high",
    "predicted",
)  # fmt: skip


def main() -> None:
    """Profile the moments and write the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        moments = [_profiled(path, Path(folder), options.draws) for path in MOMENTS]
    fit = norm_layer_fit(moments)
    publish(
        "norm_layer_fit",
        notes=[
            "noise scales in sequences with their 95% intervals; predicted: by the line through all of them.",
            evolution(moments).finding,
        ],
        settings={"draws": options.draws or "as shipped", "threads": options.threads},
        columns=COLUMNS,
        rows=[_row(each, fit) for each in moments],
        details={} if fit is None else {"fit": vars(fit)},
        save=options.draws is None,
    )


def _profiled(path: Path, folder: Path, draws: int | None) -> Moment:
    settings, _ = resolve(SAMPLE, {"draws": draws})
    with profile(
        path,
        folder / f"{path.name}.gnoise",
        data=settings.data,
        draws=settings.draws,
        batch_size=settings.batch_size,
        seed=settings.seed,
        device="cpu",
    ) as run:
        found = moment(path.name, run.info, run.estimates)
    if found is None:
        raise RuntimeError(f"{path} has no noise scale or does not tell how long it was trained")
    return found


def _row(each: Moment, fit: NormLayerFit | None) -> list[Cell]:
    norm = None if each.norm is None else each.norm.value
    predicted = None if fit is None or norm is None else fit.intercept + fit.slope * norm
    return [each.label, each.trained, *_cells(each.total), *_cells(each.norm), predicted]


def _cells(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, help="gradients to draw (as shipped); with this, nothing is written")
    parser.add_argument("--threads", type=int, default=1, help="of torch (1)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
