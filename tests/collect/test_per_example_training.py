"""Per-example norms where training does more than one backward pass: loss scaling, accumulation, residual networks."""

import pytest
import torch
from torch import Tensor, nn

from gnoise.collect.per_example import LAYERS, per_example_sq_norms
from gnoise.collect.per_example.stream import Stream
from gnoise.collect.workload import Batch
from tests.collect.test_per_example import B, agree, assert_one_pass, squared_outputs
from tests.collect.workloads import TiedModel, cross_entropy

HALF = pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)


class Residual(nn.Module):
    """Two convolutions around a shortcut, as in ResNet: a projection where width or stride change."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.downsample(x)
        return self.relu(y)


def resnet() -> nn.Module:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        Residual(4, 4, 1),
        Residual(4, 8, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eval()
            child.running_mean = torch.randn(child.num_features)
            child.running_var = torch.rand(child.num_features) + 0.5
    return module


@pytest.mark.parametrize("check", [True, False])
def test_a_residual_network_of_convolutions(check: bool) -> None:
    torch.manual_seed(0)
    assert_one_pass(agree(resnet(), squared_outputs, torch.randn(B, 3, 16, 16), check=check))


def own_sq_norms(module: nn.Module, loss, batch: Batch) -> dict[str, Tensor]:
    """Differentiate each example's own loss with an ordinary backward pass."""
    found: dict[str, list[Tensor]] = {name: [] for name, x in module.named_parameters() if x.requires_grad}
    assert isinstance(batch, tuple)
    for example in range(len(batch[0])):
        module.zero_grad()
        loss(module, tuple(x[example : example + 1] for x in batch)).backward()
        for name, norms in found.items():
            norms.append(module.get_parameter(name).grad.float().square().sum())
    module.zero_grad()
    return {name: torch.stack(norms) for name, norms in found.items()}


@HALF
def test_a_scaled_loss_has_the_scales_square_in_its_norms(half: torch.dtype) -> None:
    torch.manual_seed(1)
    module, ids = TiedModel(), torch.randint(0, 11, (B, 6))
    batch = ids[:, :-1], ids[:, 1:]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def autocast(network: nn.Module, tokens: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=half):
            return cross_entropy(network, tokens).float()

    def scaled(network: nn.Module, tokens: Batch) -> Tensor:
        return scaler.scale(autocast(network, tokens))

    expected = own_sq_norms(module, scaled, batch)
    found = per_example_sq_norms(module, scaled, batch)
    unscaled = per_example_sq_norms(module, autocast, batch)
    whole = torch.stack([*expected.values()]).sum(0)
    for name, norms in found.items():
        rounding = 8 * torch.finfo(half).eps  # each example alone is rounded otherwise than in its batch
        assert ((norms - expected[name]).abs() <= rounding * (expected[name] + 1e-3 * whole)).all(), name
        torch.testing.assert_close(norms / scaler.get_scale() ** 2, unscaled[name], rtol=rounding, atol=1e-7)


@HALF
def test_scaling_keeps_half_precision_gradients_from_vanishing(half: torch.dtype) -> None:
    torch.manual_seed(2)
    module, ids = TiedModel().to(half), torch.randint(0, 11, (B, 6))
    batch = ids[:, :-1], ids[:, 1:]
    scale = 2.0**8

    def scaled(network: nn.Module, tokens: Batch) -> Tensor:
        return scale * cross_entropy(network, tokens).float()

    found = per_example_sq_norms(module, scaled, batch)
    exact = per_example_sq_norms(module.float(), cross_entropy, batch)
    whole = torch.stack([*exact.values()]).sum(0)
    for name, norms in found.items():
        error = (norms / scale**2 - exact[name]).abs()
        assert (error <= 0.1 * exact[name] + 1e-2 * whole).all(), name


@pytest.mark.parametrize("parts", [2, 3])
def test_accumulated_batches_are_measured_one_by_one_and_add_up(parts: int) -> None:
    torch.manual_seed(3)
    module, ids = TiedModel(), torch.randint(0, 11, (6 * parts, 6))
    whole = ids[:, :-1], ids[:, 1:]
    expected = per_example_sq_norms(module, cross_entropy, whole)
    parameters = {name: x for name, x in module.named_parameters() if x.requires_grad}
    stream = Stream(module, cross_entropy, parameters, LAYERS)
    norms: dict[str, list[Tensor]] = {name: [] for name in expected}
    for tokens, targets in zip(whole[0].chunk(parts), whole[1].chunk(parts), strict=True):
        kept = {name: None if x.grad is None else x.grad.clone() for name, x in parameters.items()}
        for name, found in per_example_sq_norms(module, cross_entropy, (tokens, targets)).items():
            norms[name].append(found)
        for name, before in kept.items():  # what was accumulated so far is left alone
            grad = parameters[name].grad
            assert (grad is None) == (before is None)
            assert before is None or torch.equal(grad, before)
        drawn = stream.draw((tokens, targets))
        assert drawn is not None
        (cross_entropy(module, (tokens, targets)) / parts).backward()
        for name, parameter in parameters.items():
            total = drawn.grads[name] / parts + (0 if kept[name] is None else kept[name])
            torch.testing.assert_close(parameter.grad, total, rtol=1e-4, atol=1e-6)
    for name, found in norms.items():
        torch.testing.assert_close(torch.cat(found), expected[name], rtol=1e-5, atol=1e-9)
