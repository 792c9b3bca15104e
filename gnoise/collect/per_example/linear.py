"""Linear layers: torch's and Transformers' transposed ``Conv1D``."""

from torch import Tensor, nn

from gnoise.collect.per_example.form import Form, Outer, Whole, to_shape
from gnoise.collect.per_example.layer_type import is_patched, runs


def is_linear(module: nn.Module) -> bool:
    """Recognise ``nn.Linear``."""
    return runs(module, nn.Linear)


def is_transposed_linear(module: nn.Module) -> bool:
    """Recognise Transformers' ``Conv1D`` (in its GPT-2 family) without importing it."""
    known = type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils"
    return known and not is_patched(module)


def linear_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\nabla W_b = \sum_t g_{bt} x_{bt}^\top$."""
    return Outer(_tokens(grad), _tokens(x))


def transposed_linear_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\nabla W_b = \sum_t x_{bt} g_{bt}^\top$: the weight is stored inputs first."""
    return Outer(_tokens(x), _tokens(grad))


def last_axis_bias(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\nabla \beta_b = \sum_t g_{bt}$."""
    return Whole(to_shape(grad, grad.shape[-1:]))


def _tokens(x: Tensor) -> Tensor:
    """Flatten every axis between the examples and the features into one."""
    return x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)
