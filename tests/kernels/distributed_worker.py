"""Train on two processes, replicated (DDP) and sharded (FSDP2), bare and with fused norms; print what is equal."""

import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from gnoise.kernels import use_fused_norms

EXAMPLES = 4


class Block(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.mlp = norm, nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor:
        return x + checkpoint(lambda y: self.mlp(self.norm(y)).tanh(), x, use_reentrant=False)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Block(nn.LayerNorm(7)), Block(nn.RMSNorm(7)), nn.Linear(7, 1))


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).square().mean()


def alone(x: Tensor) -> dict[str, Tensor]:
    """Square norms of one process's own examples, one backward pass each, without any wrapper."""
    model, found = network(), []
    for i in range(len(x)):
        model.zero_grad()
        loss_of(model, x[i : i + 1]).backward()
        found.append({name: p.grad.square().sum() for name, p in model.named_parameters() if "norm" in name})
    return {name: torch.stack([each[name] for each in found]) for name in found[0]}


def trained(x: Tensor, *, way: str, fused: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Take steps; return all weights, whole, and the first step's norms. ``fused`` says when the model is patched."""
    model = network()
    norms = use_fused_norms(model) if fused == "before" else None
    if way == "ddp":
        wrapped: nn.Module = DistributedDataParallel(model)
    else:
        precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if way == "fsdp2 bf16" else None)
        for block in model:
            fully_shard(block, mesh=init_device_mesh("cpu", (2,)), mp_policy=precision)
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)), mp_policy=precision)
        wrapped = model
    norms = use_fused_norms(model) if fused == "after" else norms
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first: dict[str, Tensor] = {}
    for _ in range(3):
        wrapped.zero_grad()
        loss_of(wrapped, x).backward()
        if norms is not None:
            first = first or norms.take()
            norms.take()
        optimizer.step()
    whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]
    return torch.cat([p.detach().float().flatten() for p in whole]), first


def work(rank: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    x = torch.randn(EXAMPLES, 5, 7, generator=torch.Generator().manual_seed(rank))
    expected, lines = alone(x), []
    for way, near in (("ddp", 1e-5), ("fsdp2", 1e-5), ("fsdp2 bf16", 0.1)):
        bare, _ = trained(x, way=way, fused="never")
        for fused in ("before", "after"):
            weights, found = trained(x, way=way, fused=fused)
            names = {name.removeprefix("module."): norms for name, norms in found.items()}
            own = names.keys() == expected.keys() and all(
                torch.allclose(names[name].float(), expected[name], rtol=near, atol=near * 1e-2) for name in expected
            )
            step = torch.allclose(weights, bare, rtol=near, atol=near * 1e-1)
            both = [None, None]
            dist.all_gather_object(both, (own, step))
            lines.append(f"{way} patched {fused}: norms of own examples and weights as bare: {both}")
    if rank == 0:
        sys.stdout.write("\n".join(lines) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    spawn(work, args=(sys.argv[1],), nprocs=2)
