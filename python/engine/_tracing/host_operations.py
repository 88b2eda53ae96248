"""Operations that Python computes in the middle of a batch, such as the inverse of a matrix.

A node "host" holds the name of a function of `engine.ops`, or of one in `host_functions`. The core calls it with arrays, and
reads its result. The rule for its derivative is recorded behind the node, as that of `ops.custom_gradient`, and may have nodes
of this kind, so that there are second derivatives as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from engine._core_interface.cpp import compute_arrays_by
from engine._core_interface.host_steps import ArrayStep
from engine._tracing.custom_gradients import give_rule
from engine._tracing.dispatch import function_of_arrays
from engine._tracing.errors import CannotRecordError, line_of_user
from engine._tracing.extents import Extent, Extents, joint_length
from engine._tracing.primitives import part
from engine._tracing.trace import TracedArray

Rule = Callable[[Sequence[TracedArray], Sequence[TracedArray]], Sequence[TracedArray | None]]
"""From the gradients with respect to the results, and the results, to the gradients with respect to the arguments."""

host_functions: dict[str, Callable[..., Any]] = {}
"""Functions of arrays that `engine.ops` doesn't have, and that rules need."""


def host(
    function: str,
    arguments: Sequence[TracedArray],
    shapes: Sequence[Extents],
    *,
    batch: Extents = (),
    dtypes: Sequence[str] = (),
    rule: Rule | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[TracedArray, ...]:
    """Returns the results of a function that Python computes.

    Args:
        function: its name.
        arguments: its arrays.
        shapes: of its results, without the axes `batch`.
        batch: the first axes of all results. Each of their elements is computed from that of each argument.
        dtypes: of the results; default float32.
        rule: for the gradients; None refuses a loss that depends on the results. `constant` is that of integers.
        options: other arguments of the function, as JSON can hold them.
    """
    sizes = [_size(shape) for shape in shapes]
    total = sizes[0]
    for size in sizes[1:]:
        total = total.plus(size)
    # The core's functions have one result: several are joined for each element of the batch.
    extents = (*batch, *shapes[0]) if len(shapes) == 1 else (*batch, total)
    dtype = dtypes[0] if len(dtypes) == len(shapes) == 1 else "float32"
    y = arguments[0].trace.add(
        "host", arguments, extents, dtype, function=function, options=json.dumps(dict(options or {})),
        arguments=len(arguments), by_row=bool(batch),
    )  # fmt: skip

    def split(array: TracedArray) -> tuple[TracedArray, ...]:
        if len(shapes) == 1:
            return (array,)
        results, begin = list[TracedArray](), Extent(0)
        for shape, size in zip(shapes, sizes, strict=True):
            results.append(part(array, len(batch), begin, size).reshaped((*batch, *shape)))
            begin = begin.plus(size)
        return tuple(results)

    if rule is not None:
        give_rule(y, arguments, lambda upstream: rule(split(upstream), split(y)))
    results = split(y)
    return tuple(
        result.as_dtype(name)
        for result, name in zip(results, dtypes or ["float32"] * len(results), strict=True)
    )


def constant(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> list[TracedArray | None]:
    """The rule of results such as integers, whose derivatives are zero."""
    del dy, y
    return []


def _size(shape: Extents) -> Extent:
    size = joint_length(shape)
    if size is None:
        msg = f"{line_of_user()}: a result would have as many numbers as the square of the number of samples: use fewer axes"
        raise CannotRecordError(msg)
    return size


def _compute(step: ArrayStep) -> None:
    """Does a step of an operation on arrays."""
    name, outputs = step["function"], step["outputs"]
    function = host_functions.get(name) or function_of_arrays(name)
    results = function(*step["inputs"], **json.loads(step["options"]))
    if not isinstance(results, tuple):
        outputs[...] = results
        return
    axes = outputs.ndim - 1
    parts = [np.reshape(result, (*outputs.shape[:-1], math.prod(result.shape[axes:]))) for result in results]
    np.concatenate(parts, axis=-1, out=outputs, casting="unsafe")


compute_arrays_by(_compute)
