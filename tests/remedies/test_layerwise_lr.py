import copy
import io
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.models.gpt import GPT, GPTConfig
from gnoise.remedies import LayerwiseLR, lr_multipliers, optimizer_for, param_groups_for
from gnoise.remedies.geometry import Geometry, dual_norm, lmo

CONFIG = GPTConfig(block_size=4, vocab_size=24, n_layer=1, n_head=2, n_embd=8)
noises = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=9)
references = st.sampled_from([None, 1e-3, 1.0, 1e3])


def gpt(dtype: torch.dtype = torch.float32) -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG).to(dtype)


def train(
    model: nn.Module,
    optimizers: list[Any],
    steps: range,
    *,
    micro: int = 1,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for optimizer in optimizers:
            optimizer.zero_grad()
        for _ in range(micro):
            tokens = torch.randint(CONFIG.vocab_size, (2, CONFIG.block_size), generator=generator)
            loss = model(tokens, tokens)[1] / micro
            (scaler.scale(loss) if scaler else loss).backward()
        for optimizer in optimizers:
            scaler.step(optimizer) if scaler else optimizer.step()
        if scaler:
            scaler.update()


def equal(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


def bare(model: nn.Module) -> list[Optimizer]:
    """Build plain Muon and AdamW straight from torch."""
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "wte" not in name and "wpe" not in name]
    tables = [p for name, p in model.named_parameters() if "wte" in name or "wpe" in name]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": tables, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return [torch.optim.Muon(hidden, lr=0.02), torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95))]


@given(noise=noises, reference=references)
def test_multipliers_are_rates_of_the_quietest(noise: list[float], reference: float | None) -> None:
    found = lr_multipliers(noise, reference=reference)
    assert all(0.0 <= x <= 1.0 for x in found)
    assert found[noise.index(min(noise))] == 1.0
    order = sorted(range(len(noise)), key=noise.__getitem__)
    assert all(found[a] >= found[b] for a, b in itertools.pairwise(order))


@given(value=st.floats(0.0, 1e6), count=st.integers(1, 5), reference=references)
def test_equal_noise_gives_ones(value: float, count: int, reference: float | None) -> None:
    assert lr_multipliers([value] * count, reference=reference) == [1.0] * count


@given(noise=noises)
def test_an_infinite_reference_gives_ones(noise: list[float]) -> None:
    assert lr_multipliers(noise, reference=math.inf) == [1.0] * len(noise)


@settings(max_examples=20)
@given(noise=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=6), scale=st.floats(1e-3, 1e3))
def test_the_median_as_reference_knows_no_unit(noise: list[float], scale: float) -> None:
    assert lr_multipliers([scale * x for x in noise]) == pytest.approx(lr_multipliers(noise))


def test_multipliers_by_hand() -> None:
    assert lr_multipliers([0.0, 15.0], reference=1.0) == [1.0, 0.5]
    assert lr_multipliers([1.0, 16.0], reference=1e-9) == pytest.approx([1.0, 0.5])
    assert lr_multipliers([1.0, 1.0, 31.0]) == pytest.approx([1.0, 1.0, 0.5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neutral_is_torch_muon_and_adamw_bit_for_bit(dtype: torch.dtype) -> None:
    ours, theirs = gpt(dtype), gpt(dtype)
    train(ours, [optimizer_for(ours, "muon")], range(100))
    train(theirs, bare(theirs), range(100))
    assert equal(ours, theirs)


def test_muons_coefficients_are_torchs() -> None:
    ours, theirs = gpt(), gpt()
    ours_muon = optimizer_for(ours, "muon")
    muon, adamw = bare(theirs)
    for group in (*ours_muon.param_groups, *muon.param_groups):
        group["ns_coefficients"] = (2.0, -1.5, 0.5)
    train(ours, [ours_muon], range(10))
    train(theirs, [muon, adamw], range(10))
    assert equal(ours, theirs)


def test_a_state_from_before_coefficients_could_be_set_still_loads() -> None:
    whole, again = gpt(), gpt()
    older = optimizer_for(whole, "muon").state_dict()
    for group in older["param_groups"]:
        del group["ns_coefficients"]
    optimizer = optimizer_for(again, "muon")
    optimizer.load_state_dict(older)
    train(whole, [optimizer_for(whole, "muon")], range(3))
    train(again, [optimizer], range(3))
    assert equal(whole, again)


@pytest.mark.parametrize("mode", ["accumulation", "scaler"])
def test_neutral_is_bare_in_every_kind_of_loop(mode: str) -> None:
    models = [gpt(), gpt()]
    for model, optimizers in zip(models, ([optimizer_for(models[0], "muon")], bare(models[1])), strict=True):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8) if mode == "scaler" else None
        train(model, optimizers, range(100), micro=3 if mode == "accumulation" else 1, scaler=scaler)
    assert equal(*models)


def test_neutral_is_bare_for_a_compiled_model() -> None:
    models = []
    for ours in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1, bias=False))
        compiled, data = torch.compile(model, backend="aot_eager"), torch.randn(16, 4)
        hidden = [model[0].weight, model[2].weight]
        groups = [
            {"params": [model[4].weight], "weight_decay": 0.1},
            {"params": [model[0].bias, model[2].bias], "weight_decay": 0.0},
        ]
        apart = [torch.optim.Muon(hidden, lr=0.02), torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95))]
        optimizers = [optimizer_for(compiled, "muon")] if ours else apart
        for _ in range(100):
            model.zero_grad()
            compiled(data).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
        models.append(model)
    assert equal(*models)


