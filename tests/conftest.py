"""What every test runs under: shapes and types checked at run time, reproducible and unhurried properties."""

import os

from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

# Signatures in these rooms are enforced in every call the tests make. Kernels are left out because
# Triton reads their source; the command line and its verbs are called with text.
ENFORCED = (
    "gnoise.records",
    "gnoise.quantities",
    "gnoise.errors",
    "gnoise.formulas",
    "gnoise.stats",
    "gnoise.rules",
    "gnoise.runfile",
    "gnoise.charts",
    "gnoise.export",
    "gnoise.models",
    "gnoise.data",
    "gnoise.collect",
)
install_import_hook(ENFORCED, "beartype.beartype")

settings.register_profile(
    "gnoise",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("gnoise")

# Nothing in the tests may reach a network, telemetry of dependencies included.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
