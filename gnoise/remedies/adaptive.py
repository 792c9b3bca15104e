"""Bounds that follow the norms seen so far: per tensor (AdaGC), and of the whole list (ZClip)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gnoise.formulas import bias_corrected, clip_norm_factor, ema, zclip_limit
from gnoise.remedies.clip_norm import positive
from gnoise.remedies.lists import multiply_, norms, usable
from gnoise.remedies.transform import State, Transform, book_dtype, identity


def adagc(limit: float = 1.05, *, decay: float = 0.98, warmup: int = 100) -> Transform:
    r"""Bound each tensor's norm by a multiple of its own moving average.

    $g \leftarrow g \min(1, \lambda \hat\gamma / \|g\|)$, then $\gamma \leftarrow \beta\gamma + (1-\beta)\|g\|$ with the
    bounded norm. During ``warmup`` nothing is bounded and the average, corrected for its zero start, only
    learns; the paper bounds the global norm meanwhile: ``chain(clip_global_norm(1.0), adagc())``. A norm of
    zero or not finite leaves tensor and average as they are.

    Args:
        limit: λ; infinity is the identity.
        decay: β.
        warmup: finite, non-zero gradients a tensor is watched for first; at least 1.

    References:
        AdaGC, arXiv 2502.11034.
    """
    if math.isinf(positive(limit, "limit")):
        return identity()

    def init(params: Sequence[Tensor]) -> State:
        zeros = _zeros(params).expand(len(params))
        return State(per_tensor={"average": zeros.clone(), "steps": zeros.clone()})

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        size = norms(grads)
        average, steps = state.per_tensor["average"], state.per_tensor["steps"]
        moves = usable(size)
        bound = limit * bias_corrected(average, decay, steps.clamp(min=1.0))
        factor = torch.where(moves & (steps >= max(warmup, 1)), clip_norm_factor(size, bound), 1.0)
        average = torch.where(moves, ema(average, factor * size, decay), average)
        return multiply_(grads, factor), State(per_tensor={"average": average, "steps": steps + moves})

    return Transform(init, update)


def zclip(limit: float = 2.5, *, decay: float = 0.97, warmup: int = 25) -> Transform:
    r"""Bound the global norm where it is an outlier of its own recent past.

    With mean $\mu$ and deviation $\sigma$ of past norms and $z = (\|g\|-\mu)/\sigma$, a norm with $z > z^*$ becomes
    $\mu + \sigma z^{*2}/z$: the further out, the more it is pulled in. The bounded norm enters the averages.
    The first ``warmup`` norms are taken as they come, for a plain mean and variance. A norm that is not
    finite leaves everything as it is.

    Args:
        limit: z*, in standard deviations; infinity is the identity.
        decay: α of both moving averages.
        warmup: finite norms to see first; at least 2.

    References:
        ZClip, arXiv 2504.02507.
    """
    if math.isinf(positive(limit, "limit")):
        return identity()

    def init(params: Sequence[Tensor]) -> State:
        zero = _zeros(params)
        return State(shared={"mean": zero, "variance": zero.clone(), "steps": zero.clone()})

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        mean, variance, steps = (state.shared[name] for name in ("mean", "variance", "steps"))
        size = torch.linalg.vector_norm(norms(grads))
        finite, learning = size < math.inf, steps < max(warmup, 2)
        bound = zclip_limit(size, mean, variance, limit)
        factor = torch.where(finite & ~learning, clip_norm_factor(size, bound), 1.0)
        bounded = torch.where(finite, factor * size, mean)
        weight = torch.where(learning, 1.0 / (steps + 1.0), 1.0 - decay)
        apart = bounded - mean
        # Welford's update while learning, so that the variance is about the mean of all norms seen by then.
        spread = torch.where(learning, (1.0 - weight) * apart.square(), apart.square())
        after = {
            "mean": torch.where(finite, mean + weight * apart, mean),
            "variance": torch.where(finite, (1.0 - weight) * variance + weight * spread, variance),
            "steps": steps + finite,
        }
        return multiply_(grads, factor), State(shared=after)

    return Transform(init, update)


def _zeros(params: Sequence[Tensor]) -> Tensor:
    device = params[0].device
    return torch.zeros((), dtype=book_dtype(device), device=device)