def test_sign_and_rms_groups_step_by_hand() -> None:
    start, grad = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 4.0]])
    for geometry in (Geometry.SIGN, Geometry.RMS):
        for nesterov in (False, True):
            weight = nn.Parameter(start.clone())
            group = {"params": [weight], "geometry": str(geometry)}
            optimizer = LayerwiseLR([group], other_lr=0.5, weight_decay=0.2, nesterov=nesterov, reference=math.inf)
            expected = start
            for _ in range(3):
                weight.grad = grad.clone()
                optimizer.step()
                expected = 0.9 * expected + 0.5 * lmo(grad, geometry)  # the momentum is along the gradient
            torch.testing.assert_close(weight.detach(), expected)


def noisy_network(noise: dict[int, float], **settings: Any) -> tuple[LayerwiseLR, list[nn.Parameter]]:
    params = [nn.Parameter(torch.zeros(8, 6)) for _ in range(4)]
    optimizer = LayerwiseLR([{"params": params, "geometry": "spectral"}], every=1, **settings)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        for i, p in enumerate(params):
            p.grad = torch.ones(8, 6) + noise.get(i, 1.0) * torch.randn(8, 6, generator=generator)
        optimizer.step()
    return optimizer, params


def test_a_planted_noisy_layer_gets_the_smaller_rate() -> None:
    optimizer, _ = noisy_network({2: 8.0})
    found = list(optimizer.lr_multipliers().values())
    assert found[2] < 0.55 < 0.9 < min(found[:2] + found[3:])
    assert max(found) == 1.0
    # H of the noisy one is 64 times the others': (2/65)^(1/4) at the median.
    assert found[2] == pytest.approx((2 / 65) ** 0.25, rel=0.05)


def test_equal_layers_keep_nearly_equal_rates() -> None:
    optimizer, _ = noisy_network({})
    assert min(optimizer.lr_multipliers().values()) > 0.95


def test_the_multiplier_is_the_rate() -> None:
    params = [nn.Parameter(torch.zeros(4, 4)) for _ in range(2)]
    optimizer = LayerwiseLR([{"params": params, "geometry": "sign", "lr": 1.0}], every=2, momentum=0.0, reference=1.0)
    for sizes in ((1.0, 1.0), (1.0, 3.0)):
        for p, size in zip(params, sizes, strict=True):
            p.data.zero_()
            p.grad = torch.full((4, 4), size)
        optimizer.step()
    noise = dual_norm(torch.full((4, 4), 2.0), Geometry.SIGN).item() ** 2
    multiplier = lr_multipliers([0.0, noise], reference=1.0)[1]
    torch.testing.assert_close(params[0].detach(), torch.full((4, 4), -1.0))
    torch.testing.assert_close(params[1].detach(), torch.full((4, 4), -multiplier))
    assert optimizer.lr_multipliers() == {"0": 1.0, "1": pytest.approx(multiplier)}


