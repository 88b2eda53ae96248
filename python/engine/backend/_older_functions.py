"""The functions of Keras 2's backend whose names or arguments differ from those of `engine.ops`.

Each computes what Keras 2 computed on TensorFlow. Arrays and symbols are accepted alike, as everywhere in `engine.ops`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from engine import ops, random
from engine.layers.variable import Variable

# The numbers of axes of arrays whose samples are vectors and matrices.
_OF_VECTORS, _OF_MATRICES = 2, 3


def argmax(x: ArrayLike, axis: int = -1) -> Any:
    """Returns the indices of the largest entries along one axis.

    Args:
        x: array or symbol.
        axis: the axis.
    """
    return ops.argmax(x, axis=axis)


def argmin(x: ArrayLike, axis: int = -1) -> Any:
    """Returns the indices of the smallest entries along one axis.

    Args:
        x: array or symbol.
        axis: the axis.
    """
    return ops.argmin(x, axis=axis)


def batch_dot(x: Any, y: Any, axes: int | Sequence[int] | None = None) -> Any:
    """Multiplies each sample of `x` with that of `y`, over one axis of each.

    Args:
        x: array or symbol, shape (n, ...), of two or more axes.
        y: array or symbol, shape (n, ...), of two or more axes.
        axes: the axis of both, or one of each, which are equally long. By default the last of `x`, and the last but one
            of `y`, or its last if it has two.

    Returns:
        The axes of `x` without its own, and then those of `y` without its own and the first. If no axis but the first is
        left, one of length 1 follows it.

    Raises:
        ValueError: if there is no such axis, or the lengths differ.

    >>> batch_dot(np.ones((3, 4)), np.ones((3, 4)), axes=1).shape
    (3, 1)
    """
    if min(ops.ndim(x), ops.ndim(y)) < _OF_VECTORS:
        msg = f"`x` and `y` must have two axes or more, got {ops.ndim(x)} and {ops.ndim(y)}"
        raise ValueError(msg)
    vectors = ops.ndim(x) == _OF_VECTORS, ops.ndim(y) == _OF_VECTORS
    if axes is None:
        pair = [-1, -1 if vectors[1] else -2]
    else:
        pair = [axes, axes] if isinstance(axes, int) else list(axes)
    first, second = (axis % ops.ndim(each) for axis, each in zip(pair, (x, y), strict=True))
    if 0 in (first, second):
        msg = f"`axes` must not be the axis of the samples, which is the first, got {axes}"
        raise ValueError(msg)
    left = ops.expand_dims(x, 1) if vectors[0] else ops.moveaxis(x, first, -1)
    right = ops.expand_dims(y, 2) if vectors[1] else ops.moveaxis(y, second, 1)
    of_left = "abcdefgh"[: ops.ndim(left) - 1] + "z"
    of_right = "az" + "ijklmnop"[: ops.ndim(right) - 2]
    if len(of_left) == len(of_right) == _OF_MATRICES:
        product = ops.matmul(left, right)
    else:
        product = ops.einsum(f"{of_left},{of_right}->{of_left[:-1]}{of_right[2:]}", left, right)
    if vectors[0]:
        return ops.squeeze(product, 1)
    return ops.squeeze(product, -1) if vectors[1] else product


def batch_flatten(x: Any) -> Any:
    """Returns each sample as one row.

    Args:
        x: array or symbol, shape (n, ...).
    """
    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """Adds a bias to the last axis.

    Args:
        x: array or symbol, shape (n, ..., units).
        bias: array or symbol, shape (units,).
        data_format: "channels_last", or None, which means the same here.

    Raises:
        ValueError: if `data_format` is another one.
    """
    if data_format not in (None, "channels_last"):
        msg = f"`data_format` must be 'channels_last' or None, got {data_format!r}"
        raise ValueError(msg)
    return x + bias


def cast_to_floatx(x: Any) -> Any:
    """Returns `x` as float32.

    Args:
        x: array or symbol.
    """
    return ops.cast(x, "float32")


def clip(x: ArrayLike, min_value: Any = None, max_value: Any = None) -> Any:
    """Limits the entries of an array.

    Args:
        x: array or symbol.
        min_value: the least value, or None for no limit.
        max_value: the largest value, or None for no limit. If it is less than `min_value`, that takes its place.
    """
    if isinstance(min_value, int | float) and isinstance(max_value, int | float):
        max_value = max(min_value, max_value)
    return ops.clip(
        x, -np.inf if min_value is None else min_value, np.inf if max_value is None else max_value
    )


def concatenate(tensors: Sequence[Any], axis: int = -1) -> Any:
    """Joins arrays along one axis.

    Args:
        tensors: arrays or symbols, whose shapes differ in this axis at most.
        axis: the axis.
    """
    return ops.concatenate(tensors, axis=axis)


def constant(
    value: Any, dtype: DTypeLike | None = None, shape: Sequence[int] | None = None, name: str | None = None
) -> Any:
    """Returns an array of given entries.

    Args:
        value: a number or an array.
        dtype: by default float32.
        shape: by default that of `value`. A number fills it.
        name: without effect.
    """
    del name
    given = ops.convert_to_tensor(value, dtype or "float32")
    return given if shape is None else ops.broadcast_to(given, tuple(shape))


def cumprod(x: ArrayLike, axis: int = 0) -> Any:
    """Returns the products of the entries up to each.

    Args:
        x: array or symbol.
        axis: the axis along which they are multiplied.
    """
    return ops.cumprod(x, axis=axis)


def cumsum(x: ArrayLike, axis: int = 0) -> Any:
    """Returns the sums of the entries up to each.

    Args:
        x: array or symbol.
        axis: the axis along which they are added.
    """
    return ops.cumsum(x, axis=axis)


def dropout(x: ArrayLike, level: float, noise_shape: Any = None, seed: int | None = None) -> Any:
    """Sets random entries to zero, and multiplies the others by 1 / (1 - `level`).

    Args:
        x: array or symbol.
        level: the share of zeros, from 0 to less than 1.
        noise_shape: the shape of the random numbers, with 1 where entries share one. By default that of `x`.
        seed: a number, or None for the random state of the program.
    """
    return random.dropout(x, level, noise_shape=noise_shape, seed=seed)


def eval(x: Any) -> Any:
    """Returns the value of a weight or an array, as an array or a number of NumPy.

    Args:
        x: a weight or an array.
    """
    return x.numpy() if hasattr(x, "numpy") else np.array(x)


def expand_dims(x: ArrayLike, axis: int = -1) -> Any:
    """Inserts an axis of length 1.

    Args:
        x: array or symbol.
        axis: its place in the result.
    """
    return ops.expand_dims(x, axis)


def eye(size: int, dtype: DTypeLike | None = None, name: str | None = None) -> Any:
    """Returns the identity matrix.

    Args:
        size: its number of rows.
        dtype: by default float32.
        name: without effect.
    """
    del name
    return ops.eye(size, dtype=dtype or "float32")


def flatten(x: ArrayLike) -> Any:
    """Returns the entries of an array in one axis.

    Args:
        x: array or symbol.
    """
    return ops.reshape(x, (-1,))


def gather(reference: ArrayLike, indices: ArrayLike) -> Any:
    """Returns entries of the first axis.

    Args:
        reference: array or symbol.
        indices: integers, of any shape, which takes the place of the first axis.
    """
    return ops.take(reference, indices, axis=0)


def hard_sigmoid(x: ArrayLike) -> Any:
    """Returns 0.2 x + 0.5, limited to 0 and 1, which is Keras 2's; that of Keras 3 has the slope 1 / 6.

    Args:
        x: array or symbol.
    """
    return ops.clip(ops.add(ops.multiply(x, 0.2), 0.5), 0.0, 1.0)


def in_top_k(predictions: ArrayLike, targets: ArrayLike, k: int) -> Any:
    """Returns for each row whether its label is among the `k` largest predictions.

    Args:
        predictions: array, shape (n, classes).
        targets: integers, shape (n,).
        k: how many count.
    """
    return ops.in_top_k(targets, predictions, k)


def in_train_phase(x: Any, alt: Any, training: bool | None = None) -> Any:
    """Returns `x` in a training, and `alt` otherwise.

    Args:
        x: array or symbol, or a function without arguments that returns one.
        alt: array or symbol, or a function without arguments that returns one.
        training: the argument `training` of `call`. None means no training.
    """
    chosen = x if training else alt
    return chosen() if callable(chosen) else chosen


def in_test_phase(x: Any, alt: Any, training: bool | None = None) -> Any:
    """Returns `alt` in a training, and `x` otherwise.

    Args:
        x: array or symbol, or a function without arguments that returns one.
        alt: array or symbol, or a function without arguments that returns one.
        training: the argument `training` of `call`. None means no training.
    """
    return in_train_phase(alt, x, training)


def l2_normalize(x: ArrayLike, axis: Any = None) -> Any:
    """Divides by the Euclidean length.

    Args:
        x: array or symbol.
        axis: the axis or axes of the vectors; by default all.
    """
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, 1e-12)))


def learning_phase() -> int:
    """Returns 0: outside `fit` nothing trains, and in a `call`, the argument `training` tells."""
    return 0


def set_learning_phase(value: Any) -> None:
    """Accepts 0, which is the phase outside `fit` in any case.

    Args:
        value: 0.

    Raises:
        ValueError: for 1, since a call has the argument `training` for it.
    """
    if value:
        msg = f"the learning phase can't be set to {value!r}: pass `training=True` to the call of the model or the layer"
        raise ValueError(msg)


def map_fn(fn: Callable[[Any], Any], elems: Any, name: str | None = None, dtype: Any = None) -> Any:
    """Calls a function for each entry of the first axis, and stacks the results.

    Args:
        fn: takes one entry.
        elems: array, shape (n, ...).
        name: without effect.
        dtype: without effect.
    """
    del name, dtype
    return ops.map(fn, elems)


def ones(shape: Any, dtype: DTypeLike | None = None, name: str | None = None) -> Any:
    """Returns an array of ones.

    Args:
        shape: its shape.
        dtype: by default float32.
        name: without effect.
    """
    del name
    return ops.ones(shape, dtype=dtype)


def ones_like(x: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None) -> Any:
    """Returns ones in the shape of `x`.

    Args:
        x: array or symbol.
        dtype: by default that of `x`.
        name: without effect.
    """
    del name
    return ops.ones_like(x, dtype=dtype)


def permute_dimensions(x: ArrayLike, pattern: Sequence[int]) -> Any:
    """Changes the order of the axes.

    Args:
        x: array or symbol.
        pattern: for each axis of the result, its place in `x`.
    """
    return ops.transpose(x, tuple(pattern))


def pow(x: ArrayLike, a: Any) -> Any:
    """Returns the entries of `x` to the power of `a`.

    Args:
        x: array or symbol.
        a: a number or an array.
    """
    return ops.power(x, a)


def print_tensor(x: Any, message: str = "", summarize: int = 3) -> Any:
    """Prints an array, unless it is a symbol, and returns it.

    Args:
        x: array or symbol.
        message: what is printed before it.
        summarize: how many entries are printed at the beginning and at the end of each axis.
    """
    if isinstance(x, np.ndarray | np.generic):
        text = np.array2string(np.asarray(x), threshold=2 * summarize, edgeitems=summarize)
        sys.stdout.write(f"{message}{text}\n")
    return x


def random_bernoulli(
    shape: Sequence[int], p: float = 0.0, dtype: DTypeLike | None = None, seed: int | None = None
) -> Any:
    """Returns random zeros and ones.

    Args:
        shape: the shape.
        p: the share of ones.
        dtype: by default float32.
        seed: a number, or None for the random state of the program.
    """
    return ops.cast(ops.less(random.uniform(shape, seed=seed), p), dtype or "float32")


def random_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: DTypeLike | None = None,
    seed: int | None = None,
) -> Any:
    """Returns normally distributed numbers.

    Args:
        shape: the shape.
        mean: their mean.
        stddev: their standard deviation.
        dtype: by default float32.
        seed: a number, or None for the random state of the program.
    """
    return random.normal(shape, mean, stddev, dtype=dtype, seed=seed)


def random_uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: DTypeLike | None = None,
    seed: int | None = None,
) -> Any:
    """Returns numbers that are evenly distributed.

    Args:
        shape: the shape.
        minval: the least.
        maxval: the limit, which none of them reaches.
        dtype: by default float32.
        seed: a number, or None for the random state of the program.
    """
    return random.uniform(shape, minval, maxval, dtype=dtype, seed=seed)


def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: DTypeLike | None = None,
    seed: int | None = None,
) -> Any:
    """Returns normally distributed numbers within two standard deviations.

    Args:
        shape: the shape.
        mean: their mean.
        stddev: the standard deviation, before the others are left out.
        dtype: by default float32.
        seed: a number, or None for the random state of the program.
    """
    return random.truncated_normal(shape, mean, stddev, dtype=dtype, seed=seed)


def relu(x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """Returns the rectified entries: `x` from the threshold on, and `alpha * (x - threshold)` below it.

    Args:
        x: array or symbol.
        alpha: the slope below the threshold.
        max_value: the largest value, or None for no limit.
        threshold: where the slope changes.
    """
    above = ops.where(ops.greater_equal(x, threshold), x, ops.multiply(ops.subtract(x, threshold), alpha))
    return above if max_value is None else ops.minimum(above, max_value)


def repeat(x: ArrayLike, n: int) -> Any:
    """Repeats each row in a new second axis.

    Args:
        x: array or symbol, shape (rows, columns).
        n: how often.
    """
    return ops.repeat(ops.expand_dims(x, 1), n, axis=1)


def repeat_elements(x: ArrayLike, rep: int, axis: int) -> Any:
    """Repeats each entry of an axis.

    Args:
        x: array or symbol.
        rep: how often.
        axis: the axis.
    """
    return ops.repeat(x, rep, axis=axis)


def reverse(x: ArrayLike, axes: int | Sequence[int]) -> Any:
    """Turns the order of the entries round.

    Args:
        x: array or symbol.
        axes: the axis or axes.
    """
    return ops.flip(x, axes if isinstance(axes, int) else tuple(axes))


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Chooses between two arrays, for each entry or each row.

    Args:
        condition: array or symbol of truth values, with no more axes than the others.
        then_expression: array or symbol, or a function without arguments that returns one.
        else_expression: array or symbol, or a function without arguments that returns one.
    """
    first, second = (each() if callable(each) else each for each in (then_expression, else_expression))
    missing = max(ops.ndim(first), ops.ndim(second)) - ops.ndim(condition)
    if missing > 0 and ops.ndim(condition) > 0:
        for _ in range(missing):
            condition = ops.expand_dims(condition, -1)
    return ops.where(condition, first, second)


