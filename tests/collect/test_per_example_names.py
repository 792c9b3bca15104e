"""Classes that are not what they are called, and parameters that are not what they look like."""

import pytest
import torch
from torch import Tensor, nn

from gnoise.collect.per_example import LAYERS, Method, measure
from gnoise.collect.workload import Batch
from tests.collect.test_per_example import B, agree, assert_one_pass, squared_outputs

CHECK = pytest.mark.parametrize("check", [True, False])


class PlainRMSNorm(nn.Module):
    """As others write it."""

    def __init__(self, width: int, start: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), start))
        self.variance_epsilon = 1e-6

    def forward(self, x: Tensor) -> Tensor:
        normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return self.scaled(normed)

    def scaled(self, normed: Tensor) -> Tensor:
        return normed * self.weight


class GemmaLikeRMSNorm(PlainRMSNorm):
    def scaled(self, normed: Tensor) -> Tensor:
        return normed * (1.0 + self.weight)


class SquaredRMSNorm(PlainRMSNorm):
    def scaled(self, normed: Tensor) -> Tensor:
        return normed * self.weight**2


class AbsoluteRMSNorm(PlainRMSNorm):
    def scaled(self, normed: Tensor) -> Tensor:
        return normed * self.weight.abs()


class ExponentialRMSNorm(PlainRMSNorm):
    def scaled(self, normed: Tensor) -> Tensor:
        return normed * self.weight.exp()


class GainRMSNorm(nn.Module):
    """Has another name for its weight."""

    def __init__(self, width: int, start: float = 1.0) -> None:
        super().__init__()
        self.gain, self.eps = nn.Parameter(torch.full((width,), start)), 1e-6

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.gain


class StrictRMSNorm(PlainRMSNorm):
    """Refuses any weights but its own."""

    def scaled(self, normed: Tensor) -> Tensor:
        if not bool((self.weight == 1.0).all()):
            raise ValueError("not my weights")
        return normed * self.weight**2


@CHECK
@pytest.mark.parametrize("start", [0.0, 1.0, 0.5])
@pytest.mark.parametrize(
    ("norm", "believed"),
    [
        (PlainRMSNorm, True),
        (GemmaLikeRMSNorm, True),
        (GainRMSNorm, True),
        (SquaredRMSNorm, False),
        (AbsoluteRMSNorm, False),
        (ExponentialRMSNorm, False),
    ],
)
def test_a_norm_is_believed_by_what_it_does_to_other_weights(norm, believed: bool, start: float, check: bool) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), norm(5, start), nn.Linear(5, 2))
    before = {name: x.detach().clone() for name, x in module.named_parameters()}
    held = dict(module.named_parameters())
    measured = agree(module, squared_outputs, torch.randn(B, 3, 4), check=check)
    assert_one_pass(measured, *(() if believed else ("1.weight",)))
    for name, parameter in module.named_parameters():
        assert parameter is held[name]
        assert torch.equal(parameter.detach(), before[name])


@CHECK
def test_a_norm_that_cannot_be_tried_goes_to_the_loop(check: bool) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(4, 5), StrictRMSNorm(5))
    assert_one_pass(agree(module, squared_outputs, torch.randn(B, 3, 4), check=check), "1.weight")


class Standardised(nn.Conv2d):
    """Changes its weight on the way, in the method that ``nn.Conv2d.forward`` calls."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        return super()._conv_forward(input, 2.0 * weight.tanh(), bias)


@CHECK
def test_a_convolution_that_changes_its_weight_goes_to_the_loop(check: bool) -> None:
    torch.manual_seed(2)
    module, batch = nn.Sequential(nn.Conv2d(2, 3, 3), Standardised(3, 3, 3)), torch.randn(B, 2, 7, 7)
    assert_one_pass(agree(module, squared_outputs, batch, check=check), "1.weight", "1.bias")


class Spectral(nn.Module):
    """Real weights that multiply complex numbers, and complex ones."""

    def __init__(self, dtype: torch.dtype = torch.complex64) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.gate, self.shift = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))
        self.mix = nn.Parameter(torch.randn(3, 2, dtype=dtype))
        self.phase = nn.Parameter(torch.randn(2, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        modes = torch.fft.rfft(torch.tanh(self.inner(x))) * self.gate + self.shift
        return torch.view_as_real((modes.to(self.mix.dtype) @ self.mix) * self.phase + self.phase)


@CHECK
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_numbers_go_to_the_loop(dtype: torch.dtype, check: bool) -> None:
    torch.manual_seed(3)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return squared_outputs(module, batch).float()

    module, batch = Spectral(dtype), torch.randn(B, 4)
    measured = measure(module, loss, batch, layers=LAYERS, check=check)
    looped = {name for name, methods in measured.methods.items() if Method.LOOP in methods}
    assert looped == {"gate", "shift", "mix", "phase"}
    for example in range(B):
        grads = torch.autograd.grad(loss(module, batch[example : example + 1]), list(module.parameters()))
        for (name, norms), grad in zip(measured.sq_norms.items(), grads, strict=True):
            assert not norms.is_complex()
            expected = float(grad.abs().double().square().sum())
            assert float(norms[example]) == pytest.approx(expected, rel=1e-5), name
