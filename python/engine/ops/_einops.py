"""`rearrange`: transposition and reshaping with named axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from engine._base.promotion import Result, as_array, copied
from engine._tracing.traceable import make_all_traceable


def rearrange(tensor: ArrayLike, pattern: str, **axes_lengths: int) -> Result:
    """`tensor` with its axes reordered, split and joined as `pattern` says.

    Args:
        tensor: any shape.
        pattern: names of its axes, "->", and names of those of the result: "b (h w) c -> b h w c". Axes in
            parentheses are one, the last of them moving fastest.
        **axes_lengths: lengths of axes in parentheses; one of each pair of parentheses may be left out.

    Raises:
        ValueError: if the pattern doesn't fit the shape, or names other axes on both sides.
    """
    from engine._base.named_axes import rearrangement  # which few programs need

    values = as_array(tensor)
    split, order, joined = rearrangement(pattern, values.shape, axes_lengths)
    return copied(np.transpose(values.reshape(split), order).reshape(joined))


make_all_traceable(globals())
