"""Per-example gradient norms of a model's norm layers out of ordinary training steps, by their own backward pass."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import itertools
import types
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gnoise.errors import UserError
from gnoise.kernels.choice import Backend, choose
from gnoise.kernels.layer_norm import layer_norm_backward_reference
from gnoise.kernels.norm_launch import as_rows, run_norm_backward
from gnoise.kernels.norm_modules import is_called_norm, original_forward, recognise
from gnoise.kernels.rms_norm import rms_norm_backward_reference

_MARK = "_gnoise_norm"
_KEYS = itertools.count()


@dataclass
class _Recorder:
    """Squared norms of one module's backward passes since they were last taken.

    Attributes:
        names: of the weight and, where there is one, of the bias.
        sq_norms: (kinds, examples) of each pass.
        passes: torch's number of the backward pass that each came from.
    """

    names: tuple[str, ...]
    sq_norms: list[Tensor] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)


_RECORDERS: "weakref.WeakValueDictionary[int, _Recorder]" = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class _Mark:
    """What a patched module carries.

    The key is a tensor, for a compiled graph is made anew for every other number but not for another tensor: blocks
    that are compiled one by one share theirs.
    """

    centered: bool
    offset: float
    eps: float | None
    key: Tensor


class FusedNorms:
    """What :func:`use_fused_norms` did to a model, and what came of it; a context manager that undoes it at its end.

    Attributes:
        left_alone: modules called a norm that compute something else, or whose weight is frozen in part: not measured.
    """

    def __init__(self, patched: Mapping[nn.Module, _Recorder], left_alone: tuple[str, ...]) -> None:
        self._patched = dict(patched)
        self.left_alone = left_alone

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters that are measured."""
        return tuple(name for recorder in self._patched.values() for name in recorder.names)

    def take(self, example_weights: Tensor | None = None, *, loss_scale: float = 1.0) -> dict[str, Tensor]:
        r"""Return the norms that the backward passes since the last time have left, and forget them.

        Call it once a step, before the next step's backward pass. The passes of accumulated micro-batches are put one
        after the other.

        Args:
            example_weights: $w_i$, each example's weight in the loss whose gradients were taken; ``None`` for 1/n with
                n the examples of all passes: a mean over examples, divided by the number of micro-batches.
            loss_scale: by which the loss was multiplied, as by a GradScaler.

        Returns:
            squared norms of each example's own gradient, of shape (examples,) and in float32, by parameter name. A
            layer that no backward pass went through is missing.

        Raises:
            UserError: a layer was used twice in one pass (its sums belong together), layers disagree on the number of
                examples (some see tokens of several along their first axis), or the weights do not fit.
        """
        found: dict[tuple[str, ...], Tensor] = {}
        for recorder in self._patched.values():
            if not recorder.sq_norms:
                continue
            passes, each = recorder.passes, recorder.sq_norms
            recorder.passes, recorder.sq_norms = [], []
            if len(set(passes)) < len(passes):
                raise UserError(
                    f"expected every norm layer to be used once in a step, got {recorder.names[0]!r} more often; "
                    "try gnoise.collect.per_example, which adds its uses up"
                )
            found[recorder.names] = torch.cat(each, 1) if len(each) > 1 else each[0]
        counts = {sq_norms.shape[1]: names[0] for names, sq_norms in found.items()}
        if len(counts) > 1:
            (few, one), (many, other), *_ = sorted(counts.items())
            raise UserError(
                f"expected examples along the first axis of every norm layer, got {few} in {one!r} and {many} in "
                f"{other!r}; try gnoise.collect.per_example, which finds the axis"
            )
        if not found:
            return {}
        units = _per_unit_weight(list(found.values()), example_weights, loss_scale)
        return {
            name: sq_norms_E
            for names, sq_norms_KE in zip(found, units, strict=True)
            for name, sq_norms_E in zip(names, sq_norms_KE.unbind(), strict=True)
        }

    def remove(self) -> None:
        """Give every module its own forward pass back; nothing of the patch stays."""
        for module in self._patched:
            module.__dict__.pop("forward", None)
            module.__dict__.pop(_MARK, None)
        self._patched.clear()

    def __enter__(self) -> "FusedNorms":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def use_fused_norms(model: nn.Module) -> FusedNorms:
    """Make ordinary training steps yield per-example gradient norms of LayerNorm and RMSNorm parameters.

    Forward passes stay what they are, bit for bit; backward passes run :func:`gnoise.kernels.layer_norm_backward` or
    :func:`gnoise.kernels.rms_norm_backward`, which have the norms for nothing. Works under ``torch.compile``, whole
    or block by block, activation checkpointing, autocast, accumulation, DDP and FSDP2, where each process has the norms
    of its own examples; before or after any of them is put around the model.

    Examples must lie along the first axis of what a norm layer sees, each must be used once a step, and no other
    computation may mix them. Gradients of gradients through a norm layer are refused when torch comes to them.

    Args:
        model: patched in place. torch's LayerNorm and RMSNorm, and classes named so which compute the same
            (Transformers' Llama, Gemma, T5, Cohere and others), where the weight is trainable.

    Raises:
        UserError: the model has no such layer, has been patched before, or two of its norm layers share a weight.

    Examples:
        >>> with use_fused_norms(model) as norms:
        ...     loss(model(batch)).backward()
        ...     sq_norms = norms.take()
    """
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    patched: dict[nn.Module, _Recorder] = {}
    left: list[str] = []
    seen: set[int] = set()
    for path, module in model.named_modules():
        kind = recognise(module)
        if kind is None or "forward" in module.__dict__:
            left += [path] if is_called_norm(module) or kind is not None else []
            continue
        parameters = [x for x in (module.get_parameter("weight"), getattr(module, "bias", None)) if x is not None]
        if seen & {id(x) for x in parameters}:
            raise UserError(
                f"expected norm layers with weights of their own, got {path!r} with another's; "
                "try gnoise.collect.per_example, which adds up their uses"
            )
        seen |= {id(x) for x in parameters}
        patched[module] = _patch(module, kind.centered, kind.offset, kind.eps, tuple(names[id(x)] for x in parameters))
    if not patched:
        why = f"{left[0]!r}, patched or changed already" if left else "none"
        raise UserError(
            f"expected LayerNorm or RMSNorm layers with trainable weights, got {why}; "
            "try gnoise.collect.per_example for other layers"
        )
    return FusedNorms(patched, tuple(left))


