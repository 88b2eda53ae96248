"""The functions of Keras 2's backend, as `K.mean`, `K.int_shape` or `K.set_value`, for arrays and symbols.

Each computes what Keras 2 computed on TensorFlow. What has the same name and arguments in `engine.ops` is the function there.
The argument `name` is without effect everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from engine import ops, random
from engine.layers.symbols import symbols_of
from engine.layers.variable import Variable
from engine.models import Model

# The numbers of axes of arrays whose samples are vectors and matrices.
_OF_VECTORS, _OF_MATRICES = 2, 3

_OF_OPS = """
    abs all any arange binary_crossentropy cast categorical_crossentropy cos dot dtype elu equal exp greater greater_equal less
    less_equal log logsumexp max maximum mean min minimum ndim not_equal one_hot prod reshape round shape sigmoid sign sin slice
    softmax softplus softsign sparse_categorical_crossentropy sqrt square squeeze stack std stop_gradient sum tanh tile transpose
    var"""


def __getattr__(name: str) -> Any:
    if name in _OF_OPS.split():
        return getattr(ops, name)
    raise AttributeError(name)


# Shapes, and parts of arrays.


def batch_flatten(x: Any) -> Any:
    """Returns each sample as one row."""
    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


def concatenate(tensors: Sequence[Any], axis: int = -1) -> Any:
    """Joins arrays along one axis."""
    return ops.concatenate(tensors, axis=axis)


def count_params(x: Any) -> int:
    """Returns how many numbers a weight or an array has."""
    return int(np.prod(x.shape))


def expand_dims(x: Any, axis: int = -1) -> Any:
    """Inserts an axis of length 1."""
    return ops.expand_dims(x, axis)


def flatten(x: Any) -> Any:
    """Returns the entries of an array in one axis."""
    return ops.reshape(x, (-1,))


def gather(reference: Any, indices: Any) -> Any:
    """Returns entries of the first axis. The axes of `indices` take its place."""
    return ops.take(reference, indices, axis=0)


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Returns the shape of an array, a weight or a symbol, with None for the batch axis of the last."""
    return tuple(x.shape)


def permute_dimensions(x: Any, pattern: Sequence[int]) -> Any:
    """Changes the order of the axes: `pattern` has the place in `x` of each axis of the result."""
    return ops.transpose(x, tuple(pattern))


def repeat(x: Any, n: int) -> Any:
    """Repeats each row (rows, columns) `n` times in a new second axis."""
    return ops.repeat(ops.expand_dims(x, 1), n, axis=1)


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Repeats each entry of an axis `rep` times."""
    return ops.repeat(x, rep, axis=axis)


def reverse(x: Any, axes: int | Sequence[int]) -> Any:
    """Turns the order of the entries of axes round."""
    return ops.flip(x, axes if isinstance(axes, int) else tuple(axes))


# Computations.


def argmax(x: Any, axis: int = -1) -> Any:
    """Returns the indices of the largest entries along one axis."""
    return ops.argmax(x, axis=axis)


def argmin(x: Any, axis: int = -1) -> Any:
    """Returns the indices of the smallest entries along one axis."""
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
    """
    if min(ops.ndim(x), ops.ndim(y)) < _OF_VECTORS:
        msg = f"`x` and `y` must have two axes or more, got {ops.ndim(x)} and {ops.ndim(y)}"
        raise ValueError(msg)
    vectors = ops.ndim(x) == _OF_VECTORS, ops.ndim(y) == _OF_VECTORS
    if axes is None:
        pair = [-1, -1 if vectors[1] else -2]
    else:
        pair = [axes, axes] if isinstance(axes, int) else list(axes)
    first, second = (axis % ops.ndim(operand) for axis, operand in zip(pair, (x, y), strict=True))
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


def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """Adds a bias (units,) to the last axis, which is that of the channels in the `data_format` "channels_last" alone."""
    if data_format not in (None, "channels_last"):
        msg = f"`data_format` must be 'channels_last' or None, got {data_format!r}"
        raise ValueError(msg)
    return x + bias


def cast_to_floatx(x: Any) -> Any:
    """Returns `x` as float32."""
    return ops.cast(x, "float32")


def clip(x: Any, min_value: Any = None, max_value: Any = None) -> Any:
    """Limits the entries of an array; None is no limit. A `max_value` below `min_value` is `min_value`."""
    if isinstance(min_value, int | float) and isinstance(max_value, int | float):
        max_value = max(min_value, max_value)
    return ops.clip(
        x, -np.inf if min_value is None else min_value, np.inf if max_value is None else max_value
    )


