"""Draws along a short path: real steps of the checkpoint's optimizer in between, undone at the end."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gnoise
from gnoise.collect import Workload, trainable_parameters
from gnoise.collect.collector import Collector
from gnoise.errors import UserError
from gnoise.records import JsonValue
from tests.collect.workloads import tied_workload

DRAWS, EXAMPLES, RATE = 16, 2, 0.05
SGD: dict[str, JsonValue] = {"name": "SGD", "lr": RATE, "momentum": 0.9}
ADAM: dict[str, JsonValue] = {"name": "AdamW", "lr": RATE, "betas": [0.9, 0.99], "weight_decay": 0.1}


def _weights(workload: Workload) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in workload.module.parameters() if p.requires_grad])


def _collected(workload: Workload, steps: int) -> tuple[list[torch.Tensor], np.ndarray]:
    """Return the weights at every draw, and what was drawn from the first tensor."""
    seen: list[torch.Tensor] = []
    parameters = trainable_parameters(workload.module)
    collector = Collector(workload, parameters, draws=DRAWS, examples_per_draw=EXAMPLES, path_steps=steps)
    name = parameters[0].layer.name
    values = [
        samples[name].coordinates.values for _, samples in collector.blocks(lambda: seen.append(_weights(workload)))
    ]
    return seen, np.concatenate(values)


def _by_hand(optimizer: torch.optim.Optimizer, workload: Workload, steps: int) -> Iterator[torch.Tensor]:
    """Train on the path's own batches: sixteen at a learning rate of zero, then one a step at a falling one."""
    batches = workload.batches(EXAMPLES, 1)
    for step in range(16 + steps):
        optimizer.param_groups[0]["lr"] = 0.0 if step < 16 else RATE * (1.0 - (step - 16) / steps)
        optimizer.zero_grad()
        workload.loss(workload.module, next(batches)[0]).backward()
        optimizer.step()
        if step >= 16:
            yield _weights(workload)


@pytest.mark.parametrize("found", [SGD, ADAM])
def test_the_weights_take_the_steps_training_would(found: dict[str, JsonValue]) -> None:
    seen, _ = _collected(replace(tied_workload(), optimizer=found), steps=DRAWS)
    trained = tied_workload()
    tensors = [p for p in trained.module.parameters() if p.requires_grad]
    optimizer = (
        torch.optim.SGD(tensors, lr=RATE, momentum=0.9)
        if found is SGD
        else torch.optim.AdamW(tensors, lr=RATE, betas=(0.9, 0.99), weight_decay=0.1)
    )
    by_hand = list(_by_hand(optimizer, trained, DRAWS))
    for pair, there in enumerate(by_hand[1::2]):
        torch.testing.assert_close(seen[2 * pair], there)
        assert torch.equal(seen[2 * pair], seen[2 * pair + 1])  # both draws of a pair at the same weights


def test_steps_are_spread_and_undone() -> None:
    workload = replace(tied_workload(), optimizer=SGD)
    before = _weights(workload)
    seen, moved = _collected(workload, steps=5)
    assert torch.equal(_weights(workload), before)
    assert all(p.grad is None for p in workload.module.parameters())
    assert sum(not torch.equal(a, b) for a, b in zip([before, *seen[:-1]], seen, strict=True)) == 5
    _, frozen = _collected(workload, steps=0)
    assert moved.shape == frozen.shape
    assert not np.allclose(moved[-1], frozen[-1])


def test_an_interrupt_puts_the_weights_back() -> None:
    workload = replace(tied_workload(), optimizer=SGD)
    before = _weights(workload)

    def interrupt() -> None:
        raise KeyboardInterrupt

    parameters = trainable_parameters(workload.module)
    with pytest.raises(KeyboardInterrupt):
        list(Collector(workload, parameters, draws=16, examples_per_draw=2, path_steps=16).blocks(interrupt))
    assert torch.equal(_weights(workload), before)


def test_the_checkpoints_second_moments_are_taken() -> None:
    """Where v is huge steps are tiny."""
    workload = replace(tied_workload(), optimizer={**ADAM, "weight_decay": 0.0})
    known = {p.layer.name: torch.full_like(p.tensor, 1e8) for p in trainable_parameters(workload.module)}
    before = _weights(workload)
    (plain, _), (tamed, _) = (_collected(x, DRAWS) for x in (workload, replace(workload, second_moments=known)))
    assert (tamed[-1] - before).abs().max() < 1e-3 < 0.1 < (plain[-1] - before).abs().max()


def test_a_path_needs_a_learning_rate() -> None:
    workload = tied_workload()
    with pytest.raises(UserError, match="learning rate"):
        Collector(workload, trainable_parameters(workload.module), draws=16, examples_per_draw=2, path_steps=4)


def test_the_run_and_its_advice_say_that_they_rest_on_a_path(tmp_path: Path) -> None:
    workload = replace(tied_workload(), optimizer=SGD)
    run = gnoise.profile(workload, tmp_path / "path.gnoise", draws=32, batch_size=4, path=8, device="cpu")
    assert run.info.path_steps == 8
    said = [each.unless for each in run.recommendations if each.gain is not None or "saves" in each.unless]
    assert said
    assert all("along 8 steps from these weights" in words for words in said)
    with pytest.raises(UserError, match="--path"):
        gnoise.profile(workload, tmp_path / "no.gnoise", path=-1, device="cpu")
