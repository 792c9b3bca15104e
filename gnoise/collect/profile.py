"""The main job: a workload in, a run file out."""

import importlib.metadata
import platform
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gnoise.collect.collector import BLOCKS, COORDINATES, Collector, check_draws
from gnoise.collect.draws import DrawEngine, prepare
from gnoise.collect.layers import Parameter, trainable_parameters
from gnoise.collect.scale import MAX_COORDINATES
from gnoise.collect.workload import Workload, move
from gnoise.errors import ExitCode, UserError
from gnoise.records import RunInfo, RunState
from gnoise.runfile import RunWriter
from gnoise.stats.evidence import OPTIMIZERS, Spectral, fewest_draws, spectral_optimizer

if TYPE_CHECKING:
    from gnoise.runfile import Run

_PACKAGES = ("gnoise", "torch", "triton", "numpy", "scipy", "transformers")


def profile(
    source: str | Path | Workload,
    output: str | Path,
    *,
    data: str | None = None,
    factory: str | None = None,
    loss: str | None = None,
    draws: int = 64,
    batch_size: int = 8,
    seed: int = 0,
    device: str = "auto",
    train: bool = True,
    path: int = 0,
    optimizer: str | None = None,
    include: str | None = None,
    exclude: str | None = None,
    force: bool = False,
    on_draw: Callable[[], None] = lambda: None,
) -> "Run":
    """Profile a checkpoint, or a workload of your own, and open the run.

    Args:
        source: checkpoint file or folder, or a :class:`Workload`.
        output: run file to write.
        data: token file, text file or ``module:function`` loader; not with a workload.
        factory: ``module:function`` that builds the module of a bare state dict.
        loss: ``module:function`` that takes (module, batch) and returns the mean loss.
        draws: gradients to draw, a multiple of 16.
        batch_size: examples per draw.
        seed: of data order, coordinate choice and dropout.
        device: a torch device, or ``auto``.
        train: train mode, dropout and all; eval mode otherwise.
        path: steps of the checkpoint's optimizer to take between draws, undone at the end; 0 leaves weights frozen.
        optimizer: judge remedies as under ``adamw``, ``sgd``, ``sign`` or ``muon``; the checkpoint's own without.
        include: regular expression on parameter names to keep.
        exclude: regular expression on parameter names to drop.
        force: replace a run file that exists.
        on_draw: called after each draw.

    Raises:
        UserError: anything that keeps the job from being done, with what to type next.
    """
    from gnoise.collect.load import load_workload
    from gnoise.runfile import check_output, open_run
    from gnoise.runfile.analyze import analyze

    file = Path(output)
    check_output(file, force=force)
    workload = source if isinstance(source, Workload) else load_workload(source, data=data, factory=factory, loss=loss)
    place(workload, device, train=train)
    parameters = trainable_parameters(workload.module, include=include, exclude=exclude)
    info = run_info(
        workload,
        parameters,
        source=workload.model if isinstance(source, Workload) else str(source),
        draws=draws,
        examples_per_draw=batch_size,
        seed=seed,
        command="gnoise.profile",
        path_steps=path,
        optimizer=optimizer,
    )
    collect_run(workload, parameters, file, info=info, force=force, on_draw=on_draw)
    analyze(file)
    return open_run(file)


def collect_run(
    workload: Workload,
    parameters: list[Parameter],
    path: Path,
    *,
    info: RunInfo,
    force: bool = False,
    on_draw: Callable[[], None] = lambda: None,
) -> RunState:
    """Collect every draw of a run and write it block by block.

    The file appears with its first block. An interrupt (Ctrl-C) after that ends collection, and what was
    written stays readable; before that it is passed on.

    Args:
        workload: module, loss and examples.
        parameters: which tensors to sample.
        path: run file to write.
        info: made by :func:`run_info`; says how many draws of how many examples.
        force: replace a file that exists.
        on_draw: called after each draw.

    Returns:
        whether collection came to its end.

    Raises:
        UserError: output cannot be written, self-check fails, losses are not finite, memory runs out.
    """
    collector = Collector(
        workload,
        parameters,
        draws=info.draws,
        examples_per_draw=info.examples_per_draw,
        seed=info.seed,
        path_steps=info.path_steps,
        spectral=spectral_optimizer(info.optimizer, info.judged_under),
    )
    layers = [p.layer for p in parameters]
    with ExitStack() as stack:
        writer: RunWriter | None = None
        try:
            for draws, samples in collector.blocks(on_draw):
                if writer is None:  # not before there is something to keep: a false start replaces nothing
                    writer = stack.enter_context(
                        RunWriter(path, info=info, layers=layers, tokens=workload.row_labels, force=force)
                    )
                writer.write_block(draws, samples)
        except KeyboardInterrupt:
            if writer is None:
                raise
            return RunState.INTERRUPTED
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"expected one example's backward pass to fit in memory, but {str(error).splitlines()[0]}; "
                "try --device cpu or shorter sequences",
                exit_code=ExitCode.OUT_OF_MEMORY,
            ) from error
        if writer is not None:
            writer.finish(RunState.COMPLETE)
    return RunState.COMPLETE


