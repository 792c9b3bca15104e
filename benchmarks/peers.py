"""Other libraries that give per-example gradients or their norms, for per_example_norms.py. Run alone it does nothing.

None of them is needed by gnoise. To have them beside it, in an environment of their own:

    pip install torch -c constraints.txt
    pip install --no-deps opacus backpack-for-pytorch unfoldNd
    pip install einops opt_einsum packaging scipy -c constraints.txt

Each is used as its own documentation says, on the parameters it knows. All need a position for every example, where
the GPT looks positions up once for all; two cannot share a weight between embedding and head and get a head of its own.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnoise.models.gpt import GPT

Norms = dict[str, Tensor]
Run = Callable[[], Norms | None]
Tokens = tuple[Tensor, Tensor]
"""Token ids and the ids to predict, each (examples, tokens)."""
Prepare = Callable[[nn.Module, Tokens], Run]
"""Take over a module, and return what is timed: one pass over the batch."""


class _PositionsOfEach(GPT):
    """The GPT with its positions looked up for every example."""

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        positions_BT = torch.arange(tokens_BT.shape[1]).repeat(len(tokens_BT), 1)
        x_BTC = self.transformer["wte"](tokens_BT) + self.transformer["wpe"](positions_BT)
        for block in self.transformer["h"].children():
            x_BTC = block(x_BTC)
        logits_BTV = self.lm_head(self.transformer["ln_f"](x_BTC))
        if targets_BT is None:
            return logits_BTV, None
        return logits_BTV, functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def opacus_hooks(module: nn.Module, batch: Tokens) -> Run:
    """Write every example's gradient out."""
    wrapped = import_module("opacus.grad_sample").GradSampleModule(_adapted(module), loss_reduction="mean")

    def run() -> Norms:
        wrapped.zero_grad()
        wrapped(*_contiguous(batch))[1].backward()
        found = {name: p.grad_sample.flatten(1).square().sum(1) for name, p in wrapped.named_parameters()}
        return {name.removeprefix("_module."): norms for name, norms in found.items()}

    return run


def opacus_ghost(module: nn.Module, batch: Tokens) -> Run:
    """Take norms from Gram matrices (ghost clipping), whatever the shapes."""
    ghost = import_module("opacus.grad_sample.grad_sample_module_fast_gradient_clipping")
    wrapped = ghost.GradSampleModuleFastGradientClipping(
        _untied(_adapted(module)), loss_reduction="mean", use_ghost_clipping=True, max_grad_norm=1.0
    )

    def run() -> Norms:
        wrapped.zero_grad()
        wrapped(*_contiguous(batch))[1].backward()
        found = {name: p._norm_sample.square() for name, p in wrapped.named_parameters()}
        return {name.removeprefix("_module."): norms for name, norms in found.items()}

    return run


def backpack(module: nn.Module, batch: Tokens) -> Run:
    """Square norms in BackPACK's first-order extension; it has none for layer norms."""
    library = import_module("backpack")
    extension = import_module("backpack.extensions").BatchL2Grad
    adapted = _untied(_adapted(module))
    for child in adapted.modules():
        if isinstance(child, nn.Linear | nn.Embedding):
            library.extend(child)
    known = {name: p for name, p in adapted.named_parameters() if ".ln_" not in name}
    tokens = _contiguous(batch)
    examples = len(tokens[0])

    def run() -> Norms:
        adapted.zero_grad()
        with library.backpack(extension()):
            adapted(*tokens)[1].backward()
        return {name: getattr(p, "batch_l2") * examples**2 for name, p in known.items()}  # noqa: B009

    return run


_PACKAGES = {"opacus hooks": "opacus", "opacus ghost": "opacus", "BackPACK": "backpack"}
_PREPARE: dict[str, Prepare] = {"opacus hooks": opacus_hooks, "opacus ghost": opacus_ghost, "BackPACK": backpack}

PEERS: dict[str, Prepare] = {name: _PREPARE[name] for name, package in _PACKAGES.items() if find_spec(package)}
"""Those that are installed."""
ABSENT: tuple[str, ...] = tuple(name for name in _PACKAGES if name not in PEERS)


def _adapted(module: nn.Module) -> nn.Module:
    module.__class__ = _PositionsOfEach
    return module


def _untied(module: nn.Module) -> nn.Module:
    head = module.get_submodule("lm_head")
    head.register_parameter("weight", nn.Parameter(module.get_parameter("lm_head.weight").detach().clone()))
    return module


def _contiguous(batch: Tokens) -> Tokens:
    return batch[0].contiguous(), batch[1].contiguous()