@pytest.mark.parametrize("scale", [1.0, 2.0**10])
def test_halves_measure_the_noise_of_the_whole_batch(scale: float) -> None:
    params = [nn.Parameter(torch.zeros(32, 4)) for _ in range(2)]
    groups = [{"params": params, "geometry": "rms"}]
    optimizer = LayerwiseLR(groups, noise_from="halves", every=1, noise_decay=0.99)
    generator = torch.Generator().manual_seed(0)
    std = (1.0, 3.0)
    for step in range(200):
        optimizer.zero_grad()
        for _ in range(2):
            for p, s in zip(params, std, strict=True):
                half = scale * (step + s * torch.randn(p.shape, generator=generator)) / 2.0  # a mean that drifts
                p.grad = half if p.grad is None else p.grad + half
            optimizer.record_half(scale=scale)
        for p in params:
            p.grad /= scale
        optimizer.step()
    for group, s in zip(optimizer.param_groups, std, strict=True):
        noise = group["noise"] / (1.0 - 0.99**200)
        # Two halves of std s/2 each: variance s²/2 an entry, in the dual norm of 128 entries.
        assert noise == pytest.approx(128 * 128 * s**2 / 2, rel=0.05)


def test_halves_have_to_be_recorded() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    group = {"params": [weight], "geometry": "sign"}
    optimizer = LayerwiseLR([group], noise_from="halves")
    optimizer.record_half()
    with pytest.raises(UserError, match="after each half of the batch, got 1 calls"):
        optimizer.step()
    with pytest.raises(UserError, match="noise_from='halves'"):
        LayerwiseLR([group]).record_half()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["layerwise_lr", "muon"])
@pytest.mark.parametrize("every", [1, 4])
def test_a_checkpoint_resumes_bit_for_bit(dtype: torch.dtype, kind: str, every: int) -> None:
    def made(model: nn.Module) -> Optimizer:
        optimizer = optimizer_for(model, kind)
        for group in optimizer.param_groups:
            group["every"] = every
        return optimizer

    whole, half = gpt(dtype), gpt(dtype)
    train(whole, [made(whole)], range(14))
    first = made(half)
    train(half, [first], range(5))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = made(half)
    second.load_state_dict(torch.load(file, weights_only=True))
    train(half, [second], range(5, 14))
    assert equal(whole, half)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it loads its compiler
def test_a_compiled_step_does_the_same() -> None:
    models = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1))
        optimizer = LayerwiseLR(param_groups_for(model), every=2)
        step = torch.compile(lambda own=optimizer: own.step(), backend="eager") if compiled else optimizer.step
        for data in torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1)):
            optimizer.zero_grad()
            model(data).square().sum().backward()
            step()
        models.append((model, optimizer.lr_multipliers()))
    assert models[0][1] == models[1][1]
    assert all(torch.equal(a, b) for a, b in zip(models[0][0].parameters(), models[1][0].parameters(), strict=True))


def test_a_deep_copy_goes_its_own_way() -> None:
    model = gpt()
    optimizer = optimizer_for(model, "layerwise_lr")
    train(model, [optimizer], range(3))
    twin, copied = copy.deepcopy((model, optimizer))
    train(model, [optimizer], range(3, 6))
    train(twin, [copied], range(3, 6))
    assert equal(model, twin)


def test_schedulers_scale_every_group() -> None:
    model = gpt()
    optimizer = optimizer_for(model, "layerwise_lr", lr=0.04, other_lr=0.002)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    before = [p.detach().clone() for p in model.parameters()]
    train(model, [optimizer], range(1))
    scheduler.step()
    assert sorted({g["lr"] for g in optimizer.param_groups}) == [0.001, 0.02]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    after = [p.detach().clone() for p in model.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    train(model, [optimizer], range(1, 3))
    assert all(torch.equal(a, b) for a, b in zip(after, model.parameters(), strict=True))


def test_a_closure_gives_the_loss() -> None:
    left, right = gpt(), gpt()
    optimizer: Any = optimizer_for(left, "layerwise_lr")
    tokens = torch.arange(4).reshape(1, 4)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = left(tokens, tokens)[1]
        loss.backward()
        return loss

    plain = optimizer_for(right, "layerwise_lr")
    loss = right(tokens, tokens)[1]
    loss.backward()
    plain.step()
    assert torch.equal(optimizer.step(closure), loss)
    assert equal(left, right)


def test_parameters_without_a_gradient_are_passed_over() -> None:
    model = gpt()
    model.transformer["h"][0].attn.requires_grad_(requires_grad=False)
    optimizer = optimizer_for(model, "layerwise_lr")
    assert not any(name.startswith("transformer.h.0.attn") for name in optimizer.lr_multipliers())
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    train(model, [optimizer], range(3))
    name, absent = "transformer.h.0.mlp.c_fc.weight", model.transformer["h"][0].mlp.c_fc.weight
    kept = absent.detach().clone()
    absent.grad = None
    optimizer.step()
    assert torch.equal(absent, kept)
    (group,) = [g for g in optimizer.param_groups if g["param_names"] == [name]]
    assert group["steps"] == 3


def test_a_gradient_that_is_not_finite_never_reaches_the_noise() -> None:
    params = [nn.Parameter(torch.zeros(4, 4)) for _ in range(2)]
    optimizer = LayerwiseLR([{"params": params, "geometry": "spectral"}], every=1)
    generator = torch.Generator().manual_seed(0)
    for step in range(8):
        for p in params:
            p.grad = torch.randn(4, 4, generator=generator)
        if step == 4:
            params[1].grad[0, 0] = math.nan
        optimizer.step()
    assert all(math.isfinite(g["noise"]) for g in optimizer.param_groups)
    assert [g["measurements"] for g in optimizer.param_groups] == [7, 5]
    assert params[0].isfinite().all()
    assert params[1].isnan().all()  # as torch.optim.Muon


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_kernels_step_as_the_flattened_matrix(layout: torch.memory_format) -> None:
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3).to(memory_format=layout))
    flat = nn.Parameter(kernel.detach().flatten(1).clone())
    optimizer = LayerwiseLR([{"params": [kernel], "geometry": "spectral"}], reference=math.inf, nesterov=True)
    muon = torch.optim.Muon([flat], lr=0.02)
    for step in range(5):
        grad = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(step))
        kernel.grad, flat.grad = grad.to(memory_format=layout), grad.flatten(1)
        optimizer.step()
        muon.step()
    if layout is torch.contiguous_format:
        assert torch.equal(kernel.flatten(1), flat)
    torch.testing.assert_close(
        kernel.flatten(1), flat, rtol=0.0, atol=0.02
    )  # columns in another order round differently


