"""Recommendations as the code that does the same by hand, in three kinds of training script."""

from collections.abc import Mapping, Sequence

from gnoise.errors import UserError
from gnoise.export.plans import Plan, make_plans, requested_multipliers
from gnoise.export.requests import Request

_USE = {
    "torch": """
# In the training script, before the learning-rate scheduler is made and before the first step, with the model as it
# was before DistributedDataParallel or torch.compile wrapped it:
#     optimizer = add_remedies(model, torch.optim.AdamW(model.parameters(), lr=3e-4))
""",
    "trainer": '''
from transformers import Trainer


class TrainerWithRemedies(Trainer):
    """Use it in place of Trainer. It clips to max_grad_norm first, as ever; max_grad_norm=0 turns that off."""

    with_remedies = None

    def create_optimizer(self, model=None):
        optimizer = super().create_optimizer(model)
        if optimizer is not self.with_remedies:
            self.with_remedies = add_remedies(self.model if model is None else model, optimizer)
        return optimizer
''',
    "lightning": '''
import torch
from lightning import LightningModule


class ModuleWithRemedies(LightningModule):
    """Your module, with one more call where its optimizer is made; add_remedies(self.model, …) if that was profiled."""

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-4)
        return add_remedies(self, optimizer)
''',
}
LOOPS = tuple(_USE)
"""Kinds of training script."""


def snippet(requests: Sequence[Request], *, loop: str = "torch") -> str:
    """Return Python code that does what :func:`gnoise.apply` does with the same recommendations.

    Nothing of torch is needed here, so forms and settings that a remedy itself would refuse are printed;
    :func:`gnoise.remedies.by_hand.by_hand` tries them first.

    Args:
        requests: what is to be done.
        loop: one of :data:`LOOPS`.

    Raises:
        UserError: params that make no sense, or no such loop (exit 2).
    """
    if loop not in _USE:
        raise UserError(f"expected a loop among {', '.join(LOOPS)}, got {loop!r}; try torch")
    plans, multipliers = make_plans(requests), requested_multipliers(requests)
    names = sorted({"wrap"} | ({"multiply_lr"} if multipliers else set[str]()) | {plan.function for plan in plans})
    lines = [f"from gnoise.remedies import {', '.join(names)}"] if plans or multipliers else []
    lines += ["", "", "def add_remedies(model, optimizer):"]
    lines += [f"    {line}" for line in _body(plans, multipliers)]
    lines += ["    return optimizer", ""]
    return "\n".join(lines).lstrip("\n") + _USE[loop]


def _body(plans: list[Plan], multipliers: Mapping[str, float]) -> list[str]:
    if not plans and not multipliers:
        return ["# Nothing was recommended."]
    lines = ["layers = dict(model.named_parameters(remove_duplicate=False))"]
    if any(plan.layers is None for plan in plans):
        own = [name for plan in plans for name in plan.layers or ()]
        lines += [
            f"own = {{{', '.join(f'layers[{name!r}]' for name in own)}}}" if own else "own = set()",
            'every = [p for group in optimizer.param_groups for p in group["params"]]',
            "others = [p for p in every if p not in own]",
        ]
    if multipliers:
        factors = [f"    layers[{name!r}]: {factor!r}," for name, factor in multipliers.items()]
        lines += ["# A LayerwiseLR follows the noise by itself: call optimizer.adapt() instead of multiply_lr."]
        lines += ["factors = {", *factors, "}", "multiply_lr(optimizer, factors)"]
    for plan in plans:
        lines += _wrap(plan)
    return lines


def _wrap(plan: Plan) -> list[str]:
    if plan.layers is None:
        return [f"wrap(optimizer, {plan.call}, select=others, name={plan.name!r})"]
    chosen = [f"        layers[{name!r}]," for name in plan.layers]
    return [
        "wrap(",
        "    optimizer,",
        f"    {plan.call},",
        "    select=[",
        *chosen,
        "    ],",
        f"    name={plan.name!r},",
        ")",
    ]
