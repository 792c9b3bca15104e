"""Passes over activations and gradients that are worth a kernel: plain torch, Triton, and a function that chooses."""

from gnoise.kernels.choice import SWITCH, Backend
from gnoise.kernels.fused_norms import FusedNorms, use_fused_norms
from gnoise.kernels.layer_norm import layer_norm_backward
from gnoise.kernels.rms_norm import rms_norm_backward

__all__ = ["SWITCH", "Backend", "FusedNorms", "layer_norm_backward", "rms_norm_backward", "use_fused_norms"]
