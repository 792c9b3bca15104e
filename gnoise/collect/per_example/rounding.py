"""How nearly two ways to one gradient must agree, given the precision they were computed in."""

RELATIVE_TOLERANCE = 1e-3
_UNITS = 8


def close(difference: float, a: float, b: float, *, size: float, rounding: float) -> bool:
    """Say whether two gradients differ by no more than rounding.

    Args:
        difference: norm of it.
        a: norm of the one.
        b: norm of the other.
        size: norm of the whole model's gradient, against which rounding is judged: some parameters (the bias of
            attention keys) have nothing but rounding for a gradient. Zero where the whole itself is compared.
        rounding: unit of the coarsest numbers on the way.
    """
    unit = _UNITS * rounding
    return difference <= max(RELATIVE_TOLERANCE, unit) * max(a, b) + unit * size
