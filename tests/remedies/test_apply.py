import json
import math
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from torch import nn

from gnoise.errors import ExitCode, UserError
from gnoise.formulas import shrink_saturating
from gnoise.records import Kind, Layer, Recommendation, Remedy, RunInfo, Status
from gnoise.remedies import apply, optimizer_for, wrapped
from gnoise.runfile import RunWriter, write_findings

INFO = RunInfo(
    model="toy", source="toy.pt", checkpoint_sha256="0" * 64, data="toy.bin", example="sequence",
    tokens_per_example=7, loss_reduction="mean", draws=16, examples_per_draw=3, dtype="float32",
    training_mode=True, seed=4, device="cpu", world_size=1, parameters=17, versions={"torch": "2"},
    command="gnoise profile toy.pt", created="2026-01-01T00:00:00+00:00",
)  # fmt: skip


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(7, 4)
        self.fc = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.fc(self.wte(x)))


def entry(layer: str | None, remedy: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    scope = "model" if layer is None else "layer"
    return {"scope": scope, "layer": layer, "remedy": remedy, "params": params, "status": "ok", "because": []} | more


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"format": "gnoise.recommendations", "version": 1, "run": {}, "recommendations": list(entries)}


SHRINK = entry("wte.weight", "shrink", {"form": "saturating", "scale": 0.5})
CLIP = entry("fc.bias", "clip", {"clip_value": 0.25})
SLOW = entry("fc.weight", "layerwise_lr", {"lr_multiplier": 0.25})
STABILIZE = entry(None, "stabilize", {"gammas": [0.6, 0.999], "max_ratio": 1.0})
NONE = entry("fc.bias", "none", {})


@pytest.fixture
def model() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def test_each_layer_gets_its_own(model: Tiny) -> None:
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    assert apply(document(STABILIZE, SHRINK, CLIP, SLOW), model, optimizer) is optimizer
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    one = torch.tensor(1.0)
    expected = {
        "wte.weight": 2.0 * shrink_saturating(one, 0.5),
        "fc.bias": 2.0 * 0.25 * one,
        "fc.weight": 0.25 * 2.0 * one / 4.0,  # of 16 entries, norm 4, stabilized to norm 1
    }
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), weights[name] - expected[name])


def test_files_dictionaries_and_aliases_are_the_same(model: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "recommendations.json"
    path.write_text(json.dumps(document({**SHRINK, "layer": "head.weight"}, CLIP)), encoding="utf-8")
    optimizer = torch.optim.AdamW(model.parameters())
    apply(path, torch.compile(nn.DataParallel(model), backend="eager"), optimizer)
    found = {name: made.parameters for name, made in wrapped(optimizer).items()}
    assert found == {"apply:shrink:saturating:given": (model.wte.weight,), "apply:clip:given": (model.fc.bias,)}


def test_an_untold_scale_is_tracked(model: Tiny) -> None:
    optimizer = torch.optim.AdamW(model.parameters())
    apply(document({**SHRINK, "params": {"form": "rational", "scale": None}}), model, optimizer)
    (name,) = wrapped(optimizer)
    assert name == "apply:shrink:rational:tracked"
    model(torch.tensor([[1, 2]])).square().mean().backward()
    optimizer.step()
    assert wrapped(optimizer)[name].state.per_tensor["steps"].tolist() == [1.0]


def test_norms_and_coordinates_are_bounded(model: Tiny) -> None:
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    found = [
        entry("fc.weight", "clip_norm", {"clip_norm": 2.0}),
        entry("fc.bias", "clip", {"coordinates": 2.0}),
        entry(None, "clip_global_norm", {"clip_global_norm": 0.5}),
    ]
    apply(document(*found), model, optimizer)
    for size in (1.0, 10.0):
        for p in model.parameters():
            p.grad = torch.full_like(p, size)
        optimizer.step()
    moved = {name: weights[name] - p.detach() for name, p in model.named_parameters()}
    assert moved["fc.weight"].norm() == pytest.approx(2.0 + 2.0)
    torch.testing.assert_close(moved["fc.bias"], torch.full((4,), 1.0 + 2.0))  # unbounded at first, then 2 √v
    assert moved["wte.weight"].norm() == pytest.approx(0.5 + 0.5)
    with pytest.raises(UserError, match="try clip_norm"):
        apply(document({**found[2], "layer": "fc.bias"}), model, torch.optim.SGD(model.parameters()))


def test_nothing_to_do_changes_nothing(model: Tiny) -> None:
    optimizer = torch.optim.AdamW(model.parameters())
    apply(document(NONE, {**CLIP, "status": "too_few_draws"}), model, optimizer)
    assert wrapped(optimizer) == {}
    assert len(optimizer.param_groups) == 1


def test_multipliers_hold_under_schedules_and_keep_state(model: Tiny) -> None:
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=1.0, weight_decay=0.3)
    apply(document(SLOW), model, optimizer)
    assert [[*g["param_names"]] for g in optimizer.param_groups] == [["wte.weight", "fc.bias"], ["fc.weight"]]
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.3, 0.3]
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
        high, low = (g["lr"] for g in optimizer.param_groups)
        assert low == pytest.approx(0.25 * high)


