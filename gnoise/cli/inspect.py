"""``gnoise inspect``: what a checkpoint is, without running any code from it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gnoise.models import SourceReport

_ROWS = 12


def inspect(
    source: Annotated[Path, typer.Argument(help="Checkpoint file or folder.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout, every tensor.")] = False,
) -> None:
    """Read what a checkpoint is without running any code from it.

    Example:  gnoise inspect sample_checkpoints/llama-docs
    """
    from gnoise.models import inspect_source

    report = inspect_source(source)
    if json:
        _print_json(report)
    else:
        _print(report)


def _print_json(report: "SourceReport") -> None:
    from gnoise.export import to_json

    print(
        to_json(
            {
                "format": "gnoise.inspect",
                "version": 1,
                "recognised": report.format,
                "path": str(report.path),
                "files": [str(path) for path in report.files],
                "size_bytes": report.size_bytes,
                "parameter_count": report.parameter_count,
                "parameters": [
                    {
                        "name": p.name,
                        "shape": list(p.shape),
                        "dtype": p.dtype,
                        "count": p.count,
                        "tied_to": p.tied_to,
                    }
                    for p in report.parameters
                ],
                "optimizer": dict(report.optimizer),
                "details": dict(report.details),
                "needs": report.needs,
            }
        )
    )


def _print(report: "SourceReport") -> None:
    from rich.table import Table
    from rich.text import Text

    from gnoise.cli.output import result_console

    console = result_console()
    console.print(Text(f"{report.format}: {report.path}", style="bold"), soft_wrap=True)
    console.print(
        f"{report.parameter_count:,} parameters in {len(report.parameters)} tensors, "
        f"{report.size_bytes / 1e6:.1f} MB in {len(report.files)} file(s)"
    )
    for title, facts in (("Optimizer", report.optimizer), ("Model", report.details)):
        if facts:
            console.print(Text(f"{title}: " + ", ".join(f"{key} {value}" for key, value in facts.items())))
    if report.needs:
        console.print(Text(f"To profile it: {report.needs}"))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("tensor", "shape", "dtype", ""):
        table.add_column(title, overflow="fold")
    for p in report.parameters[:_ROWS]:
        table.add_row(
            Text(p.name), " × ".join(map(str, p.shape)), p.dtype, Text(f"tied to {p.tied_to}" if p.tied_to else "")
        )
    console.print(table)
    if len(report.parameters) > _ROWS:
        console.print(f"… and {len(report.parameters) - _ROWS} more; gnoise inspect --json lists all", style="dim")
