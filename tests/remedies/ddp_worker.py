"""Train the same network on two processes bare, with neutral remedies, and with recommended ones; say what is equal."""

import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from gnoise.remedies import REMEDIES, apply, wrap

RECOMMENDATIONS = {
    "format": "gnoise.recommendations",
    "version": 1,
    "recommendations": [
        {"layer": "0.weight", "remedy": "shrink", "params": {"form": "rational", "scale": None}},
        {"layer": None, "remedy": "stabilize", "params": {"gammas": [0.6, 0.999], "max_ratio": 1.0}},
    ],
}


def trained(mode: str, rank: int) -> Tensor:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    model = DistributedDataParallel(network)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    if mode == "neutral":
        for place, entry in enumerate(REMEDIES):
            if entry.neutral is not None:
                wrap(optimizer, entry.neutral, name=f"{place}")
    if mode == "recommended":
        apply(RECOMMENDATIONS, model, optimizer)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(30):
        optimizer.zero_grad()
        model(torch.randn(8, 4, generator=generator)).square().mean().backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def work(rank: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    found = {mode: trained(mode, rank) for mode in ("bare", "neutral", "recommended")}
    for mode, weights in found.items():
        both = [torch.empty_like(weights) for _ in range(2)]
        dist.all_gather(both, weights)
        if rank == 0:
            as_bare = torch.equal(weights, found["bare"])
            sys.stdout.write(f"{mode}: ranks agree: {torch.equal(*both)}, as bare: {as_bare}\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    spawn(work, args=(sys.argv[1],), nprocs=2)
