"""Norms along a path of moving weights: how loud a draw is among its neighbours, not among all.

As weights move the level of all norms moves with them. On the first steps from a checkpoint some layers' gradients
shrink to a quarter, and the first draws would pass for spikes of any height.
"""

import numpy as np
from jaxtyping import Float

REACH = 4
"""Draws on either side: enough for a median, few enough for the level to stand still. Where it falls to a quarter
within four draws, the largest left of it is less than 2."""


def over_level(sq_norms: Float[np.ndarray, "draws ..."]) -> Float[np.ndarray, "draws ..."]:
    r"""Divide squared norms by the median of those of the draws around, zeros apart.

    $$\tilde{s}_m = s_m \big/ \operatorname{median}\{s_k > 0 : |k - m| \le 4\}$$

    A spike stays as high as it was over its neighbours; a draw of zero stays zero.

    Args:
        sq_norms: in the order in which they were drawn; returned as they are where any is not finite.
    """
    if not np.isfinite(sq_norms).all():
        return sq_norms
    relative = np.zeros(sq_norms.shape)
    with np.errstate(over="ignore"):  # beyond all numbers is not finite, which statistics say
        for draw, own in enumerate(sq_norms):
            near = sq_norms[max(0, draw - REACH) : draw + REACH + 1]
            if np.any(own):
                relative[draw] = own / np.median(near[near > 0.0])
    return relative
