"""Entries of an optimizer's state find their parameters where it is split by kind, and none where that is a guess."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gnoise.models.moments import optimizer_state
from gnoise.models.muons import AdamWStep, MuonStep
from gnoise.models.steps import optimizer_steps
from tests.trials.muon_makers import moonlights

VOCABULARY, WIDTH = 24, 8


class Untied(nn.Module):
    """Token and position tables, hidden matrices of two shapes, gains and biases, an output layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(WIDTH, WIDTH)  # as large as a hidden matrix
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.square, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        return self.head(self.norm(x + self.square(self.down(self.up(x).tanh()))))


Split = Callable[[Untied], Sequence[torch.optim.Optimizer]]


def hidden(net: Untied) -> list[Tensor]:
    return [net.up.weight, net.down.weight, net.square.weight]


def vectors(net: Untied) -> list[Tensor]:
    return [x for x in net.parameters() if x.ndim < 2]


def muon(params: Sequence[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Muon([*params], lr=0.02)


def adamw(*groups: Sequence[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW([{"params": [*params]} for params in groups], lr=1e-3)


def after(split: Split, *, logits: Callable[[Tensor], Tensor] = lambda x: x) -> tuple[Untied, dict[str, Any]]:
    """Train three steps; return the network and what a script would save."""
    torch.manual_seed(0)
    net = Untied()
    optimizers = split(net)
    for _ in range(3):
        ids = torch.randint(0, VOCABULARY, (6, WIDTH + 1))
        out = logits(net(ids[:, :-1]))
        nn.functional.cross_entropy(out.flatten(0, 1), ids[:, 1:].flatten()).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return net, {"optimizers": [optimizer.state_dict() for optimizer in optimizers]}


def moments_of(split: Split) -> dict[str, Tensor]:
    """The same training's first moments, by the parameters themselves."""
    kept: dict[str, Tensor] = {}
    optimizers: list[torch.optim.Optimizer] = []

    def remembered(net: Untied) -> Sequence[torch.optim.Optimizer]:
        optimizers.extend(split(net))
        return optimizers

    again, _ = after(remembered)
    for optimizer in optimizers:
        for name, parameter in again.named_parameters():
            if parameter in optimizer.state:
                entry = optimizer.state[parameter]
                kept[name] = entry.get("momentum_buffer", entry.get("exp_avg"))
    return kept


SPLITS: dict[str, Split] = {
    "hidden first, the rest as the module has them": lambda net: [
        muon(hidden(net)),
        adamw([net.tokens.weight, net.positions.weight, *vectors(net), net.head.weight]),
    ],
    "output layer before the embeddings, one group": lambda net: [
        muon(hidden(net)),
        adamw([*vectors(net), net.head.weight, net.tokens.weight, net.positions.weight]),
    ],
    "a group for each kind": lambda net: [
        adamw([net.head.weight], [net.tokens.weight, net.positions.weight], vectors(net)),
        muon(hidden(net)),
    ],
    "hidden matrices sorted by size": lambda net: [
        muon(sorted(hidden(net), key=lambda x: x.size(), reverse=True)),
        adamw([net.tokens.weight, net.positions.weight], vectors(net), [net.head.weight]),
    ],
    "named, in any order": lambda net: [
        torch.optim.AdamW([(n, x) for n, x in reversed([*net.named_parameters()]) if x not in {*hidden(net)}]),
        torch.optim.Muon([(n, x) for n, x in reversed([*net.named_parameters()]) if x in {*hidden(net)}]),
    ],
}


@pytest.mark.parametrize("split", SPLITS)
def test_every_entry_finds_its_parameter(split: str) -> None:
    net, held = after(SPLITS[split])
    found = optimizer_state(held, net)
    assert found.keys() == dict(net.named_parameters()).keys()
    for name, moment in moments_of(SPLITS[split]).items():
        assert torch.equal(found[name].get("momentum_buffer", found[name].get("exp_avg", torch.empty(0))), moment)
    steps = optimizer_steps(held, net).by_name
    muons = {name for name, step in steps.items() if isinstance(step, MuonStep)}
    assert muons == {"up.weight", "down.weight", "square.weight"}
    assert {type(step) for name, step in steps.items() if name not in muons} == {AdamWStep}


def test_vectors_in_two_groups_are_a_guess() -> None:
    def split(net: Untied) -> Sequence[torch.optim.Optimizer]:
        rest = [net.tokens.weight, net.positions.weight, net.head.weight]
        gains = [net.norm.weight]
        return [muon(hidden(net)), adamw(rest, gains, [x for x in vectors(net) if x is not net.norm.weight])]

    net, held = after(split)
    assert optimizer_state(held, net) == {}
    assert "does not tell which parameter" in optimizer_steps(held, net).missing


@pytest.mark.parametrize("together", [False, True])
def test_matrices_of_one_shape_that_two_optimizers_share_are_a_guess(together: bool) -> None:
    """They would fit in the order of the module, and Muon's go to the first two."""
    net = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))
    inner = [net[1].weight, net[2].weight]
    rest = [x for x in net.parameters() if not any(x is y for y in inner)]
    net(torch.ones(2, WIDTH)).square().mean().backward()
    last = sorted(rest, key=lambda x: -x.ndim)
    optimizers = [moonlights(inner, last)] if together else [muon(inner), adamw(last)]
    for optimizer in optimizers:
        optimizer.step()
    held = {"optimizers": [optimizer.state_dict() for optimizer in optimizers]}
    assert optimizer_state(held, net) == {}
    named = torch.optim.Muon([(name, x) for name, x in net.named_parameters() if any(x is y for y in inner)])
    named.step()
    others = torch.optim.AdamW([(name, x) for name, x in net.named_parameters() if any(x is y for y in rest)])
    others.step()
    steps = optimizer_steps({"optimizers": [named.state_dict(), others.state_dict()]}, net).by_name
    assert {name for name, step in steps.items() if isinstance(step, MuonStep)} == {"1.weight", "2.weight"}


def test_an_output_layer_whose_logits_are_capped_cannot_be_told_from_the_embedding() -> None:
    split = SPLITS["output layer before the embeddings, one group"]
    net, held = after(split, logits=lambda x: 0.3 * torch.tanh(x / 0.3))
    assert optimizer_state(held, net) == {}


def test_rows_that_cancel_are_seen_in_bfloat16() -> None:
    net, held = after(SPLITS["a group for each kind"])
    for optimizer in held["optimizers"]:
        for entry in optimizer["state"].values():
            entry |= {key: x.bfloat16() for key, x in entry.items() if key != "step"}
    assert optimizer_state(held, net).keys() == dict(net.named_parameters()).keys()