def test_layerwise_lr_measures_for_itself(model: Tiny) -> None:
    optimizer = optimizer_for(model, "muon", other_lr=1.0)
    apply(document(SLOW, {**SLOW, "layer": "wte.weight"}), model, optimizer)
    of = {name: group for group in optimizer.param_groups for name in group["param_names"]}
    assert of["fc.weight"]["reference"] is None
    assert "lr_multiplier" not in of["fc.weight"]
    assert of["wte.weight"]["lr"] == 0.25
    for step in range(3):
        model(torch.tensor([[step, 2]])).square().mean().backward()
        optimizer.step()
    assert of["fc.weight"]["measurements"] == 1


def test_plain_muon_gets_the_multiplier(model: Tiny) -> None:
    optimizer = torch.optim.Muon([model.fc.weight], lr=1.0)
    apply(document(SLOW), model, optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25]


def test_a_scheduler_must_come_later(model: Tiny) -> None:
    optimizer = torch.optim.AdamW(model.parameters())
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    with pytest.raises(UserError, match="before the scheduler"):
        apply(document(SLOW), model, optimizer)
    assert len(optimizer.param_groups) == 1


def test_a_whole_group_keeps_its_place(model: Tiny) -> None:
    optimizer = torch.optim.SGD([{"params": [model.fc.weight]}, {"params": [model.fc.bias, model.wte.weight]}], lr=1.0)
    apply(document(SLOW), model, optimizer)
    assert [g["lr"] for g in optimizer.param_groups] == [0.25, 1.0]


