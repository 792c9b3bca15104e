"""``python -m gnoise``, for ``torchrun`` and for places without the script."""

from gnoise.cli import main

main()