def to_dense(tensor: Any) -> Any:
    """Returns an array without gaps.

    Args:
        tensor: an array, or a sparse matrix.
    """
    return tensor.toarray() if hasattr(tensor, "toarray") else tensor


def update(x: Any, new_x: Any) -> Any:
    """Gives a variable a new value, and returns it.

    Args:
        x: a variable.
        new_x: the value.
    """
    x.assign(new_x)
    return x


def update_add(x: Any, increment: Any) -> Any:
    """Adds to a variable, and returns it.

    Args:
        x: a variable.
        increment: what is added.
    """
    x.assign_add(increment)
    return x


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtracts from a variable, and returns it.

    Args:
        x: a variable.
        decrement: what is subtracted.
    """
    x.assign_sub(decrement)
    return x


def moving_average_update(x: Any, value: Any, momentum: float) -> Any:
    """Moves a variable towards a value, and returns it: momentum * x + (1 - momentum) * value.

    Args:
        x: a variable.
        value: the value.
        momentum: what is kept of the variable, from 0 to 1.
    """
    x.assign(x * momentum + value * (1 - momentum))
    return x


def variable(
    value: Any, dtype: DTypeLike | None = None, name: str | None = None, constraint: Any = None
) -> Variable:
    """Returns a variable.

    Args:
        value: its first value.
        dtype: by default float32.
        name: its name.
        constraint: a constraint, which is applied to it after each step of an optimizer.
    """
    return Variable(np.asarray(value), dtype=dtype or "float32", name=name, constraint=constraint)


def zeros(shape: Any, dtype: DTypeLike | None = None, name: str | None = None) -> Any:
    """Returns an array of zeros.

    Args:
        shape: its shape.
        dtype: by default float32.
        name: without effect.
    """
    del name
    return ops.zeros(shape, dtype=dtype)


def zeros_like(x: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None) -> Any:
    """Returns zeros in the shape of `x`.

    Args:
        x: array or symbol.
        dtype: by default that of `x`.
        name: without effect.
    """
    del name
    return ops.zeros_like(x, dtype=dtype)
