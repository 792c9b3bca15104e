"""The pages, in the order of the navigation: each has a ``TITLE`` and a ``render(run)``."""

from . import layers, overview

VIEWS = (overview, layers)
