"""Per-example norms of compiled networks: read as written, and compiled again afterwards."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gnoise.collect.draws import DrawEngine
from gnoise.collect.layers import trainable_parameters
from gnoise.collect.per_example import LAYERS, measure
from gnoise.collect.per_example.stream import Stream
from gnoise.collect.workload import Batch, Workload
from tests.collect.test_per_example import B, agree, squared_outputs
from tests.collect.workloads import TiedModel, cross_entropy

PREFIX = "_orig_mod."
# torch's own, from the compiler's insides.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]


class Checkpointed(TiedModel):
    """A tied head, a frozen weight, and activations that are computed twice."""

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.wte(tokens_BT) + self.position
        x_BTD = checkpoint(lambda x: x + torch.tanh(self.h[0](x)), x_BTD, use_reentrant=False)
        return self.lm_head(self.ln(x_BTD) * self.frozen)


def _whole(module: nn.Module, backend: str) -> nn.Module:
    return torch.compile(module, backend=backend)  # pyright: ignore[reportReturnType]


def _in_place(module: nn.Module, backend: str) -> nn.Module:
    module.compile(backend=backend)
    return module


def _one_layer(module: nn.Module, backend: str) -> nn.Module:
    layers = module.get_submodule("h")
    assert isinstance(layers, nn.ModuleList)
    layers[0] = torch.compile(layers[0], backend=backend)
    return module


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    torch._dynamo.reset()


def _counted(module: nn.Module, batch: Batch) -> Tensor:
    """Take the gradient of the compiled network, one number for each parameter."""
    grads = torch.autograd.grad(cross_entropy(module, batch), [p for p in module.parameters() if p.requires_grad])
    return torch.stack([grad.norm() for grad in grads])


@pytest.mark.parametrize(
    ("made", "backend"),
    [
        *((made, backend) for made in (_whole, _in_place, _one_layer) for backend in ("eager", "aot_eager")),
        (_whole, "inductor"),
    ],
)
@pytest.mark.parametrize("network", [TiedModel, Checkpointed])
def test_compiled_networks_are_read_as_written(
    network: Callable[[], nn.Module], made: Callable[[nn.Module, str], nn.Module], backend: str
) -> None:
    torch.manual_seed(0)
    plain = network()
    ids = torch.randint(0, 11, (B, 6))
    batch = ids[:, :-1], ids[:, 1:]
    expected = measure(plain, cross_entropy, batch, layers=LAYERS)
    compiled = made(plain, backend)
    before = _counted(compiled, batch)
    measured = agree(compiled, cross_entropy, batch)
    assert [name.replace(PREFIX, "") for name in measured.sq_norms] == list(expected.sq_norms)
    assert not any("frozen" in name for name in measured.sq_norms)
    for (name, norms), same in zip(measured.sq_norms.items(), expected.sq_norms.values(), strict=True):
        torch.testing.assert_close(norms, same, rtol=1e-5, atol=1e-9)
        assert measured.methods[name] == expected.methods[name.replace(PREFIX, "")]
    torch.testing.assert_close(_counted(compiled, batch), before)


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_a_compiled_loss_is_read_as_written(backend: str) -> None:
    torch.manual_seed(1)
    module, batch = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(B, 3, 4)
    loss = torch.compile(squared_outputs, backend=backend)
    loss(module, batch).backward()
    module.zero_grad()
    measured = measure(module, loss, batch, layers=LAYERS)
    expected = measure(module, squared_outputs, batch, layers=LAYERS)
    assert measured.methods == expected.methods
    for name, norms in measured.sq_norms.items():
        torch.testing.assert_close(norms, expected.sq_norms[name])


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_draws_of_a_compiled_network(backend: str) -> None:
    torch.manual_seed(2)
    plain = TiedModel()
    ids = torch.randint(0, 11, (B, 6))
    batch = ids[:, :-1], ids[:, 1:]
    parameters = {name: p for name, p in plain.named_parameters() if p.requires_grad}
    expected = Stream(plain, cross_entropy, parameters, LAYERS).draw(batch)
    assert expected is not None
    compiled = torch.compile(plain, backend=backend)
    engine = DrawEngine(
        Workload(compiled, cross_entropy, lambda examples, seed: iter(())), trainable_parameters(compiled)
    )
    with engine.attached():
        engine.check(batch)
        assert engine.in_one_pass
        found = engine.draw(batch)
        for row, name in enumerate(parameters):
            grad = parameters[name].grad
            assert grad is not None
            torch.testing.assert_close(grad, expected.grads[name], rtol=1e-5, atol=1e-8)
            torch.testing.assert_close(
                torch.from_numpy(found.example_sq_norms[row]).float(), expected.sq_norms[name], rtol=1e-5, atol=1e-9
            )