def _patch(module: nn.Module, centered: bool, offset: float, eps: float | None, names: tuple[str, ...]) -> _Recorder:
    key = next(_KEYS)
    recorder = _RECORDERS[key] = _Recorder(names)
    module.__dict__[_MARK] = _Mark(centered, offset, eps, torch.tensor(key))
    module.__dict__["forward"] = types.MethodType(_forward, module)
    return recorder


def _forward(self: nn.Module, x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return original_forward(self)(self, x)
    mark: _Mark = self.__dict__[_MARK]
    weight, bias = self.weight, getattr(self, "bias", None)
    if type(weight) not in (Tensor, nn.Parameter):
        raise UserError(
            f"expected plain tensors in a norm layer, got a weight of type {type(weight).__name__}; "
            "try use_fused_norms with DistributedDataParallel or fully_shard, not with tensor parallelism"
        )
    with torch.no_grad():
        y = original_forward(self)(self, x)
    eps = torch.finfo(torch.promote_types(x.dtype, torch.float32)).eps if mark.eps is None else mark.eps
    return _Norm.apply(x, weight, bias, y, mark.key, eps, mark.centered, mark.offset)


class _Norm(torch.autograd.Function):
    """Pass a norm's output through and differentiate the norm in its place."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        y: Tensor,
        key: Tensor,
        eps: float,
        centered: bool,
        offset: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias, key)  # pyright: ignore[reportArgumentType]
        ctx.settings = eps, centered, offset  # pyright: ignore[reportAttributeAccessIssue]
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight, bias, key = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        eps, centered, offset = ctx.settings  # pyright: ignore[reportAttributeAccessIssue]
        # To a compiler it is one operation; without one, going through torch's dispatcher would only cost time.
        differentiate = _recorded_backward if torch.compiler.is_compiling() else _differentiate
        dx, grads = differentiate(grad, x, weight, bias is not None, key, eps, centered, offset)
        dbias = grads[1].to(bias.dtype).view(bias.shape) if bias is not None else None
        return dx, grads[0].to(weight.dtype).view(weight.shape), dbias, None, None, None, None, None


@torch.library.custom_op("gnoise::norm_backward", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def _recorded_backward(
    grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool, key: Tensor, eps: float, centered: bool, offset: float
) -> tuple[Tensor, Tensor]:
    """Do it as one operation, which a compiler may neither look into nor capture in a CUDA graph."""
    return _differentiate(grad, x, weight, has_bias, key, eps, centered, offset)


def _differentiate(
    grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool, key: Tensor, eps: float, centered: bool, offset: float
) -> tuple[Tensor, Tensor]:
    """Differentiate a norm: dx and (kinds, features); leave its per-example norms with the module's recorder."""
    weight = weight if offset == 0.0 else weight.float() + offset
    if choose(x, grad, weight) is Backend.TRITON:
        rows = as_rows(grad, x, weight, None, eps, None)
        sums = run_norm_backward(rows, eps=eps, centered=centered, has_bias=has_bias)
        dx, grads, sq_norms = sums.dx.view(x.shape), sums.grads, sums.sq_norms
    elif centered:
        bias = weight if has_bias else None
        dx, *found = layer_norm_backward_reference(grad, x, weight, bias, eps=eps)
        dweight, dbias, of_weight, of_bias = found
        grads = torch.stack([t.reshape(-1) for t in (dweight, dbias) if t is not None])
        sq_norms = torch.stack([t for t in (of_weight, of_bias) if t is not None])
    else:
        dx, dweight, of_weight = rms_norm_backward_reference(grad, x, weight, eps=eps)
        grads, sq_norms = dweight.reshape(1, -1), of_weight[None]
    recorder = _RECORDERS.get(int(key))
    if recorder is not None:
        recorder.sq_norms.append(sq_norms)
        recorder.passes.append(torch._C._current_graph_task_id())
    return dx, grads


@_recorded_backward.register_fake
def _recorded_backward_shapes(
    grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool, key: Tensor, eps: float, centered: bool, offset: float
) -> tuple[Tensor, Tensor]:
    sums = torch.promote_types(x.dtype, torch.float32)
    shape = (2 if has_bias else 1, weight.numel())
    return torch.empty(x.shape, dtype=x.dtype, device=x.device), x.new_empty(shape, dtype=sums)


def _per_unit_weight(found: list[Tensor], example_weights: Tensor | None, loss_scale: float) -> list[Tensor]:
    """Divide norms of shape (kinds, examples) by the squared weights; all layers at once where one number does."""
    examples = found[0].shape[1]
    if example_weights is None:
        return list(torch._foreach_mul(found, (examples / loss_scale) ** 2))
    if example_weights.shape != (examples,):
        raise UserError(
            f"expected one weight for each of {examples} examples, got shape {tuple(example_weights.shape)}; "
            "try example_weights=None"
        )
    weights = example_weights * loss_scale
    return [sq_norms / weights.to(sq_norms).square() for sq_norms in found]
