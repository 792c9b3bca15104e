"""What a trial compares: names in, what each arm changes out."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnoise.errors import UserError
from gnoise.export import recommendations_document
from gnoise.export.document import RECOMMENDATIONS_FORMAT, RECOMMENDATIONS_VERSION
from gnoise.records import Evidence, EvidenceRole, JsonValue, Remedy, Status
from gnoise.runfile import Run
from gnoise.stats.trial import LARGER, LONGER, MORE_STEPS, NONE

RECOMMENDED, OWN = "recommended", "as_trained"
OWN_OPTIMIZER, MUON, LAYERWISE_LR = "own", "muon", "layerwise_lr"
ANCHORS = (LONGER, LARGER)
FAMILIES = (Remedy.CLIP, Remedy.SHRINK, Remedy.CLIP_NORM, Remedy.CLIP_GLOBAL_NORM, Remedy.STABILIZE)
NAMES = (NONE, RECOMMENDED, OWN, *(str(family) for family in FAMILIES), MUON, LAYERWISE_LR)
_DEFAULTS: dict[str, Mapping[str, JsonValue]] = {
    str(Remedy.CLIP): {"coordinates": 4.0},
    str(Remedy.SHRINK): {"form": "saturating"},
    str(Remedy.STABILIZE): {},
}
"""For runs whose evidence says nothing: what follows the gradients by itself."""

Document = Mapping[str, JsonValue]


@dataclass(frozen=True)
class Arm:
    """One way to train on from the checkpoint.

    Attributes:
        name: as typed.
        document: recommendations that :func:`gnoise.apply` switches on; ``None`` for none.
        optimizer: ``own``, ``muon`` or ``layerwise_lr``.
        batches: batch size as a multiple of the others'.
        steps: likewise.
    """

    name: str
    document: Document | None = None
    optimizer: str = OWN_OPTIMIZER
    batches: int = 1
    steps: float = 1.0


def make_arms(run: Run, names: Sequence[str]) -> tuple[Arm, ...]:
    """Build the arms asked for, with no remedy and the two anchors around them.

    Args:
        run: whose recommendations and evidence the settings come from.
        names: of :data:`NAMES`, or paths of recommendations.

    Raises:
        UserError: an unknown name, or a remedy the run has no setting for.
    """
    wanted = [name for name in dict.fromkeys(names) if name not in (NONE, *ANCHORS)]
    if "clip_global_norm" in run.info.optimizer and OWN not in wanted:
        wanted.append(OWN)
    arms = [_arm(run, name) for name in wanted]
    anchors = (Arm(LONGER, steps=1.0 + MORE_STEPS), Arm(LARGER, batches=2))
    return (Arm(NONE), *(arm for arm in arms if arm is not None), *anchors)


def predicted(run: Run, arms: Sequence[Arm]) -> dict[str, tuple[float, float, float]]:
    """Look up what the run's evidence says of each arm for the whole model: gain and both ends of its interval.

    Args:
        run: with or without evidence.
        arms: of :func:`make_arms`.
    """
    model = [each for each in run.evidence if each.layer is None]
    found = {arm.name: _evidence_of(model, arm) for arm in arms}
    return {
        name: (each.gain, each.low, each.high)
        for name, each in found.items()
        if each is not None and each.gain is not None and each.low is not None and each.high is not None
    }


def _evidence_of(model: Sequence[Evidence], arm: Arm) -> Evidence | None:
    if arm.name == LARGER:
        return next((x for x in model if x.remedy == "batch" and x.params.get("times") == 2.0), None)
    return next((x for x in model if x.role is EvidenceRole.REMEDY and x.remedy == arm.name), None)


def _arm(run: Run, name: str) -> Arm | None:
    if name == RECOMMENDED:
        document = recommendations_document(run)
        return Arm(name, document) if any(r.remedy is not Remedy.NONE for r in run.recommendations) else None
    if name == OWN:
        return Arm(name, _own_clipping(run))
    if name in (MUON, LAYERWISE_LR):
        is_own = name == MUON and run.info.optimizer.get("name") == "Muon"
        return Arm(name, optimizer=OWN_OPTIMIZER if is_own else name)
    if name in [str(family) for family in FAMILIES]:
        return Arm(name, _family(run, name))
    if name.endswith(".json") and Path(name).is_file():
        import json

        return Arm(Path(name).stem, json.loads(Path(name).read_text("utf-8")))
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)
    raise UserError(f"expected arms among {', '.join(NAMES)} or a recommendations.json, got {name!r}; try {near[0]}")


def _own_clipping(run: Run) -> Document:
    limit = run.info.optimizer.get("clip_global_norm")
    if not isinstance(limit, int | float):
        raise UserError(
            f"expected a checkpoint that says how it was clipped for the arm {OWN}, got none; try --arms without it"
        )
    return _document([_entry(None, Remedy.CLIP_GLOBAL_NORM, {"clip_global_norm": float(limit)})])


def _family(run: Run, remedy: str) -> Document:
    """Take the setting that did best: one for the model where there is one, else each layer's own, else a default."""
    found = [
        each
        for each in run.evidence
        if each.remedy == remedy and each.role is EvidenceRole.REMEDY and each.gain is not None and each.params
    ]
    model = [each for each in found if each.layer is None]
    chosen = model or [each for each in found if each.layer is not None]
    if not chosen and remedy in _DEFAULTS:
        return _document([_entry(None, remedy, _DEFAULTS[remedy])])
    if not chosen:
        raise UserError(
            f"expected evidence for {remedy} in {run.path}, got none that could be judged; "
            f"try --arms {','.join(_DEFAULTS)}, which need none"
        )
    return _document([_entry(each.layer, remedy, each.params) for each in chosen])


def _entry(layer: str | None, remedy: str, params: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {"layer": layer, "remedy": str(remedy), "params": dict(params), "status": str(Status.OK)}


def _document(entries: list[dict[str, JsonValue]]) -> Document:
    return {
        "format": RECOMMENDATIONS_FORMAT,
        "version": RECOMMENDATIONS_VERSION,
        "recommendations": [*entries],
    }