def run_info(
    workload: Workload,
    parameters: list[Parameter],
    *,
    source: str,
    draws: int,
    examples_per_draw: int,
    seed: int,
    command: str,
    path_steps: int = 0,
    optimizer: str | None = None,
) -> RunInfo:
    """Describe a run before it starts.

    Raises:
        UserError: ``draws`` does not split into blocks, the path has less than no steps, or nothing can be judged under
            such an optimizer.
    """
    check_draws(draws)
    if optimizer is not None and optimizer not in OPTIMIZERS:
        raise UserError(f"expected --optimizer to be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}; try without")
    if path_steps < 0:
        raise UserError(f"expected --path to be a number of steps, got {path_steps}; try --path 64")
    _check_spectral(spectral_optimizer(workload.optimizer, optimizer or ""), optimizer, draws, path_steps)
    first = parameters[0].tensor
    return RunInfo(
        model=workload.model,
        source=source,
        checkpoint_sha256=workload.sha256,
        data=workload.data,
        example=workload.example,
        tokens_per_example=workload.tokens_per_example,
        loss_reduction="mean",
        draws=draws,
        examples_per_draw=examples_per_draw,
        dtype=str(first.dtype).removeprefix("torch."),
        training_mode=workload.module.training,
        seed=seed,
        device=str(first.device),
        world_size=1,
        parameters=sum(p.layer.numel for p in parameters),
        versions=_versions(),
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        examples=workload.examples,
        optimizer=dict(workload.optimizer),
        references=dict(workload.references),
        path_steps=path_steps,
        judged_under=optimizer or "",
    )


def _check_spectral(spectral: Spectral | None, asked: str | None, draws: int, path_steps: int) -> None:
    """Refuse what can be known beforehand not to be judged under Muon."""
    if spectral is None:
        return
    if path_steps:
        raise UserError("expected SGD or Adam to take --path with, got Muon; try without --path, or --optimizer adamw")
    needed = fewest_draws(spectral)
    if asked is not None and draws < needed:
        raise UserError(
            f"expected at least {needed} draws to judge remedies under Muon, whose momentum averages over "
            f"{spectral.horizon:.0f}, got {draws}; try --draws {needed}"
        )


def place(workload: Workload, device: str, *, train: bool = True) -> list[str]:
    """Move the module to a device and set its mode.

    Args:
        workload: whose module to move.
        device: a torch device, or ``auto``: a GPU where there is one.
        train: train mode, dropout and all; eval mode otherwise.

    Returns:
        names of modules kept in eval mode whatever ``train`` says (batch normalisation).

    Raises:
        UserError: torch cannot use that device.
    """
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        workload.module.to(wanted)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"expected a device torch can use, got {wanted} ({str(error).splitlines()[0]}); try --device cpu"
        ) from error
    return prepare(workload.module, train=train)


def seconds_per_example(workload: Workload, parameters: list[Parameter], *, seed: int) -> float:
    """Time one example's share of a draw, after the self-check, which says how draws are made."""
    from time import perf_counter

    engine = DrawEngine(workload, parameters)
    batch, _ = next(workload.batches(2, seed))
    batch = move(batch, parameters[0].tensor.device)
    with engine.attached():
        engine.check(batch)
        start = perf_counter()
        engine.draw(batch)
        return (perf_counter() - start) / 2


def expected_bytes(
    parameters: list[Parameter], *, draws: int, examples_per_draw: int, spectral: bool = False
) -> tuple[int, int]:
    """Estimate (extra memory, run file size) of a profile, in bytes.

    Memory is two gradient-sized buffers, two more where matrices are followed through Muon, each coordinate's scale,
    and two sketches a layer; the file holds the sampled coordinates, the row energies, and sketches which take some
    40 kB a block and layer.
    """
    numel = sum(p.layer.numel for p in parameters)
    scales = sum(min(MAX_COORDINATES, p.layer.numel) for p in parameters)
    memory = (4 if spectral else 2) * 4 * numel + 6 * scales + len(parameters) * 2 * 100_000
    sides = sum(
        sum((p.layer.shape[0], p.layer.numel // p.layer.shape[0])) for p in parameters if len(p.layer.shape) > 1
    )
    coordinates = sum(min(COORDINATES, p.layer.numel) for p in parameters)
    sketches = sum(min(6 * p.layer.numel, 60_000) for p in parameters) * BLOCKS
    disk = 4 * draws * coordinates + 2 * draws * sides + 8 * draws * examples_per_draw * len(parameters) + sketches
    return memory, disk


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
