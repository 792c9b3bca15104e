import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5EncoderModel,
)

from gnoise.errors import UserError
from gnoise.kernels import use_fused_norms


class Block(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        norms = (nn.LayerNorm(8), nn.RMSNorm(8), nn.LayerNorm(8, bias=False), nn.RMSNorm(8, eps=1e-3))
        self.blocks = nn.ModuleList(Block(norm) for norm in norms)
        self.head = nn.Linear(8, 3)
        self.checkpointed: bool | None = None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x) if self.checkpointed is None else checkpoint(block, x, use_reentrant=self.checkpointed)
        return self.head(x)


NAMES = ["blocks.0.norm.weight", "blocks.0.norm.bias", *[f"blocks.{i}.norm.weight" for i in (1, 2, 3)]]


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    made = Network()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(1))


def loss_of(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return model(x).square().mean()


def gradients(model: nn.Module, run: Callable[[], Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    run().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def alone(model: nn.Module, names: list[str], run: Callable[[int], Tensor], examples: int) -> dict[str, Tensor]:
    """Square norms from one backward pass per example."""
    found = [gradients(model, lambda i=i: run(i)) for i in range(examples)]
    return {name: torch.stack([g[name].square().sum() for g in found]) for name in names}


def test_norms_gradients_and_outputs_are_those_of_the_bare_model(network: Network, x: Tensor) -> None:
    expected = alone(network, NAMES, lambda i: loss_of(network, x[i : i + 1]), len(x))
    output, bare = network(x), gradients(network, lambda: loss_of(network, x))
    with use_fused_norms(network) as norms:
        assert sorted(norms.names) == sorted(NAMES)
        assert norms.left_alone == ()
        assert torch.equal(network(x), output)
        fused = gradients(network, lambda: loss_of(network, x))
        found = norms.take()
    torch.testing.assert_close(fused, bare, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close({name: found[name] for name in NAMES}, expected, rtol=1e-5, atol=1e-10)
    assert use_fused_norms(network).take() == {}


def test_removal_leaves_nothing(network: Network, x: Tensor) -> None:
    before = {name: dict(module.__dict__) for name, module in network.named_modules()}
    types, state = [type(m) for m in network.modules()], copy.deepcopy(network.state_dict())
    bare = gradients(network, lambda: loss_of(network, x))
    norms = use_fused_norms(network)
    assert list(network.state_dict()) == list(state)
    gradients(network, lambda: loss_of(network, x))
    norms.remove()
    after = {name: dict(module.__dict__) for name, module in network.named_modules()}
    assert {name: set(x) for name, x in after.items()} == {name: set(x) for name, x in before.items()}
    assert [type(m) for m in network.modules()] == types
    again = gradients(network, lambda: loss_of(network, x))
    assert all(torch.equal(again[name], bare[name]) for name in bare)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_measures_once(network: Network, x: Tensor, reentrant: bool) -> None:
    with use_fused_norms(network) as norms:
        gradients(network, lambda: loss_of(network, x))
        plain = norms.take()
        network.checkpointed = reentrant
        gradients(network, lambda: loss_of(network, x.clone().requires_grad_()))
        torch.testing.assert_close(norms.take(), plain)


def test_accumulated_micro_batches_follow_each_other(network: Network, x: Tensor) -> None:
    with use_fused_norms(network) as norms:
        gradients(network, lambda: loss_of(network, x))
        whole = norms.take()
        for part in x.split(2):
            (loss_of(network, part) / 3).backward()
        torch.testing.assert_close(norms.take(), whole, rtol=1e-5, atol=1e-10)


def test_weights_and_loss_scale_are_divided_out(network: Network, x: Tensor) -> None:
    weights = torch.tensor([0.5, 1.0, 2.0, 0.1, 0.3, 0.7])
    with use_fused_norms(network) as norms:
        gradients(network, lambda: loss_of(network, x))
        expected = norms.take()
        each = network(x).square().mean((1, 2))
        (1024.0 * (each * weights).sum()).backward()
        torch.testing.assert_close(norms.take(weights, loss_scale=1024.0), expected, rtol=1e-5, atol=1e-10)
        gradients(network, lambda: loss_of(network, x))
        with pytest.raises(UserError, match="one weight for each of 6 examples"):
            norms.take(weights[:3])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_neither_output_nor_types(network: Network, x: Tensor, dtype: torch.dtype) -> None:
    def run() -> Tensor:
        with torch.autocast("cpu", dtype=dtype):
            return loss_of(network, x).float()

    bare = gradients(network, run)
    expected = alone(network, NAMES, lambda i: loss_of(network, x[i : i + 1]), len(x))
    with torch.autocast("cpu", dtype=dtype):
        output = network(x)
    with use_fused_norms(network) as norms:
        with torch.autocast("cpu", dtype=dtype):
            assert torch.equal(network(x), output)
        fused = gradients(network, run)
        found = norms.take()
    torch.testing.assert_close(fused, bare, rtol=0.05, atol=2e-3)
    torch.testing.assert_close({name: found[name] for name in NAMES}, expected, rtol=0.1, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_of_another_type_keeps_it(network: Network, x: Tensor, dtype: torch.dtype) -> None:
    network, x = network.to(dtype), x.to(dtype)
    bare = gradients(network, lambda: loss_of(network, x))
    with use_fused_norms(network) as norms:
        fused = gradients(network, lambda: loss_of(network, x))
        assert {norms.dtype for norms in norms.take().values()} == {torch.promote_types(dtype, torch.float32)}
    near = {"rtol": 0.05, "atol": 1e-2} if dtype is torch.bfloat16 else {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(fused, bare, **near)


# What torch warns of in its own doing while it traces.
traced = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*not a leaf Tensor:UserWarning")


@traced
@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_compiled_models_are_measured_without_a_break(network: Network, x: Tensor, whole: bool) -> None:
    torch._dynamo.reset()
    bare = gradients(network, lambda: loss_of(network, x))
    with use_fused_norms(network) as norms:
        gradients(network, lambda: loss_of(network, x))
        expected = norms.take()
        if whole:
            compiled: Callable[[Tensor], Tensor] = torch.compile(network, fullgraph=True)
        else:
            for block in network.blocks:
                block.compile(fullgraph=True, backend="aot_eager")  # inductor is tried on the whole
            compiled = network
        for _ in range(2):
            fused = gradients(network, lambda: loss_of(compiled, x))
            torch.testing.assert_close(norms.take(), expected, rtol=1e-5, atol=1e-10)
            torch.testing.assert_close(fused, bare, rtol=1e-5, atol=1e-7)
    torch._dynamo.reset()


@traced
@pytest.mark.slow
def test_blocks_compiled_one_by_one_share_their_code() -> None:
    def graphs(model: nn.Module) -> int:
        torch._dynamo.reset()
        counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
        for block in model.children():
            block.compile(backend=counter, fullgraph=True)
        model(torch.randn(4, 3, 8)).square().mean().backward()
        return counter.frame_count

    def blocks() -> nn.Module:
        return nn.Sequential(*(Block(nn.LayerNorm(8)) for _ in range(12)))

    bare, fused = graphs(blocks()), blocks()
    with use_fused_norms(fused) as norms:
        assert graphs(fused) == bare
        assert len(norms.take()) == 24
    torch._dynamo.reset()


def tiny(kind: str) -> nn.Module:
    sizes = {"vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": None}
    torch.manual_seed(0)
    match kind:
        case "gpt2":
            return GPT2LMHeadModel(GPT2Config(vocab_size=31, n_embd=16, n_layer=2, n_head=2))
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**sizes, **heads))
        case "gemma2":
            return Gemma2ForCausalLM(Gemma2Config(**sizes, **heads, head_dim=8))
        case "cohere":
            return CohereForCausalLM(CohereConfig(**sizes, **heads))
        case _:
            return T5EncoderModel(T5Config(vocab_size=31, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2))


@pytest.mark.parametrize(("kind", "layers"), [("gpt2", 5), ("llama", 5), ("gemma2", 9), ("cohere", 3), ("t5", 5)])
def test_transformers_norms_are_measured(kind: str, layers: int) -> None:
    model = tiny(kind).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    ids = torch.randint(0, 31, (4, 7), generator=torch.Generator().manual_seed(0))

    def run(examples: slice) -> Tensor:
        out = model(input_ids=ids[examples])
        return (out[0] if kind == "t5" else out.logits).square().mean()

    bare = gradients(model, lambda: run(slice(None)))
    with use_fused_norms(model) as norms:
        assert len({name.rpartition(".")[0] for name in norms.names}) == layers
        assert norms.left_alone == ()
        fused = gradients(model, lambda: run(slice(None)))
        found = norms.take()
    torch.testing.assert_close(fused, bare, rtol=1e-4, atol=1e-6)
    expected = alone(model, list(found), lambda i: run(slice(i, i + 1)), 4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-10)


class NamedRMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.eps = 1e-6

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x / (x.abs().mean(-1, keepdim=True) + self.eps)


def test_what_is_only_called_a_norm_is_left_alone_and_named(x: Tensor) -> None:
    model = nn.Sequential(NamedRMSNorm(), nn.LayerNorm(8))
    with use_fused_norms(model) as norms:
        assert norms.left_alone == ("0",)
        assert norms.names == ("1.weight", "1.bias")


def test_what_cannot_be_measured_is_refused(network: Network, x: Tensor) -> None:
    with pytest.raises(UserError, match=r"got none; try gnoise.collect.per_example"):
        use_fused_norms(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8, elementwise_affine=False)))
    norm = nn.LayerNorm(8)
    twice = nn.Sequential(norm, nn.Linear(8, 8), norm)
    with use_fused_norms(twice) as norms:
        twice(x).square().mean().backward()
        with pytest.raises(UserError, match=r"used once in a step, got '0.weight' more often"):
            norms.take()
    other = nn.LayerNorm(8)
    other.weight = norm.weight
    with pytest.raises(UserError, match="weights of their own, got '1'"):
        use_fused_norms(nn.Sequential(norm, other))
    flattened = nn.Sequential(nn.LayerNorm(8), nn.Flatten(0, 1), nn.LayerNorm(8))
    with use_fused_norms(flattened) as norms:
        flattened(x).square().sum().backward()
        with pytest.raises(UserError, match=r"got 6 in .* and 30 in"):
            norms.take()
    with use_fused_norms(network), pytest.raises(UserError, match="patched or changed already"):
        use_fused_norms(network)


def test_gradients_of_gradients_are_refused_not_wrong(network: Network, x: Tensor) -> None:
    x = x.requires_grad_()
    with use_fused_norms(network):
        (slope,) = torch.autograd.grad(loss_of(network, x), x, create_graph=True)
        with pytest.raises(RuntimeError, match="differentiate twice"):
            slope.square().sum().backward()


def test_no_gradients_no_record(network: Network, x: Tensor) -> None:
    with use_fused_norms(network) as norms, torch.no_grad():
        network(x)
        assert norms.take() == {}
