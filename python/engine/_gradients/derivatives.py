"""Derivatives in traces: which sources a value depends on, and the nodes that compute them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine._tracing.lazy import LazyTrace
from engine._tracing.trace import Computed, Node, OfWeight, Origin, Trace, TracedArray, Use


def derivatives(trace: Trace, total: TracedArray, sources: Sequence[TracedArray | None]) -> list[Any]:
    """Returns the derivatives of the sum of an array by sources of the same trace, None where there is none.

    Args:
        trace: of all of them.
        total: the array.
        sources: what to differentiate by. None is not differentiated by.
    """
    reached, layers = _reached(trace, total.origin)
    wanted = [
        source is not None
        and (
            source.origin in reached
            or (isinstance(source.origin, OfWeight) and source.origin.layer in layers)
        )
        for source in sources
    ]
    by = [source for source, each in zip(sources, wanted, strict=True) if each and source is not None]
    if not by:
        return [None] * len(sources)
    places = {origin: place for place, origin in enumerate(dict.fromkeys(each.origin for each in by))}
    first = {each.origin: each for each in reversed(by)}
    node = trace.add("gradients", (total, *(first[origin] for origin in places)), (), "float32")
    found = list[Any]()
    for source, each in zip(sources, wanted, strict=True):
        if not each or source is None:
            found.append(None)
            continue
        found.append(trace.add("gradient", (node,), source.extents, "float32", index=places[source.origin]))
    return found


def _reached(trace: Trace, end: Origin) -> tuple[set[Origin], set[Any]]:
    """Returns the origins that a value depends on in a differentiable way, and the layers whose weights it depends on."""
    dtypes = trace.dtypes if isinstance(trace, LazyTrace) else None
    reached, layers, waiting = set[Origin](), set[Any](), [end]
    while waiting:
        origin = waiting.pop()
        if origin in reached:
            continue
        reached.add(origin)
        if not isinstance(origin, Computed):
            continue
        entry = trace.entries[origin.entry]
        if isinstance(entry, Use):
            layers.update(entry.part._layers_of_weights)
        elif _stops(entry) or (dtypes is not None and np.dtype(dtypes[origin.entry]).kind in "biu"):
            continue
        waiting += [each for each, _ in entry.inputs]
    return reached, layers


def _stops(entry: Node) -> bool:
    """Whether no derivative goes through a node."""
    return entry.kind == "stop_gradient" or entry.fields.get("reduction") in ("argmax", "argmin")


def unconnected(trace: LazyTrace, shape: Any) -> TracedArray:
    """Returns the derivative by a source that has no influence: zeros."""
    return trace.argument(np.zeros(shape, np.float32))
