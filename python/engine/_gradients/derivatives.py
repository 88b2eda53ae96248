"""Derivatives in traces: which sources a value depends on, and the nodes that compute the derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from engine._tracing.lazy import LazyTrace
from engine._tracing.lost_derivatives import reachable
from engine._tracing.trace import FLOAT32, Fields, Node, OfWeight, Origin, Trace, TracedArray, View


def derivatives(trace: Trace, total: TracedArray, sources: Sequence[TracedArray | None]) -> list[Any]:
    """Returns the derivatives of the sum of an array with respect to sources of the same trace, None where there is none.

    Args:
        trace: the trace of all these arrays.
        total: the array whose sum is differentiated.
        sources: what to differentiate by. For a source that is None the result is None.
    """
    reached, layers = reachable(trace, total.origin)
    has_derivative = [
        source is not None
        and (
            source.origin in reached
            or (isinstance(source.origin, OfWeight) and source.origin.owner in layers)
        )
        for source in sources
    ]
    by_origin = dict[Origin, TracedArray]()  # each origin once, though several sources may view it
    for source, differentiable in zip(sources, has_derivative, strict=True):
        if differentiable and source is not None:
            by_origin.setdefault(source.origin, source)
    if not by_origin:
        return [None] * len(sources)
    indices = {origin: index for index, origin in enumerate(by_origin)}
    # One node computes all derivatives, and one node for each source reads its own.
    node = (trace.add("gradients", (total, *by_origin.values()), (), "float32").view,)
    return [
        _derivative(trace, node, source, indices[source.origin])
        if differentiable and source is not None
        else None
        for source, differentiable in zip(sources, has_derivative, strict=True)
    ]


def _derivative(trace: Trace, node: tuple[View], source: TracedArray, index: int) -> TracedArray:
    """Returns the derivative with respect to a source, which has an index among those of a node "gradients"."""
    origin = trace.append(Node("gradient", node, source.extents, _fields(index)), FLOAT32)
    return trace.symbol(trace, origin, source.extents, FLOAT32)


@lru_cache
def _fields(index: int) -> Fields:
    return Fields(index=index)


def unconnected(trace: LazyTrace, shape: Any) -> TracedArray:
    """Returns zeros of a shape: the derivative with respect to a source on which the target doesn't depend."""
    return trace.argument(np.zeros(shape, np.float32))
