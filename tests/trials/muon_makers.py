"""Muon as others make it, its rule written down shortly; settings and state are named as they name them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def orthogonalized(x: Tensor, steps: int) -> Tensor:
    """Jordan's Newton–Schulz, in float32: his bfloat16 is lost in rounding, which no two orders of products share."""
    y = x if len(x) <= x.shape[1] else x.mT
    y = y / (y.norm() + 1e-7)
    for _ in range(steps):
        a = y @ y.mT
        y = 3.4445 * y + (-4.7750 * a + 2.0315 * a @ a) @ y
    return y if len(x) <= x.shape[1] else y.mT


def adam_ratio(state: dict[str, Any], grad: Tensor, betas: Sequence[float], eps: float, names: Sequence[str]) -> Tensor:
    first, second = names
    state["step"] = state.get("step", 0) + 1
    state.setdefault(first, torch.zeros_like(grad)).lerp_(grad, 1 - betas[0])
    state.setdefault(second, torch.zeros_like(grad)).lerp_(grad.square(), 1 - betas[1])
    mean, square = state[first] / (1 - betas[0] ** state["step"]), state[second] / (1 - betas[1] ** state["step"])
    return mean / (square.sqrt() + eps)


class Jordans(Optimizer):
    """Of 2025: the momentum is an average; groups say ``use_muon``; Muon's are sorted by size."""

    def __init__(self, hidden: Iterable[nn.Parameter], others: Sequence[Sequence[nn.Parameter]]) -> None:
        of_muon = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.05, "use_muon": True}
        of_adam = {"lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-10, "weight_decay": 0.0, "use_muon": False}
        groups: list[dict[str, Any]] = [{"params": [*params], **of_adam} for params in others]
        sort = sorted(hidden, key=lambda x: x.size(), reverse=True)
        super().__init__([*groups, {"params": sort, **of_muon}], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                if not group["use_muon"]:
                    names = ("exp_avg", "exp_avg_sq")
                    p.sub_(group["lr"] * adam_ratio(state, p.grad, group["betas"], group["eps"], names))
                    continue
                momentum = state.setdefault("momentum_buffer", torch.zeros_like(p)).lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalized(p.grad.lerp(momentum, group["momentum"]), 5)
                p.sub_(group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5 * update)


class Summing(Optimizer):
    """Moonlight's, and Jordan's of 2024: a sum of gradients; the state says ``use_muon``, one group has all."""

    def __init__(self, hidden: Iterable[nn.Parameter], others: Iterable[nn.Parameter], own: dict[str, Any]) -> None:
        muons, rest = [*hidden], [*others]
        common = {"momentum": 0.95, "nesterov": True, "ns_steps": 5, "adamw_betas": (0.9, 0.95), "adamw_eps": 1e-8}
        super().__init__([*muons, *rest], common | own)
        for p in (*muons, *rest):
            self.state[p]["use_muon"] = any(p is x for x in muons)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        (group,) = self.param_groups
        moonlight = "wd" in group
        for p in group["params"]:
            state = self.state[p]
            if not state["use_muon"]:
                lr = group["lr"] * group.get("adamw_lr_ratio", 1.0)
                p.mul_(1 - lr * group["wd" if moonlight else "adamw_wd"])
                names = ("moment1", "moment2")
                p.sub_(lr * adam_ratio(state, p.grad, group["adamw_betas"], group["adamw_eps"], names))
                continue
            total = state.setdefault("momentum_buffer", torch.zeros_like(p)).mul_(group["momentum"]).add_(p.grad)
            update = orthogonalized(p.grad + group["momentum"] * total, group["ns_steps"])
            rows, columns = p.shape
            scale = 0.2 * max(rows, columns) ** 0.5 if moonlight else max(1, rows / columns) ** 0.5
            p.mul_(1 - group["lr"] * group.get("wd", 0.0))
            p.sub_(group["lr"] * scale * update)


def moonlights(hidden: Iterable[nn.Parameter], others: Iterable[nn.Parameter]) -> Summing:
    return Summing(hidden, others, {"lr": 3e-3, "wd": 0.1})


def jordans_of_2024(hidden: Iterable[nn.Parameter], others: Iterable[nn.Parameter]) -> Summing:
    return Summing(hidden, others, {"lr": 0.02, "adamw_lr_ratio": 0.15, "adamw_wd": 0.01})
