"""Expressions of symbols with unknown lengths, and the shapes that they have in Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

UNKNOWN_2, UNKNOWN_3, TWO_UNKNOWN = (2, None), (None, 3), (None, None)


class Case(NamedTuple):
    """An expression of `engine.ops` or `keras.ops`, and the shape of its result for symbols of the shapes `inputs`."""

    expression: Callable[..., Any]
    inputs: list[tuple[int | None, ...]]
    shape: Any


CASES = {
    "add": Case(lambda ops, x, y: ops.add(x, y), [UNKNOWN_3, UNKNOWN_2], (2, 3)),
    "multiply of two unknown lengths": Case(lambda ops, x, y: x * y, [UNKNOWN_3, TWO_UNKNOWN], (None, 3)),
    "an unknown length beside 1": Case(lambda ops, x, y: x - y, [(None, 1), (4, None)], (4, None)),
    "maximum of three axes": Case(
        lambda ops, x, y: ops.maximum(x, y), [(None, 2, None), (1, None)], (None, 2, None)
    ),
    "where": Case(
        lambda ops, c, x, y: ops.where(c, x, y), [(2, None, 1), (None, 1), (None, 3)], (2, None, 3)
    ),
    "matmul": Case(lambda ops, x, y: ops.matmul(x, y), [UNKNOWN_3, (3, None)], TWO_UNKNOWN),
    "matmul of batches": Case(
        lambda ops, x, y: ops.matmul(x, y), [(None, 3, 4), (3, None, 4, 5)], (3, None, 3, 5)
    ),
    "dot": Case(lambda ops, x, y: ops.dot(x, y), [(None, 2, 3), (None, 3, None)], (None, 2, None, None)),
    "inner": Case(lambda ops, x, y: ops.inner(x, y), [(None,), (3,)], ()),
    "outer": Case(lambda ops, x, y: ops.outer(x, y), [UNKNOWN_3, UNKNOWN_2], TWO_UNKNOWN),
    "tensordot": Case(
        lambda ops, x, y: ops.tensordot(x, y, [[0, 1], [1, 0]]), [(None, 3, 4), (3, None)], (4,)
    ),
    "einsum": Case(lambda ops, x, y: ops.einsum("ij,jk->ik", x, y), [UNKNOWN_3, (None, 4)], (None, 4)),
    "concatenate": Case(lambda ops, x, y: ops.concatenate([x, y], 1), [UNKNOWN_2, UNKNOWN_3], UNKNOWN_2),
    "vstack": Case(lambda ops, x, y: ops.vstack([x, y]), [UNKNOWN_3, TWO_UNKNOWN], UNKNOWN_3),
    "append": Case(lambda ops, x, y: ops.append(x, y), [UNKNOWN_3, UNKNOWN_2], (None,)),
    "stack": Case(lambda ops, x, y: ops.stack([x, y]), [UNKNOWN_3, UNKNOWN_3], (2, None, 3)),
    "split": Case(lambda ops, x: ops.split(x, 2), [(None, 4)], [(None, 4), (None, 4)]),
    "split into three": Case(lambda ops, x: ops.split(x, 3, 1), [(2, None)], [UNKNOWN_2] * 3),
    "array_split": Case(lambda ops, x: ops.array_split(x, 3), [(None, 4)], [(None, 4)] * 3),
    "reshape": Case(lambda ops, x: ops.reshape(x, (-1, 3)), [(None, 6)], UNKNOWN_3),
    "reshape to unknown lengths": Case(
        lambda ops, x: ops.reshape(x, (None, None, 3)), [(None, 6)], (None, None, 3)
    ),
    "reshape to known lengths": Case(lambda ops, x: ops.reshape(x, (3, 2)), [UNKNOWN_3], (3, 2)),
    "ravel": Case(lambda ops, x: ops.ravel(x), [TWO_UNKNOWN], (None,)),
    "expand_dims": Case(lambda ops, x: ops.expand_dims(x, 1), [TWO_UNKNOWN], (None, 1, None)),
    "squeeze": Case(lambda ops, x: ops.squeeze(x), [(None, 1, None)], TWO_UNKNOWN),
    "transpose": Case(lambda ops, x: ops.transpose(x), [(2, None, 5)], (5, None, 2)),
    "broadcast_to": Case(lambda ops, x: ops.broadcast_to(x, (2, 3, 3)), [UNKNOWN_3], (2, 3, 3)),
    "slice of unknown lengths": Case(lambda ops, x: x[:5, 1:], [(None, 4, None)], (None, 3, None)),
    "one of unknown length": Case(lambda ops, x: x[-1], [(None, 4)], (4,)),
    "take": Case(lambda ops, x, i: ops.take(x, i, axis=2), [(None, 3, None, 5), (6, 7)], (None, 3, 6, 7, 5)),
    "diag": Case(lambda ops, x: ops.diag(x), [UNKNOWN_3], (None,)),
    "diagonal": Case(lambda ops, x: ops.diagonal(x), [(None, 3, 3)], (3, None)),
    "trace": Case(lambda ops, x: ops.trace(x), [(None, 3, None, 5)], (None, 5)),
    "diff": Case(lambda ops, x: ops.diff(x, n=2, axis=0), [UNKNOWN_3], UNKNOWN_3),
    "diff of few": Case(lambda ops, x: ops.diff(x, n=4), [UNKNOWN_3], (None, 0)),
    "repeat": Case(lambda ops, x: ops.repeat(x, 2), [UNKNOWN_3], (None,)),
    "tile": Case(lambda ops, x: ops.tile(x, [1, 2]), [UNKNOWN_2], UNKNOWN_2),
    "roll": Case(lambda ops, x: ops.roll(x, [1, 2], axis=[0, 1]), [UNKNOWN_3], UNKNOWN_3),
    "roll twice": Case(lambda ops, x: ops.roll(x, [1, 2], axis=[0]), [UNKNOWN_3], UNKNOWN_3),
    "pad": Case(lambda ops, x: ops.pad(x, 1), [UNKNOWN_3], (None, 5)),
    "mean": Case(lambda ops, x: ops.mean(x, axis=1), [(None, None, 5)], (None, 5)),
    "median": Case(lambda ops, x: ops.median(x, axis=0, keepdims=True), [UNKNOWN_3], (1, 3)),
    "sort": Case(lambda ops, x: ops.sort(x), [TWO_UNKNOWN], TWO_UNKNOWN),
    "top_k": Case(lambda ops, x: ops.top_k(x, 2), [TWO_UNKNOWN], [(None, 2), (None, 2)]),
    "cumsum": Case(lambda ops, x: ops.cumsum(x, axis=0), [UNKNOWN_3], UNKNOWN_3),
    "full_like": Case(lambda ops, x: ops.full_like(x, 2), [UNKNOWN_3], UNKNOWN_3),
    "softmax": Case(lambda ops, x: ops.softmax(x), [TWO_UNKNOWN], TWO_UNKNOWN),
    "binary_crossentropy": Case(
        lambda ops, x, y: ops.binary_crossentropy(x, y), [UNKNOWN_3, UNKNOWN_3], UNKNOWN_3
    ),
    "tril": Case(lambda ops, x: ops.tril(x), [(None, None, 3)], (None, None, 3)),
    "segment_sum": Case(
        lambda ops, x, i: ops.segment_sum(x, ops.cast(i, "int32")), [(None, 4), (10,)], (None, 4)
    ),
    "segment_max": Case(
        lambda ops, x, i: ops.segment_max(x, ops.cast(i, "int32"), num_segments=5), [(None, 4), (10,)], (5, 4)
    ),
    "cross": Case(lambda ops, x, y: ops.cross(x, y), [(2, 3, 3), (None, 1, 2)], (2, 3, 3)),
    "cross of two": Case(lambda ops, x, y: ops.cross(x, y), [(1, 3, 2), (None, 1, 2)], UNKNOWN_3),
    "einsum of a diagonal": Case(lambda ops, x: ops.einsum("bii->bi", x), [(None, None, 3)], TWO_UNKNOWN),
    "repeat of each": Case(lambda ops, x: ops.repeat(x, [1, 2], axis=0), [UNKNOWN_3], UNKNOWN_3),
    "unstack": Case(lambda ops, x: ops.unstack(x, 2, 1), [(2, None, None)], [UNKNOWN_2, UNKNOWN_2]),
    "slice": Case(
        lambda ops, x, i: ops.slice(x, ops.cast(i, "int32"), (2, -1)), [UNKNOWN_3, (2,)], UNKNOWN_2
    ),
    "one_hot": Case(lambda ops, x: ops.one_hot(ops.cast(x, "int32"), 4), [TWO_UNKNOWN], (None, None, 4)),
}
REFUSED = {
    "add": Case(lambda ops, x, y: ops.add(x, y), [UNKNOWN_3, (2, 4)], None),
    "matmul": Case(lambda ops, x, y: ops.matmul(x, y), [UNKNOWN_3, (4, None)], None),
    "concatenate": Case(lambda ops, x, y: ops.concatenate([x, y], 0), [UNKNOWN_3, (None, 4)], None),
    "squeeze": Case(lambda ops, x: ops.squeeze(x, 0), [(None, 1)], None),
    "reshape": Case(lambda ops, x: ops.reshape(x, (3, 5)), [(2, 3)], None),
    "get_item": Case(lambda ops, x: x[:, 17], [UNKNOWN_3], None),
    "repeat": Case(lambda ops, x: ops.repeat(x, [1, 1, 1], axis=0), [(2, 3)], None),
    "diag": Case(lambda ops, x: ops.diag(x), [(2, 3, 4)], None),
    "trace": Case(lambda ops, x: ops.trace(x, axis1=1, axis2=1), [(None, 3, 3)], None),
    "meshgrid": Case(lambda ops, x: ops.meshgrid(x, x, indexing="kk"), [UNKNOWN_3], None),
    "too many keys": Case(lambda ops, x: x[:, :, :], [UNKNOWN_3], None),
}


def shapes_in(result: Any) -> Any:
    """Returns the shape of a symbol, or those of several."""
    return [each.shape for each in result] if isinstance(result, (list, tuple)) else result.shape
