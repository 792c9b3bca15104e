"""Passes over activations and gradients that are worth a kernel: plain torch, Triton, and a function that chooses."""

from gnoise.kernels.choice import SWITCH, Backend
from gnoise.kernels.entrywise_remedies import remedied_adam_moments_
from gnoise.kernels.fused_norms import FusedNorms, use_fused_norms
from gnoise.kernels.layer_norm import layer_norm_backward
from gnoise.kernels.linear_norms import Order, per_example_linear_norms
from gnoise.kernels.rms_norm import rms_norm_backward
from gnoise.kernels.sketch import BitCounts, sketch

__all__ = [
    "SWITCH",
    "Backend",
    "BitCounts",
    "FusedNorms",
    "Order",
    "layer_norm_backward",
    "per_example_linear_norms",
    "remedied_adam_moments_",
    "rms_norm_backward",
    "sketch",
    "use_fused_norms",
]
