"""The pages, in the order of the navigation: each has a ``TITLE`` and a ``render(run)``."""

from . import layers, noise_scale, overview, remedies

VIEWS = (overview, layers, noise_scale, remedies)