def cumprod(x: Any, axis: int = 0) -> Any:
    """Returns the products of the entries up to each along `axis`."""
    return ops.cumprod(x, axis=axis)


def cumsum(x: Any, axis: int = 0) -> Any:
    """Returns the sums of the entries up to each along `axis`."""
    return ops.cumsum(x, axis=axis)


def hard_sigmoid(x: Any) -> Any:
    """Returns 0.2 x + 0.5, limited to 0 and 1, which is Keras 2's; that of Keras 3 has the slope 1 / 6."""
    return ops.clip(ops.add(ops.multiply(x, 0.2), 0.5), 0.0, 1.0)


def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    """Returns whether the label of each row is among its `k` largest predictions (n, classes)."""
    return ops.in_top_k(targets, predictions, k)


def l2_normalize(x: Any, axis: Any = None) -> Any:
    """Divides by the Euclidean length along the axis or axes of the vectors; by default all."""
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, 1e-12)))


def map_fn(fn: Callable[[Any], Any], elems: Any, name: str | None = None, dtype: Any = None) -> Any:
    """Calls a function for each entry of the first axis, and stacks the results."""
    del name, dtype
    return ops.map(fn, elems)


def pow(x: Any, a: Any) -> Any:
    """Returns the entries of `x` to the power of `a`."""
    return ops.power(x, a)


