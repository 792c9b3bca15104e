"""Triton source: imported only where it runs, for Triton need not be installed."""