def test_sparse_gradients_are_refused() -> None:
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = LayerwiseLR([{"params": [embedding.weight], "geometry": "sign"}], reference=math.inf)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(UserError, match="sparse=False"):
        optimizer.step()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"geometry": None}, "expected a geometry among spectral, sign, rms, adamw"),
        ({"geometry": "cubic"}, "got 'cubic'"),
        ({"shape": (3,)}, r"expected matrices in a spectral group, got shape \(3,\)"),
        ({"reference": 0.0}, "expected reference above 0"),
        ({"noise_from": "thirds"}, "got 'thirds'"),
        ({"every": 0}, "expected every at or above 1"),
        ({"lr": -1.0}, "expected learning rates at or above 0"),
    ],
)
def test_bad_calls_say_what_to_type(arguments: dict[str, Any], message: str) -> None:
    weight = nn.Parameter(torch.zeros(arguments.pop("shape", (2, 2))))
    group = {"params": [weight], "geometry": arguments.pop("geometry", "spectral")}
    with pytest.raises(UserError, match=message):
        LayerwiseLR([group], **arguments)


def test_a_group_may_come_later() -> None:
    first, second = (nn.Parameter(torch.zeros(3, 3)) for _ in range(2))
    optimizer = LayerwiseLR([{"params": [first], "geometry": "spectral"}])
    optimizer.step()
    optimizer.add_param_group({"params": second, "geometry": "spectral", "lr": 1.0, "weight_decay": 0.0})
    second.grad = torch.eye(3)
    optimizer.step()
    torch.testing.assert_close(second.detach(), -torch.eye(3), rtol=0.0, atol=0.4)


def test_adapting_starts_the_measurement() -> None:
    model = gpt()
    optimizer = LayerwiseLR(param_groups_for(model), reference=math.inf)
    train(model, [optimizer], range(2))
    assert set(optimizer.lr_multipliers().values()) == {1.0}
    optimizer.adapt()
    train(model, [optimizer], range(2, 5))
    assert min(optimizer.lr_multipliers().values()) < 1.0


def test_optimizers_by_name() -> None:
    model = gpt()
    adamw = optimizer_for(model, "adamw", weight_decay=0.3)
    assert type(adamw) is torch.optim.AdamW
    assert [(g["weight_decay"], {p.ndim for p in g["params"]}) for g in adamw.param_groups] == [(0.3, {2}), (0.0, {1})]
    assert {g["geometry"] for g in optimizer_for(model, "muon").param_groups} == {"spectral", "adamw"}
    assert {g["geometry"] for g in optimizer_for(model, "layerwise_lr").param_groups} == {"spectral", "sign", "rms"}
    with pytest.raises(UserError, match="got 'lion'"):
        optimizer_for(model, "lion")
    with pytest.raises(UserError, match="got none"):
        optimizer_for(nn.Identity(), "adamw")
