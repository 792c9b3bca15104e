"""What fused norms and a whole profile cost beside plain training, on a 124 M-parameter GPT. Alone it does nothing.

:mod:`kernels_gpu` runs these stages.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from gpu_clock import CUDA, DEVICE
from gpu_rows import Result
from torch import Tensor

from gnoise.collect import Batch, Workload, collect_run, place, run_info, trainable_parameters
from gnoise.kernels import use_fused_norms
from gnoise.models.gpt import GPT, GPTConfig
from gnoise.runfile.analyze import analyze

BAR_STEP, BAR_PROFILE = 1.01, 1.15


def training_step(*, quick: bool) -> Iterator[Result]:
    """Time steps that Python can hardly keep up with, and steps that keep the GPU busy."""
    for sequences in (8, 32):
        yield from _training_step(sequences, quick=quick, compiled=False)


def compiled_step(*, quick: bool) -> Iterator[Result]:
    """Time compiled steps; compiling takes its time."""
    for sequences in (8, 32):
        yield from _training_step(sequences, quick=quick, compiled=True)


def _training_step(sequences: int, *, quick: bool, compiled: bool) -> Iterator[Result]:
    """Time steps in turns: bf16 autocast, fused AdamW, the norms taken after every step."""
    print(f"training step of {sequences}{', compiled' if compiled else ''}", flush=True)
    model, tokens = _gpt(quick), _tokens(quick, sequences)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=CUDA)
    bare = torch.compile(model) if compiled and CUDA else model

    def step(run: Callable[..., tuple[Tensor, Tensor]]) -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            _, loss = run(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()

    _seconds(lambda: step(bare), 5)
    pairs: list[tuple[float, float]] = []
    taken: dict[str, Tensor] = {}
    for number in range(2 if quick else 6):
        plain = _seconds(lambda: step(bare), 1 if quick else 10)
        with use_fused_norms(model) as norms:
            run = torch.compile(model) if compiled and CUDA else model

            def fused_step(run: Callable[..., tuple[Tensor, Tensor]] = run) -> None:
                step(run)
                taken.update(norms.take())

            _seconds(fused_step, 1 if quick else 5)  # compiled code is found again, or made once
            pairs.append((plain, _seconds(fused_step, 1 if quick else 10)))
        print(f"  round {number + 1}: {1e3 * plain:.2f} and {1e3 * pairs[-1][1]:.2f} ms", flush=True)
    ratio = statistics.median(fused / plain for plain, fused in pairs)
    fused = statistics.median(fused for _, fused in pairs)
    what = f"{'compiled ' if compiled else ''}training step with fused norms"
    shape = f"GPT 124 M, {tokens.shape[0]}×{tokens.shape[1] - 1} tokens"
    yield Result(what, shape, 1e3 * fused, None, {"torch": ratio}, ratio <= BAR_STEP)


def whole_profile(*, quick: bool) -> Iterator[Result]:
    """Time a whole profile, analysis and run file included, beside plain passes over as many examples."""
    print("whole profile", flush=True)
    model, tokens = _gpt(quick), _tokens(quick).cpu()
    draws = 16 if quick else 64  # as many as a profile makes unless told otherwise

    def loss(module: torch.nn.Module, batch: Batch) -> Tensor:
        assert isinstance(batch, Tensor)
        return module(batch[:, :-1], batch[:, 1:])[1]

    def batches(examples: int, seed: int) -> Iterator[tuple[Batch, np.ndarray]]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield (
                torch.randint(0, model.config.vocab_size, (examples, tokens.shape[1]), generator=generator),
                np.arange(examples),
            )

    workload = Workload(model, loss, batches, example="sequence", tokens_per_example=tokens.shape[1] - 1)
    place(workload, DEVICE.type)
    parameters = trainable_parameters(model)
    size = len(tokens)

    def plain() -> None:
        stream = batches(size, 0)
        for _ in range(draws):
            model.zero_grad()
            loss(model, next(stream)[0].to(DEVICE)).backward()

    def profiled() -> None:
        info = run_info(
            workload, parameters, source="benchmark", draws=draws, examples_per_draw=size, seed=0, command="benchmark"
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.gnoise"
            collect_run(workload, parameters, path, info=info)
            collected.append(time.perf_counter())
            analyze(path)

    collected: list[float] = []
    _seconds(plain, 1)
    bare = _seconds(plain, 1)
    start = time.perf_counter()
    whole = _seconds(profiled, 1)
    shape, collecting = f"GPT 124 M, {draws} draws of {size}", collected[-1] - start
    yield Result("whole profile", shape, 1e3 * whole, None, {"torch": whole / bare}, whole / bare <= BAR_PROFILE)
    yield Result("collecting alone", shape, 1e3 * collecting, None, {"torch": collecting / bare})


STAGES: dict[str, Callable[..., Iterator[Result]]] = {
    "whole profile": whole_profile,
    "training step": training_step,
    "compiled training step": compiled_step,
}


def _gpt(quick: bool) -> GPT:
    torch.manual_seed(0)
    small = GPTConfig(block_size=16, vocab_size=64, n_layer=1, n_head=2, n_embd=16)
    return GPT(small if quick else GPTConfig()).to(DEVICE)


def _tokens(quick: bool, sequences: int = 8) -> Tensor:
    shape = (2, 17) if quick else (sequences, 1025)
    return torch.randint(0, 64 if quick else 50304, shape, device=DEVICE)


def _seconds(call: Callable[[], object], repeats: int) -> float:
    if CUDA:
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    if CUDA:
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats
