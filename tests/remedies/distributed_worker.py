"""Train one network on two processes, replicated (DDP) and sharded (FSDP2): bare, neutral, recommended, every remedy.

Once with AdamW, once with torch's Muon for the matrices and AdamW for the rest.
Prints what is equal. Layers have odd sizes, so that shards differ in size; under AdamW one process holds nothing of the
last.
"""

import itertools
import sys
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from gnoise.remedies import REMEDIES, Transform, apply, clip_coordinates, wrap

RECOMMENDATIONS = {
    "format": "gnoise.recommendations",
    "version": 1,
    "recommendations": [
        {"layer": "0.weight", "remedy": "shrink", "params": {"form": "rational", "scale": None}},
        {"layer": None, "remedy": "stabilize", "params": {"gammas": [0.6, 0.999], "max_ratio": 1.0}},
    ],
}
Switch = Callable[[nn.Module, Optimizer], object]


def neutral(model: nn.Module, optimizer: Optimizer) -> None:
    for place, entry in enumerate(REMEDIES):
        if entry.neutral is not None:
            wrap(optimizer, entry.neutral, name=f"{place}")


def optimizers_of(kind: str, model: nn.Module) -> list[Optimizer]:
    if kind == "adamw":
        return [torch.optim.AdamW(model.parameters(), lr=0.01)]
    matrices, vectors = ([p for p in model.parameters() if (p.ndim == 2) is wanted] for wanted in (True, False))
    return [torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(vectors, lr=0.01)]


def recommended(model: nn.Module, optimizer: Optimizer) -> None:
    if any(p.ndim == 2 for group in optimizer.param_groups for p in group["params"]):
        apply(RECOMMENDATIONS, model, optimizer)


def trained(switch: Switch, rank: int, *, sharded: bool, steps: int, kind: str = "adamw") -> tuple[Tensor, Optimizer]:
    """Return all weights after some steps, whole, and the optimizer that holds the matrices."""
    torch.manual_seed(0)
    # Muon itself cannot step a matrix of fewer rows than processes.
    network = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 1 if kind == "adamw" else 3))
    if sharded:
        fully_shard(network, mesh=init_device_mesh("cpu", (2,)))
    model = network if sharded else DistributedDataParallel(network)
    optimizers = optimizers_of(kind, model)
    for optimizer in optimizers:
        switch(model, optimizer)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(steps):
        model.zero_grad()
        (10.0 * model(torch.randn(8, 4, generator=generator))).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
    whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in network.parameters()]
    return torch.cat([p.detach().flatten() for p in whole]), optimizers[0]


def resumed(rank: int) -> bool:
    """Tell whether a sharded run's remedy state comes back as it was saved."""

    def make(model: nn.Module, optimizer: Optimizer) -> None:
        wrap(optimizer, clip_coordinates(2.0))

    _, first = trained(make, rank, sharded=True, steps=3)
    _, second = trained(make, rank, sharded=True, steps=0)
    saved = first.state_dict()
    second.load_state_dict(saved)
    key = "gnoise.remedies"
    pairs = zip(
        *(x[key]["transform"]["per_entry"]["second"] for x in (saved, second.state_dict())), strict=True
    )  # fmt: skip
    return all(torch.equal(a.to_local(), b.to_local()) for a, b in pairs)


def close(transform: Transform, rank: int) -> bool:
    """Tell whether shards and replicas get the same from a remedy: norms and scales are those of whole tensors."""
    sides = [trained(lambda m, o: wrap(o, transform), rank, sharded=s, steps=12)[0] for s in (False, True)]
    return torch.allclose(*sides, rtol=1e-4, atol=1e-6)


def work(rank: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    switches: dict[str, Switch] = {
        "bare": lambda model, optimizer: None,
        "neutral": neutral,
        "recommended": recommended,
    }
    lines: list[str] = []
    for kind, (way, sharded) in itertools.product(("adamw", "muon"), (("ddp", False), ("fsdp2", True))):
        found = {mode: trained(s, rank, sharded=sharded, steps=100, kind=kind)[0] for mode, s in switches.items()}
        for mode, weights in found.items():
            both = [torch.empty_like(weights) for _ in range(2)]
            dist.all_gather(both, weights)
            as_bare = torch.equal(weights, found["bare"])
            lines.append(f"{kind} {way} {mode}: ranks agree: {torch.equal(*both)}, as bare: {as_bare}")
    apart = [f"{i}-{entry.name}" for i, entry in enumerate(REMEDIES) if not close(entry.usual, rank)]
    lines += [f"shards unlike replicas: {apart}", f"sharded state resumes: {resumed(rank)}"]
    if rank == 0:
        sys.stdout.write("\n".join(lines) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    spawn(work, args=(sys.argv[1],), nprocs=2)
