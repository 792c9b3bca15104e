"""Hooks on a workload; samples out, streamed."""

from gnoise.collect.collector import Collector
from gnoise.collect.layers import Parameter, trainable_parameters
from gnoise.collect.per_example import per_example_sq_norms
from gnoise.collect.profile import collect_run, expected_bytes, place, run_info, seconds_per_example
from gnoise.collect.workload import Batch, Workload

__all__ = [
    "Batch",
    "Collector",
    "Parameter",
    "Workload",
    "collect_run",
    "expected_bytes",
    "per_example_sq_norms",
    "place",
    "run_info",
    "seconds_per_example",
    "trainable_parameters",
]
