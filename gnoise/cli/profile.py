"""``gnoise profile``: the main job."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnoise.errors import ExitCode, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from gnoise.cli.settings import Settings
    from gnoise.collect import Parameter, Workload

_SEVERITIES = ("none", "info", "warning", "critical")
_WHAT = "What to profile"
_HOW = "How"
_OUT = "Output"


def profile(
    source: Annotated[Path, typer.Argument(help="Checkpoint file or folder.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option(help="Token .bin, text file or module:function.", rich_help_panel=_WHAT, show_default=False),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(
            help="module:function that builds the module of a state dict.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="module:function (module, batch) to mean loss.", rich_help_panel=_WHAT, show_default=False),
    ] = None,
    include: Annotated[
        str | None,
        typer.Option(
            help="Only parameters whose name matches this expression.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(help="Not the parameters whose name matches.", rich_help_panel=_WHAT, show_default=False),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(help="Gradients to draw, a multiple of 16.", rich_help_panel=_HOW, show_default="64"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples per draw.", rich_help_panel=_HOW, show_default="8")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of data order and sampling.", rich_help_panel=_HOW, show_default="0")
    ] = None,
    path: Annotated[
        int | None,
        typer.Option(
            help="Real steps to take between draws and undo, so that evidence sees moving weights.",
            rich_help_panel=_HOW,
            show_default="0",
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="Judge remedies as under adamw, sgd, sign or muon.",
            rich_help_panel=_HOW,
            show_default="the checkpoint's own",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …", rich_help_panel=_HOW, show_default="auto")] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="train (with dropout) or eval.", rich_help_panel=_HOW, show_default="train"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings file.", rich_help_panel=_HOW, show_default="gnoise.toml beside the checkpoint"),
    ] = None,
    show_config: Annotated[bool, typer.Option(help="Print the settings and stop.", rich_help_panel=_HOW)] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Print layers, time, memory and disk, and stop.", rich_help_panel=_HOW)
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Run file to write.",
            rich_help_panel=_OUT,
            show_default="SOURCE's name.gnoise",
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace the run file if it exists.", rich_help_panel=_OUT)] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout.", rich_help_panel=_OUT)] = False,
    fail_on: Annotated[
        str,
        typer.Option(help="Exit with 1 from this severity on: info, warning, critical.", rich_help_panel=_OUT),
    ] = "none",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.", rich_help_panel=_OUT)] = False,
) -> None:
    """Draw gradients of a checkpoint, fit their noise, and say what to do about it.

    Example:  gnoise profile sample_checkpoints/gpt-docs -o gpt-docs.gnoise
    """
    from gnoise.cli.output import talk_console
    from gnoise.cli.settings import resolve

    if fail_on not in _SEVERITIES:
        raise UserError(
            f"expected --fail-on to be one of {', '.join(_SEVERITIES)}, got {fail_on!r}; try --fail-on warning"
        )
    if not source.exists():
        raise UserError(
            f"expected a checkpoint, but {source} is not there; try gnoise profile PATH",
            exit_code=ExitCode.UNREADABLE,
        )
    flags: dict[str, object] = {
        "data": data,
        "factory": factory,
        "loss": loss,
        "include": include,
        "exclude": exclude,
        "draws": draws,
        "batch_size": batch_size,
        "seed": seed,
        "path": path,
        "optimizer": optimizer,
        "device": device,
        "mode": mode,
    }
    settings, origins = resolve(source, flags, config=config)
    if show_config:
        for name, origin in origins.items():
            typer.echo(f"{name} = {getattr(settings, name)!r}   # {origin}")
        return
    file = output or Path(f"{source.resolve().name.removesuffix('.pt')}.gnoise")
    talk = talk_console(quiet=quiet)
    if dry_run:
        _dry_run(source, settings, talk)
        return
    typed = {name: value for name, value in flags.items() if value is not None}
    interrupted = _collect(source, settings, file, typed=typed, force=force, talk=talk)
    _report(file, json=json)
    talk.print(f"Wrote {file}", soft_wrap=True, markup=False)
    if interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    _exit_on_findings(file, fail_on)


def _collect(
    source: Path, settings: "Settings", path: Path, *, typed: dict[str, object], force: bool, talk: "Console"
) -> bool:
    """Collect and analyse; return whether an interrupt cut it short."""
    from gnoise.cli.output import draws_progress
    from gnoise.collect import collect_run, run_info
    from gnoise.records import RunState
    from gnoise.runfile import check_output
    from gnoise.runfile.analyze import analyze

    check_output(path, force=force)
    workload, parameters = _load(source, settings, talk)
    info = run_info(
        workload,
        parameters,
        source=str(source),
        draws=settings.draws,
        examples_per_draw=settings.batch_size,
        seed=settings.seed,
        command=shlex.join(
            ["gnoise", "profile", str(source), *(f"--{k.replace('_', '-')}={v}" for k, v in typed.items())]
        ),
        path_steps=settings.path,
        optimizer=settings.optimizer,
    )
    if info.examples is not None and info.draws * info.examples_per_draw > info.examples:
        talk.print(
            f"Note   only {info.examples} examples for {info.draws * info.examples_per_draw} to draw: some repeat"
        )
    along = f", along {info.path_steps} steps that are undone afterwards" if info.path_steps else ""
    talk.print(f"Drawing {info.draws} gradients of {info.examples_per_draw} examples each on {info.device}{along}")
    with draws_progress(talk, info.draws) as on_draw:
        state = collect_run(workload, parameters, path, info=info, force=force, on_draw=on_draw)
    if state is not RunState.COMPLETE:
        talk.print("Interrupted: analysing what was drawn until then")
    analyze(path)
    return state is not RunState.COMPLETE


def _load(source: Path, settings: "Settings", talk: "Console") -> "tuple[Workload, list[Parameter]]":
    from gnoise.collect import place, trainable_parameters
    from gnoise.collect.load import load_workload
    from gnoise.stats.evidence import default_notice

    workload = load_workload(source, data=settings.data, factory=settings.factory, loss=settings.loss)
    talk.print(f"Model  {workload.model}", markup=False)
    talk.print(f"Data   {workload.data}", markup=False)
    for note in filter(None, (*workload.notes, default_notice(workload.optimizer, settings.optimizer or ""))):
        talk.print(f"Note   {note}", markup=False)
    frozen = place(workload, settings.device, train=settings.mode == "train")
    if frozen:
        talk.print(f"Note   {len(frozen)} batch-normalisation modules use their stored statistics, as in eval mode")
    return workload, trainable_parameters(workload.module, include=settings.include, exclude=settings.exclude)


def _dry_run(source: Path, settings: "Settings", talk: "Console") -> None:
    from gnoise.collect import expected_bytes, seconds_per_example
    from gnoise.collect.collector import check_draws
    from gnoise.stats.evidence import spectral_optimizer

    check_draws(settings.draws)
    workload, parameters = _load(source, settings, talk)
    seconds = seconds_per_example(workload, parameters, seed=settings.seed)
    memory, disk = expected_bytes(
        parameters,
        draws=settings.draws,
        examples_per_draw=settings.batch_size,
        spectral=spectral_optimizer(workload.optimizer, settings.optimizer or "") is not None,
    )
    for p in parameters:
        typer.echo(f"{p.layer.kind!s:10} {' × '.join(map(str, p.layer.shape)):>14}  {p.layer.name}")
    total = settings.draws * settings.batch_size
    typer.echo(
        f"{len(parameters)} layers, {sum(p.layer.numel for p in parameters):,} parameters; {total} examples at "
        f"{seconds * 1e3:.0f} ms each: about {1.3 * seconds * total:.0f} s; "
        f"{memory / 1e6:.0f} MB beside the model; {disk / 1e6:.0f} MB on disk"
    )


def _report(path: Path, *, json: bool) -> None:
    from gnoise.cli.show import show

    show(path, None, json)


def _exit_on_findings(path: Path, fail_on: str) -> None:
    from gnoise.records import Remedy, Severity
    from gnoise.runfile import open_run

    if fail_on == "none":
        return
    with open_run(path) as run:
        findings = [r for r in run.recommendations if r.remedy is not Remedy.NONE or r.severity is not Severity.INFO]
    worst = max((_SEVERITIES.index(r.severity) for r in findings), default=0)
    if worst >= _SEVERITIES.index(Severity(fail_on)):
        raise typer.Exit(ExitCode.FINDINGS)
