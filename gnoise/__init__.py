"""gnoise: what the noise in your gradients does, layer by layer, and what to do about it.

The public surface. Importing it imports no torch; the functions do when they need to.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from gnoise.errors import GnoiseError, UserError

if TYPE_CHECKING:
    from gnoise.collect.profile import profile
    from gnoise.remedies.apply import apply
    from gnoise.runfile import open_run
    from gnoise.runfile.analyze import analyze
    from gnoise.runfile.compare import compare
    from gnoise.trials.trial import trial

try:
    __version__ = version("gnoise")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "analyze": "gnoise.runfile.analyze",
    "apply": "gnoise.remedies.apply",
    "compare": "gnoise.runfile.compare",
    "open_run": "gnoise.runfile",
    "profile": "gnoise.collect.profile",
    "trial": "gnoise.trials.trial",
}

__all__ = ["GnoiseError", "UserError", "__version__", "analyze", "apply", "compare", "open_run", "profile", "trial"]


def __getattr__(name: str) -> object:
    """Import a public function when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gnoise' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