def test_a_run_resumes_bit_for_bit() -> None:
    def steps(model: Tiny, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            optimizer.zero_grad()
            batch = torch.randint(7, (2, 3), generator=torch.Generator().manual_seed(number))
            model(batch).square().mean().backward()
            optimizer.step()

    def start() -> tuple[Tiny, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = Tiny()
        tracked = {**SHRINK, "params": {"form": "saturating", "scale": None}}
        return model, apply(document(STABILIZE, tracked, SLOW), model, torch.optim.AdamW(model.parameters()))

    whole, optimizer = start()
    steps(whole, optimizer, range(8))
    half, first = start()
    steps(half, first, range(3))
    resumed, second = start()
    resumed.load_state_dict(half.state_dict())
    second.load_state_dict(first.state_dict())
    steps(resumed, second, range(3, 8))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize(
    ("recommendations", "message"),
    [
        (document(entry("fc.wieght", "clip", {"clip_value": 1.0})), "nearest is fc.weight"),
        (document({**SHRINK, "shape": [9, 4]}), r"expected wte.weight of shape \[9, 4\], .* got \[7, 4\]; try"),
        (document({**SHRINK, "params": {"form": "saturating", "rows": 1}}), "expected rows to be true or false"),
        (
            document(entry("fc.bias", "clip", {"limit": 1.0})),
            "params clip_value, coordinates for clip, got limit",
        ),
        (document(entry("fc.bias", "clip", {"clip_value": -1.0})), "expected clip_value above 0 for fc.bias"),
        (document(entry("fc.bias", "clip", {"clip_value": math.inf})), "expected clip_value above 0 for fc.bias"),
        (document(entry("fc.bias", "shrink", {"form": "cubic", "scale": 1.0})), "got 'cubic'"),
        (document(entry(None, "stabilize", {"gammas": 0.5})), "expected two gammas for the model"),
        (document(entry(None, "layerwise_lr", {"lr_multiplier": 0.5})), "expected a layer for layerwise_lr"),
        (document(SHRINK, CLIP, {**CLIP, "remedy": "stabilize", "params": {}}), "got several"),
        (document(CLIP, CLIP), "expected clip once for fc.bias, got it twice"),
        (document(STABILIZE, {**STABILIZE, "params": {}}), "expected stabilize once for the model, got it twice"),
        (
            document({**SLOW, "layer": "wte.weight"}, {**SLOW, "layer": "head.weight"}),
            "expected one layerwise_lr a layer, got several",
        ),
        (document(entry("fc.bias", "clip", {"clip_value": 10**400})), "expected clip_value above 0 for fc.bias"),
    ],
)
def test_wrong_settings_change_nothing(model: Tiny, recommendations: dict[str, Any], message: str) -> None:
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(UserError, match=message) as caught:
        apply(recommendations, model, optimizer)
    assert caught.value.exit_code is ExitCode.USAGE
    assert wrapped(optimizer) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON or a run file"),
        ("[]", "got list"),
        ('{"format": "gnoise.show", "version": 1}', "got 'gnoise.show'"),
        ('{"format": "gnoise.recommendations", "version": 2}', "expected version 1 .* got 2; try a newer gnoise"),
        ('{"format": "gnoise.recommendations", "version": 1}', "expected a list of recommendations"),
        ('{"format": "gnoise.recommendations", "version": 1, "recommendations": [3]}', "to be objects"),
        (json.dumps(document(entry("a", "pray", {}))), "got 'pray'"),
        (json.dumps(document({"remedy": "clip", "params": {"clip_value": 1.0}})), "expected a layer, or null for the"),
        (json.dumps(document({**CLIP, "shape": ["x"]})), "expected a shape like .* for fc.bias, got .'x'."),
        (json.dumps(document({**CLIP, "shape": "4"})), "expected a shape like .* for fc.bias, got '4'"),
        (json.dumps(document({**CLIP, "status": "fine"})), "expected a known status for fc.bias, got 'fine'"),
    ],
)
def test_unreadable_files(model: Tiny, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recommendations.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        apply(path, model, torch.optim.AdamW(model.parameters()))
    assert caught.value.exit_code is ExitCode.UNREADABLE


def test_missing_file(model: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; try gnoise export"):
        apply(tmp_path / "none.json", model, torch.optim.AdamW(model.parameters()))


def test_an_optimizer_of_another_model(model: Tiny) -> None:
    with pytest.raises(UserError, match=r"expected the optimizer to hold fc\.bias"):
        apply(document(CLIP), model, torch.optim.AdamW(Tiny().parameters()))


def test_arguments_in_another_order(model: Tiny) -> None:
    with pytest.raises(UserError, match=r"expected a torch\.optim optimizer, got Tiny; try gnoise\.apply"):
        apply(document(CLIP), torch.optim.AdamW(model.parameters()), model)


def test_an_optimizer_that_accelerate_prepared(model: Tiny) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    prepared, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1.0))
    apply(document(CLIP, SLOW), prepared, optimizer)
    before = model.fc.bias.detach().clone()
    accelerator.backward(100.0 * prepared(torch.tensor([[1, 2]])).sum())
    optimizer.step()
    torch.testing.assert_close((model.fc.bias.detach() - before).abs(), torch.full((4,), 0.25))
    assert list(wrapped(optimizer)) == list(optimizer.state_dict().get("gnoise.remedies", {})) == ["apply:clip:given"]
    with pytest.raises(UserError, match="without recommendations"):
        apply(document(CLIP), prepared, optimizer)


@pytest.mark.parametrize("again", [CLIP, SLOW])
def test_twice_is_refused(model: Tiny, again: dict[str, Any]) -> None:
    optimizer = apply(document(again), model, torch.optim.AdamW(model.parameters()))
    with pytest.raises(UserError, match="expected an optimizer without recommendations"):
        apply(document(again), model, optimizer)


def test_a_run_file_will_do(model: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gnoise"
    layers = [Layer(name, Kind.OTHER, tuple(p.shape)) for name, p in model.named_parameters()]
    RunWriter(path, info=INFO, layers=layers).close()
    params = {"gammas": [0.7, 0.9], "max_ratio": 2.0}
    found = Recommendation("model", None, Remedy.STABILIZE, params, Status.OK, "spikes", ())
    write_findings(path, [], [found])
    optimizer = apply(path, model, torch.optim.AdamW(model.parameters()))
    assert {name: len(x.parameters) for name, x in wrapped(optimizer).items()} == {
        "apply:stabilize:0.7:0.9:2:others": 3
    }
