"""What every test runs under: shapes and types checked at run time, reproducible and unhurried properties."""

import os

from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

# Signatures in the rooms where arrays travel are enforced in every call the tests make. Kernels stay out:
# Triton reads their source.
ENFORCED = (
    "gnoise.records",
    "gnoise.trial_records",
    "gnoise.quantities",
    "gnoise.errors",
    "gnoise.references",
    "gnoise.formulas",
    "gnoise.stats",
    "gnoise.rules",
    "gnoise.runfile",
    "gnoise.charts",
    "gnoise.export",
    "gnoise.collect",
)
# An int is a float's equal, as the static checker has it.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(ENFORCED, CHECKER)

settings.register_profile(
    "gnoise",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("gnoise")

# The tests' tensors are tiny: a second thread only waits, and on a busy machine waits long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nothing in the tests may reach a network, telemetry of dependencies included.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