def relu(x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """Returns `x` from the threshold on, and `alpha * (x - threshold)` below it, but at most `max_value`."""
    above = ops.where(ops.greater_equal(x, threshold), x, ops.multiply(ops.subtract(x, threshold), alpha))
    return above if max_value is None else ops.minimum(above, max_value)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Chooses between two arrays, or results of functions, for each entry or each row of a condition with fewer axes."""
    first, second = (
        branch() if callable(branch) else branch for branch in (then_expression, else_expression)
    )
    missing = max(ops.ndim(first), ops.ndim(second)) - ops.ndim(condition)
    if missing > 0 and ops.ndim(condition) > 0:
        for _ in range(missing):
            condition = ops.expand_dims(condition, -1)
    return ops.where(condition, first, second)


# Arrays of constants and of random numbers.


def constant(
    value: Any, dtype: Any = None, shape: Sequence[int] | None = None, name: str | None = None
) -> Any:
    """Returns an array of given entries; a number fills the `shape`."""
    del name
    tensor = ops.convert_to_tensor(value, dtype or "float32")
    return tensor if shape is None else ops.broadcast_to(tensor, tuple(shape))


def eye(size: int, dtype: Any = None, name: str | None = None) -> Any:
    """Returns the identity matrix."""
    del name
    return ops.eye(size, dtype=dtype or "float32")


def ones(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Returns an array of ones."""
    del name
    return ops.ones(shape, dtype=dtype)


def ones_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Returns ones in the shape of `x`."""
    del name
    return ops.ones_like(x, dtype=dtype)


def zeros(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Returns an array of zeros."""
    del name
    return ops.zeros(shape, dtype=dtype)


def zeros_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Returns zeros in the shape of `x`."""
    del name
    return ops.zeros_like(x, dtype=dtype)


def dropout(x: Any, level: float, noise_shape: Any = None, seed: int | None = None) -> Any:
    """Sets the share `level` of the entries to zero, and multiplies the others by 1 / (1 - `level`)."""
    return random.dropout(x, level, noise_shape=noise_shape, seed=seed)


def random_bernoulli(shape: Any, p: float = 0.0, dtype: Any = None, seed: int | None = None) -> Any:
    """Returns random zeros and ones; `p` is the share of ones."""
    return ops.cast(ops.less(random.uniform(shape, seed=seed), p), dtype or "float32")


def random_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: int | None = None
) -> Any:
    """Returns normally distributed numbers."""
    return random.normal(shape, mean, stddev, dtype=dtype, seed=seed)


def random_uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: int | None = None
) -> Any:
    """Returns numbers that are evenly distributed from `minval` to below `maxval`."""
    return random.uniform(shape, minval, maxval, dtype=dtype, seed=seed)


def truncated_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: int | None = None
) -> Any:
    """Returns normally distributed numbers within two standard deviations."""
    return random.truncated_normal(shape, mean, stddev, dtype=dtype, seed=seed)


# Variables, and numbers of optimizers such as `optimizer.lr`.


def variable(value: Any, dtype: Any = None, name: str | None = None, constraint: Any = None) -> Variable:
    """Returns a variable; its constraint is applied after each step of an optimizer."""
    return Variable(np.asarray(value), dtype=dtype or "float32", name=name, constraint=constraint)


def get_value(x: Any) -> Any:
    """Returns the value of a weight, a number of an optimizer or an array, as an array or a number of NumPy."""
    return x.numpy() if hasattr(x, "numpy") else np.array(x)


eval = get_value


def set_value(x: Any, value: Any) -> None:
    """Sets a weight of a layer, or a number of an optimizer."""
    if not hasattr(x, "assign"):
        msg = f"`x` must be a weight of a layer or a number of an optimizer, which can be set, got {x!r:.80}"
        raise TypeError(msg)
    x.assign(value)


def batch_get_value(tensors: Iterable[Any]) -> list[Any]:
    """Returns the values of several weights or numbers."""
    return [get_value(tensor) for tensor in tensors]


def batch_set_value(tuples: Iterable[tuple[Any, Any]]) -> None:
    """Sets several weights or numbers, each in a pair with its new value."""
    for x, value in tuples:
        set_value(x, value)


def update(x: Any, new_x: Any) -> Any:
    """Gives a variable a new value, and returns it."""
    x.assign(new_x)
    return x


def update_add(x: Any, increment: Any) -> Any:
    """Adds to a variable, and returns it."""
    x.assign_add(increment)
    return x


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtracts from a variable, and returns it."""
    x.assign_sub(decrement)
    return x


def moving_average_update(x: Any, value: Any, momentum: float) -> Any:
    """Sets a variable to momentum * x + (1 - momentum) * value, and returns it."""
    x.assign(x * momentum + value * (1 - momentum))
    return x


# Phases and functions.


def in_train_phase(x: Any, alt: Any, training: bool | None = None) -> Any:
    """Returns `x` in a training, and `alt` otherwise; a function is called. `training` is the argument of `call`."""
    chosen = x if training else alt
    return chosen() if callable(chosen) else chosen


def in_test_phase(x: Any, alt: Any, training: bool | None = None) -> Any:
    """Returns `alt` in a training, and `x` otherwise, as `in_train_phase`."""
    return in_train_phase(alt, x, training)


def learning_phase() -> int:
    """Returns 0: outside `fit` nothing trains, and in a `call`, the argument `training` tells."""
    return 0


def set_learning_phase(value: Any) -> None:
    """Accepts 0, which is the phase outside `fit` in any case; a call has the argument `training` for 1."""
    if value:
        msg = f"the learning phase can't be set to {value!r}: pass `training=True` to the call of the model or the layer"
        raise ValueError(msg)


def print_tensor(x: Any, message: str = "", summarize: int = 3) -> Any:
    """Prints an array, with `summarize` entries at the ends of each axis, unless it is a symbol, and returns it."""
    if isinstance(x, np.ndarray | np.generic):
        text = np.array2string(np.asarray(x), threshold=2 * summarize, edgeitems=summarize)
        sys.stdout.write(f"{message}{text}\n")
    return x


def to_dense(tensor: Any) -> Any:
    """Returns a sparse matrix as an array, and an array as it is."""
    return tensor.toarray() if hasattr(tensor, "toarray") else tensor


def function(inputs: Any, outputs: Any, updates: Any = None, name: str | None = None) -> Callable[[Any], Any]:
    """Returns a function that computes symbols from arrays, such as the outputs of hidden layers.

    Args:
        inputs: a symbol or a list of them, such as `[model.input]`. The list may have `learning_phase()`, too, whose
            value in a call, 0 or 1, tells whether layers such as Dropout train.
        outputs: a symbol or a list of them, such as `[model.layers[1].output]`.
        updates: None or an empty list.
        name: without effect.

    Returns:
        A function of a list with an array for each input. It returns a list of arrays if `outputs` is one, and otherwise
        one array.

    Raises:
        ValueError: if there are updates, which the core makes in `fit`, or if the outputs are not computed from the inputs.
    """
    del name
    if updates:
        msg = "`updates` must be None or empty: a training step is train_on_batch() or keras.function"
        raise ValueError(msg)
    input_list = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    symbols = [symbol for symbol in input_list if symbols_of(symbol)]
    several = isinstance(outputs, list | tuple)
    model = Model(symbols, list(outputs) if several else [outputs])

    def compute(arrays: Any) -> Any:
        values = list(arrays) if isinstance(arrays, list | tuple) else [arrays]
        if len(values) != len(input_list):
            msg = f"the function takes {len(input_list)} inputs, got {len(values)}"
            raise ValueError(msg)
        pairs = list(zip(input_list, values, strict=True))
        training = any(bool(value) for symbol, value in pairs if not symbols_of(symbol))
        samples = [np.asarray(value) for symbol, value in pairs if symbols_of(symbol)]
        outputs = model(samples, training=training)
        results = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        return [np.asarray(result) for result in results] if several else np.asarray(results[0])

    return compute
