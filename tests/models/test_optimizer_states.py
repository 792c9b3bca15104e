"""Whose an optimizer's state is: torch's own by making them, others' by what their makers save."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gnoise.models.hyperparameters import hyperparameters
from gnoise.models.moments import optimizer_state, second_moments
from gnoise.models.muons import AdamWStep, MuonStep
from gnoise.models.optimizer_states import optimizer_groups
from gnoise.models.steps import OptimizerSteps, optimizer_steps
from gnoise.remedies import optimizer_for

MOMENTUM = {"momentum_buffer": torch.ones(4, 4)}
ADAM = {"step": 3, "exp_avg": torch.ones(4), "exp_avg_sq": torch.ones(4)}

Made = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
TORCHS: dict[str, Made] = {
    "AdamW": torch.optim.AdamW,
    "Adam": torch.optim.Adam,
    "SGD": lambda params: torch.optim.SGD(params, momentum=0.9),
    "Muon": torch.optim.Muon,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "Adamax": torch.optim.Adamax,
    "RMSprop": torch.optim.RMSprop,
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "Adafactor": torch.optim.Adafactor,
    "ASGD": torch.optim.ASGD,
    "Rprop": torch.optim.Rprop,
}


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))


def _stepped(network: nn.Module, *optimizers: torch.optim.Optimizer) -> list[dict[str, Any]]:
    network(torch.randn(5, 4)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()
    return [optimizer.state_dict() for optimizer in optimizers]


def _muon_and_adamw() -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """Muon steps the matrices, AdamW the vectors, the common way with two optimizers."""
    network = _network()
    muon = torch.optim.Muon([p for p in network.parameters() if p.ndim == 2], lr=0.02, weight_decay=0.01)
    adamw = torch.optim.AdamW([p for p in network.parameters() if p.ndim < 2], lr=3e-4, betas=(0.8, 0.95), eps=1e-10)
    of_muon, of_adamw = _stepped(network, muon, adamw)
    return network, of_muon, of_adamw


MUON = {"name": "Muon", "lr": 0.02, "momentum": 0.95, "weight_decay": 0.01, "betas": [0.8, 0.95], "eps": 1e-10}


def _state(*groups: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """A ``state_dict`` of one parameter a group, from settings and what is kept."""
    return {
        "state": {number: kept for number, (_, kept) in enumerate(groups)},
        "param_groups": [{**settings, "params": [number]} for number, (settings, _) in enumerate(groups)],
    }


@pytest.mark.parametrize("name", TORCHS)
@pytest.mark.parametrize("steps", [0, 1])
def test_torchs_own_are_told_apart(name: str, steps: int) -> None:
    parameter = nn.Parameter(torch.zeros(4, 4))
    optimizer = TORCHS[name]([parameter])
    for _ in range(steps):
        parameter.grad = torch.ones(4, 4)
        optimizer.step()
    expected = "AdamW" if name == "Adamax" and not steps else name  # its state alone tells
    assert hyperparameters({"optimizer": optimizer.state_dict()})["name"] == expected


@pytest.mark.parametrize(
    "hold",
    [
        lambda muon, adamw: {"optimizers": [adamw, muon]},  # modded-nanogpt
        lambda muon, adamw: {"optimizers": {"adamw": adamw, "muon": muon}},
        lambda muon, adamw: {"optimizer": {"muon_optimizer": muon, "adamw_optimizer": adamw}},
        lambda muon, adamw: {"muon_optimizer": muon, "adamw_optimizer": adamw},
        lambda muon, adamw: {"optimizer_states": [muon, adamw], "pytorch-lightning_version": "2.5"},
        lambda muon, adamw: {"optimizer_state_dict": (muon, adamw)},
    ],
)
def test_muon_beside_adamw_is_found_however_they_are_held(hold: Callable[..., dict[str, Any]]) -> None:
    network, muon, adamw = _muon_and_adamw()
    assert hyperparameters({"model": network.state_dict(), **hold(muon, adamw), "step": 7}) == MUON | {"iteration": 7}


JORDANS = _state(
    ({"lr": 3e-4, "betas": (0.8, 0.95), "eps": 1e-10, "weight_decay": 0.0, "use_muon": False}, ADAM),
    ({"lr": 0.02, "momentum": 0.95, "weight_decay": 0.01, "use_muon": True}, MOMENTUM),
)
MOONLIGHTS = _state(
    (
        {"lr": 0.02, "wd": 0.01, "momentum": 0.95, "ns_steps": 5, "adamw_betas": (0.8, 0.95), "adamw_eps": 1e-10},
        MOMENTUM | {"use_muon": True},
    )
)
DIONS = _state(
    ({"lr": 3e-4, "betas": (0.8, 0.95), "eps": 1e-10, "algorithm": "adamw"}, {}),
    ({"lr": 0.02, "mu": 0.95, "weight_decay": 0.01, "algorithm": "muon"}, {}),
)
NANOCHATS = _state(
    ({"kind": "adamw", "lr": 3e-4, "betas": (0.8, 0.95), "eps": 1e-10, "weight_decay": 0.0}, ADAM),
    ({"kind": "muon", "lr": 0.02, "momentum": 0.95, "ns_steps": 5, "beta2": 0.9, "weight_decay": 0.01}, MOMENTUM),
)
PLAIN = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.01}


@pytest.mark.parametrize("state", [JORDANS, MOONLIGHTS, DIONS, NANOCHATS])
def test_muon_with_adamw_in_one_optimizer(state: dict[str, Any]) -> None:
    assert hyperparameters({"optimizer": state}) == MUON


def test_plain_momentum_is_muons_where_only_matrices_have_it_or_its_name_says_so() -> None:
    of_vector = {"momentum_buffer": torch.ones(4)}
    assert hyperparameters({"optimizer": _state((PLAIN, MOMENTUM))})["name"] == "Muon"
    assert hyperparameters({"optimizers": {"muon": _state((PLAIN, {}))}})["name"] == "Muon"
    for state in (_state((PLAIN, {})), _state((PLAIN, MOMENTUM), (PLAIN, of_vector)), _state((PLAIN, of_vector))):
        names = [group.name for groups in optimizer_groups({"optimizer": state}) for group in groups]
        assert names[-1] == ""


def test_gnoises_own_muon_comes_back_with_its_settings_and_what_adamw_keeps() -> None:
    network = _network()
    (state,) = _stepped(network, optimizer_for(network, "muon"))
    found = hyperparameters({"optimizer": state})
    assert (found["name"], found["lr"], found["momentum"]) == ("Muon", 0.02, 0.95)
    vectors = {name for name, parameter in network.named_parameters() if parameter.ndim < 2}
    moments = second_moments({"optimizer": state}, network)
    assert vectors <= moments.keys() < dict(network.named_parameters()).keys()


def test_older_adamw_and_lion() -> None:
    older = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1, "amsgrad": False}
    assert hyperparameters({"optimizer": _state((older, ADAM))})["name"] == "AdamW"
    assert hyperparameters({"optimizer": _state((older, {}))})["name"] == "AdamW"
    lion = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 1.0}
    assert hyperparameters({"optimizer": _state((lion, {"exp_avg": torch.ones(4)}))})["name"] == "Lion"
    assert "name" not in hyperparameters({"optimizer": _state((lion, {}))})


def test_a_configuration_names_what_no_state_tells() -> None:
    assert hyperparameters({"config": {"optimizer": "Muon"}})["name"] == "Muon"
    assert "name" not in hyperparameters({"config": {"optimizer": {"lr": 1e-3}}})
    _, muon, _ = _muon_and_adamw()
    assert hyperparameters({"config": {"optimizer": "adamw"}, "optimizer": muon})["name"] == "Muon"


def test_a_rate_of_zero_is_left_to_the_configuration() -> None:
    network = _network()
    (state,) = _stepped(network, torch.optim.AdamW(network.parameters(), lr=0.0))
    assert "lr" not in hyperparameters({"optimizer": state})
    assert hyperparameters({"optimizer": state, "config": {"learning_rate": 6e-4}})["lr"] == 6e-4


def test_state_of_several_optimizers_goes_to_their_parameters() -> None:
    network, muon, adamw = _muon_and_adamw()
    held = {"optimizers": [muon, adamw]}
    kept: dict[str, dict[str, Tensor]] = optimizer_state(held, network)
    assert kept.keys() == dict(network.named_parameters()).keys()
    assert {name for name, entry in kept.items() if "momentum_buffer" in entry} == {"0.weight", "2.weight"}
    torch.testing.assert_close(second_moments(held, network)["1.bias"], adamw["state"][2]["exp_avg_sq"] / (1.0 - 0.95))


def _moonlights() -> tuple[nn.Module, dict[str, Any]]:
    """Matrices by Muon, vectors by Adam under names of its own, in one group."""
    network = _network()
    kept: dict[int, dict[str, Any]] = {}
    for number, parameter in enumerate(network.parameters()):
        full = torch.full_like(parameter, 1.0 + number).detach()
        adam = {"use_muon": False, "step": 3, "moment1": full, "moment2": full}
        kept[number] = {"use_muon": True, "momentum_buffer": full} if parameter.ndim == 2 else adam
    settings = {"lr": 0.02, "wd": 0.01, "momentum": 0.95, "nesterov": True, "ns_steps": 6}
    settings |= {"adamw_betas": (0.8, 0.9), "adamw_eps": 1e-10, "params": [*range(len(kept))]}
    return network, {"optimizer": {"state": kept, "param_groups": [settings]}}


def test_moonlights_state_comes_in_torchs_terms() -> None:
    network, held = _moonlights()
    kept = optimizer_state(held, network)
    torch.testing.assert_close(kept["0.weight"]["momentum_buffer"], torch.full((4, 4), 1.0 * 0.05))  # of a sum of 1
    torch.testing.assert_close(kept["0.bias"]["exp_avg"], torch.full((4,), 2.0))
    moments = second_moments(held, network)
    assert moments.keys() == {name for name, x in network.named_parameters() if x.ndim == 1}
    torch.testing.assert_close(moments["0.bias"], torch.full((4,), 2.0 / (1.0 - 0.9**3)))
    steps = optimizer_steps(held, network).by_name
    assert steps["0.bias"] == AdamWStep(lr=0.02, weight_decay=0.01, betas=(0.8, 0.9), eps=1e-10)
    jordans = (3.4445, -4.7750, 2.0315)
    assert steps["0.weight"] == MuonStep(0.02, 0.01, 0.95, True, 6, jordans, "match_rms_adamw")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"beta2": 0.9},
            "steps 0.weight (4 × 4) by Muon with the settings adamw_betas, adamw_eps, beta2, lr",
        ),  # NorMuon
        ({"backend_steps": 5}, "steps 0.weight (4 × 4) by Muon"),
        ({"adamw_eps": None}, "steps 0.weight (4 × 4) by Muon"),
        ({"lr": 0.0}, "learning rate has ended at zero"),
    ],
)
def test_a_muon_that_may_step_otherwise_is_not_taken_up(changes: dict[str, Any], said: str) -> None:
    network, held = _moonlights()
    (settings,) = held["optimizer"]["param_groups"]
    settings |= {key: value for key, value in changes.items() if value is not None}
    for key in [key for key, value in changes.items() if value is None]:
        del settings[key]
    steps = optimizer_steps(held, network)
    assert steps.by_name == {}
    assert said in steps.missing


def test_what_steps_beside_muon_is_torchs_adamw_or_nothing_is_taken_up() -> None:
    network, muon, adamw = _muon_and_adamw()
    assert optimizer_steps({"optimizers": [muon, adamw]}, network).missing == ""
    empty = [torch.optim.Muon([x for x in network.parameters() if x.ndim == 2]).state_dict()]
    assert optimizer_steps({"optimizers": empty}, network).missing == "whose state is not in the checkpoint"
    adamw["param_groups"][0]["amsgrad"] = True
    assert "steps 0.bias (4) by AdamW" in optimizer_steps({"optimizers": [muon, adamw]}, network).missing
    (plain,) = _stepped(network, torch.optim.SGD([x for x in network.parameters() if x.ndim < 2], momentum=0.9))
    assert "steps 0.bias (4) by SGD" in optimizer_steps({"optimizers": [muon, plain]}, network).missing


def test_gnoises_own_muon_is_taken_up_while_it_follows_no_noise() -> None:
    network = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 40, 2), nn.Flatten(), nn.Linear(40, 40))
    network.append(nn.Linear(40, 3))
    (state,) = _stepped(network, optimizer_for(network, "muon"))
    steps = optimizer_steps({"optimizer": state}, network).by_name
    assert {name for name, step in steps.items() if isinstance(step, MuonStep)} == {"1.weight", "3.weight"}
    assert optimizer_state({"optimizer": state}, network)["1.weight"]["momentum_buffer"].shape == (40, 4)
    (state,) = _stepped(network, optimizer_for(network, "layerwise_lr"))
    assert "steps 1.weight (40 × 1 × 2 × 2) by Muon" in optimizer_steps({"optimizer": state}, network).missing


def test_other_optimizers_have_no_steps_of_muons() -> None:
    network = _network()
    (state,) = _stepped(network, torch.optim.AdamW(network.parameters()))
    assert optimizer_steps({"optimizer": state}, network) == OptimizerSteps()


def test_a_rate_that_its_schedule_took_to_zero_is_the_one_it_began_with() -> None:
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=1)
    _stepped(network, optimizer)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.0
    assert hyperparameters({"optimizer": optimizer.state_dict()})["lr"] == 3e-3


def test_one_of_two_optimizers_may_have_the_whole_network() -> None:
    network, critic = _network(), nn.Linear(4, 1)
    (own,) = _stepped(network, torch.optim.AdamW(network.parameters()))
    critic(torch.randn(5, 4)).mean().backward()
    other = torch.optim.AdamW(critic.parameters())
    other.step()
    held = {"optimizer_critic": other.state_dict(), "optimizer": own}
    assert second_moments(held, network).keys() == dict(network.named_parameters()).keys()


@pytest.mark.parametrize(
    "broken",
    [None, 3, "adamw", [], {"optimizer": None}, {"optimizer": {"state": {}, "param_groups": []}},
     {"optimizer": {"state": [], "param_groups": [{"params": [0]}]}}, {"optimizer": {"param_groups": [3]}}],
)  # fmt: skip
def test_what_is_no_state_says_nothing(broken: object) -> None:
    assert optimizer_groups(broken) == []
    assert hyperparameters(broken) == {}
    assert optimizer_state(broken, _network()) == {}
