"""A run as plain JSON documents: what ``show --json`` prints and what ``apply`` reads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from gnoise.records import Estimate, Evidence, EvidenceRole, JsonValue, Layer, Recommendation, RunInfo, Verdict
from gnoise.runfile import Run
from gnoise.stats.batch_cost import CAVEAT, TIMES, present_batch, purchases
from gnoise.stats.evidence import judged_under
from gnoise.stats.trial import judge_trial
from gnoise.trial_records import ArmResult, Trial

SHOW_FORMAT = "gnoise.show"
SHOW_VERSION = 1
RECOMMENDATIONS_FORMAT = "gnoise.recommendations"
RECOMMENDATIONS_VERSION = 1

Document = dict[str, JsonValue]


def show_document(run: Run) -> Document:
    """Everything a reader can see of a run, as JSON."""
    estimates, verdicts, recommendations = run.estimates, run.verdicts, run.recommendations
    by_layer, evidence = {r.layer: r for r in recommendations}, run.evidence
    judged = _judged(run.info)
    return {
        "format": SHOW_FORMAT,
        "version": SHOW_VERSION,
        "run": run_document(run.info, state=run.state),
        "model": {
            "estimates": _estimates(estimates, None),
            "batch_cost": batch_cost_document(run.info, estimates),
            "evidence": _ladder(evidence, None),
            "judged": judged,
            "recommendations": [_recommendation(r) for r in recommendations if r.layer is None],
        },
        "layers": [
            _layer(layer, estimates, verdicts, evidence, by_layer.get(layer.name), judged) for layer in run.layers
        ],
        "trials": [trial_document(trial) for trial in run.trials],
    }


def batch_cost_document(info: RunInfo, estimates: Sequence[Estimate]) -> Document | None:
    """What half to eight times the present batch costs to the same loss, and the learning rate that goes with it.

    Everything but the batch is relative to the present one.

    Args:
        info: of the run.
        estimates: of it.

    Returns:
        ``None`` without a noise scale of the whole model.
    """
    scale = next((e for e in estimates if e.layer is None and e.quantity == "b_simple"), None)
    if scale is None:
        return None
    present, whose = present_batch(info)
    priced = purchases(scale, present, [present * times for times in TIMES])
    batches: list[JsonValue] = [
        {
            "times": times,
            "examples_in_batch": each.batch,
            "steps": asdict(each.steps),
            "examples": asdict(each.examples),
            "learning_rate_sgd": asdict(each.lr_sgd),
            "learning_rate_adam": asdict(each.lr_adam),
        }
        for times, each in zip(TIMES, priced, strict=True)
    ]
    return {"present": present, "present_is": whose, "batches": batches, "caveat": CAVEAT}


def recommendations_document(run: Run) -> Document:
    """The recommendations of a run, as ``recommendations.schema.json`` has it."""
    shapes = {layer.name: layer.shape for layer in run.layers}
    return {
        "format": RECOMMENDATIONS_FORMAT,
        "version": RECOMMENDATIONS_VERSION,
        "run": run_document(run.info, state=run.state),
        "recommendations": [_with_shape(r, shapes) for r in run.recommendations],
    }


def run_document(info: RunInfo, *, state: str) -> Document:
    """What was run, as JSON."""
    rests_on = f"a path of {info.path_steps} steps" if info.path_steps else "frozen weights"
    return {"state": str(state), **asdict(info), "evidence_rests_on": rests_on}


def trial_document(trial: Trial) -> Document:
    """A trial as JSON: its plan, what each arm came to, and every curve."""
    curves: list[JsonValue] = [
        {
            "arm": curve.arm,
            "seed": curve.seed,
            "learning_rate": curve.learning_rate,
            "examples": [*curve.examples],
            "loss": [*curve.loss],
            "spikes": curve.spikes,
            "seconds": curve.seconds,
            "status": str(curve.status),
        }
        for curve in trial.curves
    ]
    plan = {name: value for name, value in asdict(trial.plan).items() if name not in ("request", "predicted")}
    return {
        "number": trial.number,
        "state": str(trial.state),
        "created": trial.created,
        "plan": {name: [*value] if isinstance(value, tuple) else value for name, value in plan.items()},
        "arms": [_arm(result) for result in judge_trial(trial)],
        "curves": curves,
    }


def _arm(result: ArmResult) -> Document:
    document: Document = {name: value for name, value in asdict(result).items() if name != "predicted"}
    document["status"] = str(result.status)
    document["predicted"] = None
    if result.predicted is not None:
        document["predicted"] = dict(zip(("gain", "low", "high"), result.predicted, strict=True))
    if result.status != "ok":
        document["advice"] = result.status.advice
    return document


def layer_document(run: Run, layer: Layer) -> Document:
    """One layer of :func:`show_document`."""
    by_layer = {r.layer: r for r in run.recommendations}
    return _layer(layer, run.estimates, run.verdicts, run.evidence, by_layer.get(layer.name), _judged(run.info))


def _layer(
    layer: Layer,
    estimates: Sequence[Estimate],
    verdicts: Sequence[Verdict],
    evidence: Sequence[Evidence],
    recommendation: Recommendation | None,
    judged: str,
) -> Document:
    return {
        "name": layer.name,
        "kind": str(layer.kind),
        "shape": list(layer.shape),
        "depth": layer.depth,
        "owners": list(layer.owners),
        "estimates": _estimates(estimates, layer.name),
        "verdicts": [_verdict(verdict) for verdict in verdicts if verdict.layer == layer.name],
        "evidence": _ladder(evidence, layer.name),
        "judged": judged,
        "recommendation": None if recommendation is None else _recommendation(recommendation),
    }


def _judged(info: RunInfo) -> str:
    """Under which optimizer the gains are."""
    return judged_under(info.optimizer, info.judged_under) or "under the checkpoint's own optimizer"


def _ladder(evidence: Sequence[Evidence], layer: str | None) -> list[JsonValue]:
    """One entry a remedy and one a larger batch; single settings stay in the run file."""
    told = (each for each in evidence if each.layer == layer)
    return [_gain(each) for each in told if each.role is not EvidenceRole.SETTING or each.remedy == "batch"]


def _gain(evidence: Evidence) -> Document:
    document: Document = {
        "remedy": evidence.remedy,
        "setting": evidence.setting,
        "params": dict(evidence.params),
        "role": str(evidence.role),
        "gain": evidence.gain,
        "low": evidence.low,
        "high": evidence.high,
        "bias_floor": evidence.bias_floor,
        "batch": evidence.batch,
        "tokens_saved": evidence.tokens_saved,
        "tokens_saved_low": evidence.tokens_saved_low,
        "tokens_saved_high": evidence.tokens_saved_high,
        "p_value": evidence.p_value,
        "q_value": evidence.q_value,
        "n": evidence.n,
        "status": str(evidence.status),
    }
    if evidence.status != "ok":
        document["advice"] = evidence.status.advice
    return document


def _estimates(estimates: Sequence[Estimate], layer: str | None) -> list[JsonValue]:
    return [_estimate(e) for e in estimates if e.layer == layer]


def _estimate(estimate: Estimate) -> Document:
    document: Document = {
        "quantity": estimate.quantity,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "stderr": estimate.stderr,
        "n": estimate.n,
        "status": str(estimate.status),
    }
    if estimate.status != "ok":
        document["advice"] = estimate.status.advice
    if estimate.note:
        document["note"] = estimate.note
    return document


def _verdict(verdict: Verdict) -> Document:
    document: Document = {
        "question": verdict.question,
        "answer": verdict.answer,
        "runner_up": verdict.runner_up,
        "margin": verdict.margin,
        "p_value": verdict.p_value,
        "q_value": verdict.q_value,
        "n": verdict.n,
        "status": str(verdict.status),
    }
    if verdict.status != "ok":
        document["advice"] = verdict.status.advice
    if verdict.note:
        document["note"] = verdict.note
    return document


def _with_shape(recommendation: Recommendation, shapes: Mapping[str, tuple[int, ...]]) -> Document:
    """What a training run is checked against before anything is switched on."""
    document = _recommendation(recommendation)
    if recommendation.layer is not None and recommendation.layer in shapes:
        document["shape"] = [*shapes[recommendation.layer]]
    return document


def _recommendation(recommendation: Recommendation) -> Document:
    return {
        "scope": recommendation.scope,
        "layer": recommendation.layer,
        "remedy": str(recommendation.remedy),
        "params": dict(recommendation.params),
        "status": str(recommendation.status),
        "severity": str(recommendation.severity),
        "reason": recommendation.reason,
        "gain_low": recommendation.gain_low,
        "gain_high": recommendation.gain_high,
        "gain": recommendation.gain,
        "tokens_saved": recommendation.tokens_saved,
        "tokens_saved_low": recommendation.tokens_saved_low,
        "tokens_saved_high": recommendation.tokens_saved_high,
        "alternatives": [*recommendation.alternatives],
        "unless": recommendation.unless,
        "because": [_estimate(e) for e in recommendation.because],
    }
