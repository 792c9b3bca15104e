"""Rows for every remedy of every layer and the model; what must not be judged has a status instead."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gnoise.records import Evidence, EvidenceRole, Kind, Layer, LayerSamples, Status
from gnoise.stats.evidence import ARMS, BATCH, EVERY_RATE, LAYERWISE_LR, RATES, Arm, Ladders, sgd
from tests.contract.samples import LAYER, gaussian, layer_samples

REMEDIES = set(dict.fromkeys(arm.remedy for arm in ARMS))


def _rows(layers: dict[Layer, LayerSamples], arms: tuple[Arm, ...] = ARMS) -> list[Evidence]:
    ladders = Ladders(sgd(), arms)
    for layer, samples in layers.items():
        ladders.add(ladders.judge(layer, samples))
    return ladders.rows()


def _loud(seed: int = 0) -> np.ndarray:
    """Every tenth draw is thirty times as loud."""
    made = gaussian(seed=seed)
    made[::10] *= 30.0
    return made


def _one_loud_example() -> np.ndarray:
    made = gaussian()
    made[3, 1] *= 1000.0
    return made


def _nan() -> np.ndarray:
    made = gaussian()
    made[3, 1, 2, 2] = np.nan
    return made


def test_every_remedy_and_setting_of_every_layer_has_its_row() -> None:
    second = replace(LAYER, name="second")
    rows = _rows({LAYER: layer_samples(gaussian()), second: layer_samples(_loud(1))})
    keys = [(row.layer, row.role, row.remedy, row.setting) for row in rows]
    assert len(set(keys)) == len(keys)
    for layer in (None, LAYER.name, second.name):
        own = [row for row in rows if row.layer == layer]
        assert {row.remedy for row in own if row.role is EvidenceRole.REMEDY} == {*REMEDIES, LAYERWISE_LR}
        settings = [row.setting for row in own if row.role is EvidenceRole.SETTING and row.remedy != BATCH]
        rates = EVERY_RATE if layer is None else RATES
        assert settings == [arm.setting for arm in (*ARMS, *rates)]
        assert [row.setting for row in own if row.remedy == BATCH] == ["× 2", "× 4"]
        assert sum(row.role is EvidenceRole.BEST for row in own) == 1
    for row in rows:
        assert row.gain is not None
        assert row.low is not None
        assert (row.high is None) == (row.status is Status.AT_LEAST)
        assert row.low <= row.gain <= (math.inf if row.high is None else row.high)
        assert (row.q_value is None) == (row.layer is None)
        assert row.q_value is None or row.p_value is None or row.q_value >= row.p_value


def test_the_whole_models_remedies_are_no_layers_best_and_the_other_way_round() -> None:
    rows = _rows({LAYER: layer_samples(_loud())})
    best = {row.layer: row for row in rows if row.role is EvidenceRole.BEST}
    assert best[None].remedy in ("clip_global_norm", "stabilize")
    assert best[LAYER.name].remedy in ("clip_norm", "stabilize")
    assert best[LAYER.name].params
    assert min(row.low or 0.0 for row in best.values()) > 1.2


def test_rates_are_judged_where_there_are_two_layers_and_never_a_layers_best() -> None:
    rows = _rows({LAYER: layer_samples(gaussian())})
    assert all(row.remedy != LAYERWISE_LR for row in rows)
    second = replace(LAYER, name="second")
    rows = _rows({LAYER: layer_samples(gaussian()), second: layer_samples(_loud(1))}, ())
    assert {row.remedy for row in rows} == {LAYERWISE_LR, BATCH}
    assert not [row for row in rows if row.role is EvidenceRole.BEST]


def test_a_token_row_is_never_recommended_what_deletes_rare_gradients() -> None:
    deleting = tuple(arm for arm in ARMS if arm.redescends)
    embedding = replace(LAYER, name="wte", kind=Kind.EMBEDDING)
    samples = layer_samples(gaussian())
    rows = _rows({LAYER: samples, embedding: samples}, deleting)
    assert [row.layer for row in rows if row.role is EvidenceRole.BEST] == [LAYER.name]


def test_a_remedys_own_numbers_do_not_depend_on_the_others() -> None:
    samples = layer_samples(_loud())
    every, alone = _rows({LAYER: samples}), _rows({LAYER: samples}, tuple(a for a in ARMS if a.remedy == "clip"))
    of_clip = [row for row in every if row.remedy == "clip" and row.role is not EvidenceRole.BEST]
    assert of_clip == [row for row in alone if row.remedy == "clip" and row.role is not EvidenceRole.BEST]


@pytest.mark.parametrize(
    ("gradients", "status"),
    [
        (_one_loud_example, Status.ONE_EXAMPLE),
        (lambda: gaussian(8), Status.TOO_FEW_DRAWS),
        (lambda: np.zeros_like(gaussian()), Status.ALL_ZERO),
        (_nan, Status.NON_FINITE),
    ],
)
def test_what_cannot_be_judged_has_a_status_and_no_gain(gradients: Callable[[], np.ndarray], status: Status) -> None:
    rows = _rows({LAYER: layer_samples(gradients(), blocks=4)})
    assert [(row.layer, row.gain, row.status) for row in rows] == [(None, None, status), (LAYER.name, None, status)]


def test_a_layer_that_cannot_be_judged_is_left_out_of_the_model() -> None:
    broken = replace(LAYER, name="broken")
    samples = layer_samples(_loud())
    rows = _rows({LAYER: samples, broken: layer_samples(_nan())})
    alone = _rows({LAYER: samples})
    assert [row for row in rows if row.layer is None] == [row for row in alone if row.layer is None]
