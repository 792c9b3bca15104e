"""The effect benchmark in small: each family helps against the noise it is for, and none against Gaussian noise."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
ENTRYWISE, BY_NORM, ROWS = "shrink(rational)", "clip_norm(median)", "shrink(saturating, rows)"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("remedy_effects")


def losses(bench: ModuleType, optimizer: str, noise: str, *arms: str) -> dict[str, np.ndarray]:
    problem = bench.least_squares()
    return {arm: bench.trained(problem, optimizer, arm, noise, seeds=12, steps=100) for arm in ("none", *arms)}


def test_gaussian_noise_leaves_nothing_to_gain(bench: ModuleType) -> None:
    found = losses(bench, "AdamW", "gaussian", ENTRYWISE, BY_NORM, "stabilize()")
    for arm in (ENTRYWISE, BY_NORM, "stabilize()"):
        ratio, *_ = bench.effect(found["none"], found[arm])
        assert 0.93 < ratio < 1.1, arm


def test_before_muon_gaussian_noise_of_one_size_leaves_nothing_either(bench: ModuleType) -> None:
    problem = bench.least_squares()
    found = {
        arm: bench.trained(problem, "Muon", arm, "equal gaussian", seeds=10, steps=40) for arm in ("none", ENTRYWISE)
    }
    ratio, *_ = bench.effect(found["none"], found[ENTRYWISE])
    assert 0.97 < ratio < 1.05


def test_heavy_entries_call_for_entrywise_rules(bench: ModuleType) -> None:
    found = losses(bench, "AdamW", "cauchy", ENTRYWISE, BY_NORM, "stabilize()")
    _, _, high, *_ = bench.effect(found["none"], found[ENTRYWISE])
    assert high < 0.75
    for arm in (BY_NORM, "stabilize()"):
        ratio, *_ = bench.effect(found["none"], found[arm])
        assert ratio > 0.85, arm


def test_bare_sgd_diverges_under_heavy_entries(bench: ModuleType) -> None:
    found = losses(bench, "SGD", "cauchy", ENTRYWISE)
    ordinary = [rate >= 0.01 for rate in bench.RATES["SGD"]]
    assert (found["none"][ordinary] > 1.0).all()
    *_, diverged = bench.effect(found["none"], found[ENTRYWISE])
    assert diverged == 0.0


def test_loud_draws_call_for_bounded_norms(bench: ModuleType) -> None:
    found = losses(bench, "AdamW", "spiky", BY_NORM, "stabilize()")
    for arm in (BY_NORM, "stabilize()"):
        _, _, high, *_ = bench.effect(found["none"], found[arm])
        assert high < 0.75, arm


def test_falling_forms_delete_rare_rows_and_row_scales_keep_them(bench: ModuleType) -> None:
    found = losses(bench, "AdamW", "rare rows", ENTRYWISE, ROWS)
    _, low, *_ = bench.effect(found["none"], found[ENTRYWISE])
    assert low > 1.05
    ratio, *_ = bench.effect(found["none"], found[ROWS])
    assert 0.95 < ratio < 1.06
