"""What the collector does with a draw, apart from the numbers it makes of it."""

import numpy as np
import pytest
import torch

from gnoise.collect import collector, trainable_parameters
from gnoise.collect.collector import Collector
from tests.collect.workloads import tied_workload


def blocks(monkeypatch: pytest.MonkeyPatch, *, to_host: bool) -> list[collector.Block]:
    monkeypatch.setattr(collector, "_goes_to_host", lambda tensor: to_host and tensor.ndim == 1)
    workload = tied_workload()
    return list(Collector(workload, trainable_parameters(workload.module), draws=32, examples_per_draw=4).blocks())


def test_small_tensors_fetched_in_one_copy_give_the_same_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    apart, together = blocks(monkeypatch, to_host=False), blocks(monkeypatch, to_host=True)
    assert len(apart) == collector.BLOCKS
    vectors = 0
    for (_, plain), (_, fetched) in zip(apart, together, strict=True):
        assert plain.keys() == fetched.keys()
        for name, a in plain.items():
            b = fetched[name]
            vectors += a.matrix is None
            np.testing.assert_array_equal(a.coordinates.values, b.coordinates.values)
            np.testing.assert_array_equal(a.norms.block_sq_norms, b.norms.block_sq_norms)
            np.testing.assert_array_equal(a.sketch.entries[0].counts, b.sketch.entries[0].counts)
    assert vectors > 0


def test_a_cpus_tensors_stay_where_they_are() -> None:
    assert not collector._goes_to_host(torch.zeros(3))
