"""What a draw tells beside its gradient."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Draw:
    """What was seen while a draw's gradient was added up.

    Attributes:
        example_sq_norms: of each layer's one-example gradients.
        losses: of each example.
    """

    example_sq_norms: Float[np.ndarray, "layers examples"]
    losses: Float[np.ndarray, " examples"]

    @property
    def finite(self) -> bool:
        """Whether every loss and every norm is a finite number."""
        return bool(np.isfinite(self.losses).all() and np.isfinite(self.example_sq_norms).all())
