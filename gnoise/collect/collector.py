"""Draws in, samples out: streamed, a block of draws at a time."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnoise.collect.draw import Draw
from gnoise.collect.draws import DrawEngine
from gnoise.collect.followed import Followed, follow
from gnoise.collect.layers import Parameter
from gnoise.collect.matrices import MatrixNumbers, matrix_numbers, matrix_sample
from gnoise.collect.scale import CoordinateScale
from gnoise.collect.singular import bidiagonalise
from gnoise.collect.sketching import SketchCounter, median_magnitude
from gnoise.collect.trajectory import Trajectory
from gnoise.collect.workload import Workload, move
from gnoise.errors import UserError, unreadable
from gnoise.records import CoordinateSample, DrawSample, LayerSamples, NormSample, SketchSample
from gnoise.stats.evidence import Spectral

BLOCKS = 8
"""Every run's draws are kept in eight blocks: intervals come from comparing them."""
COORDINATES = 1024
_NONFINITE_IN_A_ROW = 10
_SMALL = 1 << 14
"""Entries of a tensor on a GPU up to which it is reduced on the CPU."""

Block = tuple[DrawSample, dict[str, LayerSamples]]


def check_draws(draws: int) -> None:
    """Refuse a number of draws that does not split into pairs in eight blocks.

    Raises:
        UserError: names the nearest numbers that do.
    """
    step = 2 * BLOCKS
    if draws < step or draws % step:
        below = max(step, draws // step * step)
        raise UserError(f"expected --draws to be a multiple of {step}, got {draws}; try --draws {below + step}")


class Collector:
    """Draws gradients of a workload at fixed weights, or along a short path of them, and keeps samples of them.

    Holds, beside ``.grad``, the previous draw and the block's sum: two gradient-sized buffers.

    Args:
        workload: what to differentiate.
        parameters: which tensors to sample.
        draws: a multiple of 16.
        examples_per_draw: at least 2, so that signal and noise can be told apart.
        seed: of data order, coordinate choice and dropout.
        path_steps: of the checkpoint's optimizer, spread over the draws and undone at the end; 0 leaves weights fixed.
        spectral: optimizer that some hidden matrices' gradients are followed through as well.
    """

    def __init__(
        self,
        workload: Workload,
        parameters: Sequence[Parameter],
        *,
        draws: int = 64,
        examples_per_draw: int = 8,
        seed: int = 0,
        path_steps: int = 0,
        spectral: Spectral | None = None,
    ) -> None:
        check_draws(draws)
        if examples_per_draw < 2:
            raise UserError(f"expected at least 2 examples per draw, got {examples_per_draw}; try --batch-size 8")
        self._workload = workload
        self._parameters = parameters
        self._draws = draws
        self._examples = examples_per_draw
        self._seed = seed
        self._engine = DrawEngine(workload, parameters)
        self._trajectory = Trajectory(
            workload, parameters, steps=path_steps, draws=draws, examples=examples_per_draw, seed=seed
        )
        self._place = 0
        rng = np.random.default_rng(seed)
        followed = {} if spectral is None else follow(parameters, spectral, draws=draws // BLOCKS)
        self._layers = [
            _LayerCollector(
                p,
                rng,
                scale_pairs=draws // 4,
                second_moment=workload.second_moments.get(p.layer.name),
                followed=followed.get(p.layer.name),
            )
            for p in parameters
        ]

    def blocks(self, on_draw: Callable[[], None] = lambda: None) -> Iterator[Block]:
        """Yield the samples of one block of draws after another.

        Args:
            on_draw: called after each draw, for a progress display.

        Raises:
            UserError: the self-check fails, or loss and gradients keep being non-finite.
        """
        device = self._parameters[0].tensor.device
        stream = self._workload.batches(self._examples, self._seed)
        first = move(next(stream)[0], device)
        with torch.random.fork_rng(), self._engine.attached():
            torch.manual_seed(self._seed)
            self._engine.check(first)
            stream = self._workload.batches(self._examples, self._seed)
            try:
                with self._trajectory.attached(self._engine.differentiate) as advance:
                    for block in range(BLOCKS):
                        yield self._block(stream, advance, on_draw, learning=block < BLOCKS // 2)
            finally:
                bidiagonalise.clear()

    def _block(
        self,
        stream: Iterator[tuple[object, np.ndarray]],
        advance: Callable[[int], None],
        on_draw: Callable[[], None],
        *,
        learning: bool,
    ) -> Block:
        draws: list[Draw] = []
        ids: list[np.ndarray] = []
        skipped = 0
        for _ in range(self._draws // BLOCKS):
            advance(self._place)
            self._place += 1
            draw, example_ids, lost = self._finite_draw(stream)
            skipped += lost
            draws.append(draw)
            ids.append(example_ids)
            for layer, grad, sq_norms in zip(self._layers, self._gradients(), draw.example_sq_norms, strict=True):
                layer.add(grad, sq_norms, learning=learning)
            on_draw()
        sample = DrawSample(
            example_ids=np.stack(ids),
            example_losses=np.stack([draw.losses for draw in draws]),
            example_weights=np.full((len(draws), self._examples), 1.0 / self._examples),
            skipped=skipped,
        )
        model_sq_norms = np.sum([layer.draw_sq_norms for layer in self._layers], axis=0)
        return sample, {layer.name: layer.take(sample.example_weights, model_sq_norms) for layer in self._layers}

    def _gradients(self) -> Iterator[Tensor]:
        """Hand out the draw that stands in ``.grad``; whoever takes it may keep it.

        From each GPU small tensors come in one copy: there the launches of their reductions would cost more than
        those of the large.
        """
        fetched = _fetched([p for p in self._parameters if _goes_to_host(p.tensor)])
        for parameter in self._parameters:
            tensor = parameter.tensor
            if _goes_to_host(tensor):
                yield fetched[parameter.layer.name]
            else:
                grad, tensor.grad = _gradient(parameter), None  # handed over, not copied: the next draw gets its own
                yield grad

    def _finite_draw(self, stream: Iterator[tuple[object, np.ndarray]]) -> tuple[Draw, np.ndarray, int]:
        """Take the next draw whose loss and gradients are finite; count those passed over."""
        for lost in range(_NONFINITE_IN_A_ROW):
            batch, example_ids = next(stream)
            draw = self._engine.draw(move(batch, self._parameters[0].tensor.device))  # pyright: ignore[reportArgumentType]
            if draw.finite:
                return draw, example_ids, lost
        raise unreadable(
            f"expected finite losses and gradients, got NaN or Inf in {_NONFINITE_IN_A_ROW} draws in a row; "
            "try an earlier checkpoint, or look at the precision (fp16 overflow) first"
        )


@dataclass
class _BlockParts:
    """What one layer has gathered since its last block."""

    example_sq_norms: list[np.ndarray]
    draw_sq_norms: list[float]
    values: list[np.ndarray]
    numbers: list[MatrixNumbers]


class _LayerCollector:
    """All samples of one parameter tensor, made of its draws."""

    def __init__(
        self,
        parameter: Parameter,
        rng: np.random.Generator,
        *,
        scale_pairs: int,
        second_moment: Tensor | None,
        followed: Followed | None = None,
    ) -> None:
        self.name = parameter.layer.name
        self._tensor = parameter.tensor
        numel = parameter.layer.numel
        self._index = np.sort(rng.choice(numel, size=min(COORDINATES, numel), replace=False))
        self._second_moment = (
            None if second_moment is None else second_moment.reshape(-1)[self._index].numpy(force=True)
        )
        on_host = _goes_to_host(self._tensor)
        self._index_on_device = torch.from_numpy(self._index).to("cpu" if on_host else self._tensor.device)
        self._generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        self._scale_pairs = scale_pairs
        self._scale = CoordinateScale(numel, self._tensor.shape[-1] if self._tensor.ndim > 1 else 1)
        self._entries = SketchCounter()
        self._standardised = SketchCounter()
        self._followed = followed
        self._learning = True
        self._first: Tensor | None = None
        self._sum: Tensor | None = None
        self._parts = _BlockParts([], [], [], [])

    def add(self, grad: Tensor, example_sq_norms: np.ndarray, *, learning: bool) -> None:
        """Take a draw, in float32 and for good; every second one closes a pair."""
        self._learning = learning
        flat = grad.reshape(-1)
        self._parts.example_sq_norms.append(example_sq_norms)
        self._parts.draw_sq_norms.append(_sq_norm(flat))
        self._parts.values.append(flat[self._index_on_device].numpy(force=True))
        if self._followed is not None:
            self._followed.add(grad, math.sqrt(self._parts.draw_sq_norms[-1]), learning=learning)
        self._sum = grad.clone() if self._sum is None else self._sum.add_(grad)
        if self._first is None:
            self._first = grad
        else:
            noise = self._first.sub_(grad).mul_(math.sqrt(0.5))
            self._first = None
            self._add_noise(noise)

    @property
    def draw_sq_norms(self) -> np.ndarray:
        """‖g_m‖² of the block's draws so far."""
        return np.array(self._parts.draw_sq_norms)

    def take(self, example_weights: np.ndarray, model_sq_norms: np.ndarray) -> LayerSamples:
        """Return the block's samples and start the next block."""
        draw_sq_norms = self.draw_sq_norms
        parts, self._parts = self._parts, _BlockParts([], [], [], [])
        if self._sum is None:
            raise RuntimeError("take before any draw")
        block_sq_norm = _sq_norm(self._sum.reshape(-1)) / len(parts.draw_sq_norms) ** 2
        self._sum = None
        return LayerSamples(
            norms=NormSample(
                example_sq_norms=np.stack(parts.example_sq_norms),
                draw_sq_norms=draw_sq_norms,
                block_sq_norms=np.array([block_sq_norm]),
                example_weights=example_weights,
            ),
            sketch=SketchSample(
                entries=(self._entries.take(),),
                draws=() if self._learning else (self._standardised.take(),),
                scale_pairs=0 if self._learning else self._scale_pairs,
            ),
            coordinates=CoordinateSample(
                index=self._index,
                values=np.stack(parts.values),
                draw_sq_norms=draw_sq_norms,
                model_sq_norms=model_sq_norms,
                second_moment=self._second_moment,
            ),
            matrix=matrix_sample(*_sides(self._tensor), parts.numbers) if parts.numbers else None,
            progress=None if self._followed is None else self._followed.take(),
        )

    def _add_noise(self, noise: Tensor) -> None:
        flat = noise.reshape(-1)
        counted = self._entries.add(flat)
        if self._learning:
            self._scale.learn(flat)
        else:
            self._standardised.add(self._scale.standardise(flat))
        if noise.ndim >= 2:
            median = median_magnitude(counted)
            if self._followed is not None:
                self._followed.add_noise(noise)
                if self._learning:
                    self._followed.learn_scale(median)
            first_of_block = not self._parts.numbers
            self._parts.numbers.append(
                matrix_numbers(
                    noise.flatten(1), median_magnitude=median, generator=self._generator, permute=first_of_block
                )
            )


def _goes_to_host(tensor: Tensor) -> bool:
    return tensor.device.type != "cpu" and tensor.numel() <= _SMALL


def _fetched(parameters: Sequence[Parameter]) -> dict[str, Tensor]:
    """Copy gradients to the CPU, all of a device at once, by layer name."""
    of_device: dict[torch.device, list[Parameter]] = {}
    for parameter in parameters:
        of_device.setdefault(parameter.tensor.device, []).append(parameter)
    found: dict[str, Tensor] = {}
    for together in of_device.values():
        flat = torch.cat([_gradient(p).reshape(-1) for p in together]).cpu()
        for parameter, grad in zip(together, flat.split([p.tensor.numel() for p in together]), strict=True):
            found[parameter.layer.name] = grad.view(parameter.tensor.shape)
    return found


def _gradient(parameter: Parameter) -> Tensor:
    grad = parameter.tensor.grad
    if grad is None:
        raise RuntimeError(f"no gradient for {parameter.layer.name}")
    return grad.detach().to(torch.float32)


def _sides(tensor: Tensor) -> tuple[int, int]:
    return tensor.shape[0], tensor.numel() // tensor.shape[0]


def _sq_norm(flat: Tensor) -> float:
    """Σx² in float64, so that squares of 1e-30 do not vanish and those of 1e30 do not overflow."""
    return float(torch.linalg.vector_norm(flat, dtype=torch.float64)) ** 2
