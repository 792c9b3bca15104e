"""Train one network on two processes, replicated (DDP) and sharded (FSDP2), with LayerwiseLR: say what is equal."""

import math
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.remedies import LayerwiseLR, param_groups_for, shrink, wrap


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 4), nn.Linear(4, 5))


def bare(model: nn.Module) -> list[Optimizer]:
    hidden = [p for name, p in model.named_parameters() if name.endswith(("1.weight", "3.weight"))]
    chosen = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    groups = [
        {"params": [p for p in rest if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in rest if p.ndim == 1], "weight_decay": 0.0},
    ]
    return [torch.optim.Muon(hidden, lr=0.02), torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))]


def optimizers(mode: str, model: nn.Module) -> list[Any]:
    if mode == "bare":
        return bare(model)
    if mode == "neutral":
        groups = param_groups_for(model, others="adamw")
        return [LayerwiseLR(groups, nesterov=True, reference=math.inf)]
    if mode == "still":
        return [LayerwiseLR(param_groups_for(model), lr=0.0, other_lr=0.0, every=2)]
    optimizer = LayerwiseLR(param_groups_for(model), every=2)
    if mode == "shrunk":
        wrap(optimizer, shrink("saturating", 1e-3))
    return [optimizer]


def trained(mode: str, rank: int, *, sharded: bool, steps: int = 100) -> tuple[Tensor, Any]:
    model = network()
    if sharded:
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    forward = model if sharded else DistributedDataParallel(model)
    made = optimizers(mode, model)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(steps):
        for optimizer in made:
            optimizer.zero_grad()
        tokens = torch.randint(5, (6,), generator=generator)
        nn.functional.cross_entropy(forward(tokens), (tokens + 1) % 5).backward()
        for optimizer in made:
            optimizer.step()
    whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]
    return torch.cat([p.detach().flatten() for p in whole]), made[0]


def refused() -> str:
    """Return what is said of a matrix with fewer rows than there are processes."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 1))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    try:
        LayerwiseLR([{"params": [model[1].weight], "geometry": "spectral"}])
    except UserError as error:
        return str(error)
    return "nothing"


def work(rank: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    lines: list[str] = []
    rates: list[list[float]] = []
    for kind, sharded in (("ddp", False), ("fsdp2", True)):
        found: dict[str, Tensor] = {}
        for mode in ("bare", "neutral", "adaptive", "shrunk"):
            found[mode], optimizer = trained(mode, rank, sharded=sharded)
            both = [torch.empty_like(found[mode]) for _ in range(2)]
            dist.all_gather(both, found[mode])
            as_bare = torch.equal(found[mode], found["bare"])
            lines.append(f"{kind} {mode}: ranks agree: {torch.equal(*both)}, as bare: {as_bare}")
        _, optimizer = trained("still", rank, sharded=sharded, steps=6)
        rates.append(list(optimizer.lr_multipliers().values()))
    apart = max(abs(a - b) for a, b in zip(*rates, strict=True))
    lines.append(f"multipliers of shards as of replicas: {apart < 1e-4 < 1.0 - min(rates[0])}")
    lines.append(refused())
    if rank == 0:
        sys.stdout.write("\n".join(lines) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    spawn(work, args=(sys.argv[1],), nprocs=2)
