"""Recording of branches and loops, and the answers that functions such as `ops.shape` give for symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine._tracing.dispatch import answers, function_of_arrays, records
from engine._tracing.errors import needs_values
from engine._tracing.primitives import stop_gradient as without_gradient
from engine._tracing.reductions import array_of, count
from engine._tracing.symbolic import Symbolic, apply, sequence_like, symbolics_in
from engine._tracing.trace import TracedArray, as_traced, trace_of


@records("stop_gradient")
def stop_gradient(variable: Any) -> TracedArray:
    """Returns the array as a constant, through which no gradient flows."""
    return without_gradient(array_of(variable))


@records("cond")
def cond(pred: Any, true_fn: Any, false_fn: Any) -> Any:
    """Returns the result of one of two functions. Both are recorded, and each element is chosen from the two results."""
    return _chosen(pred, true_fn(), false_fn())


def _chosen(pred: Any, yes: Any, no: Any) -> Any:
    if isinstance(yes, (list, tuple)):
        return sequence_like(yes, (_chosen(pred, left, other) for left, other in zip(yes, no, strict=True)))
    if isinstance(yes, dict):
        return {key: _chosen(pred, yes[key], no[key]) for key in yes}
    return None if yes is None and no is None else apply("where", (pred, yes, no), {})


@records("switch")
def switch(index: Any, branches: Sequence[Any], *operands: Any) -> Any:
    """Returns the result of function number `index`. All functions are recorded."""
    results = [branch(*operands) for branch in branches]
    result = results[-1]
    for number in range(len(results) - 2, -1, -1):
        result = _chosen(apply("less_equal", (index, number), {}), results[number], result)
    return result


def _loop(name: str) -> Callable[..., Any]:
    """Returns what records the loop `name` of `engine.ops`: the function of arrays, whose rounds are recorded one by one."""

    def loop(*args: Any, **options: Any) -> Any:
        return function_of_arrays(name)(*args, **options)

    return loop


for _name in ("associative_scan", "fori_loop", "map", "scan", "vectorized_map"):
    records(_name)(_loop(_name))


@records("while_loop")
def while_loop(cond: Any, body: Any, loop_vars: Any, maximum_iterations: int | None = None) -> Any:
    """Returns the variables after the last round. Each round keeps their shapes."""
    variables = symbolics_in(loop_vars)
    if variables and trace_of(*variables).only_shapes:
        return loop_vars
    return function_of_arrays("while_loop")(cond, body, loop_vars, maximum_iterations)


@answers("shape")
def shape(x: Any) -> tuple[Any, ...]:
    """The lengths of the axes."""
    shape_of_x = getattr(x, "shape", None)
    return tuple(shape_of_x) if shape_of_x is not None else as_traced(x, trace_of(*x)).shape


@answers("ndim")
def ndim(x: Any) -> int:
    """The number of axes."""
    return len(shape(x))


@answers("size")
def size(x: Any) -> Any:
    """The number of elements, which is a symbol for a symbol of a model, as in Keras."""
    if isinstance(x, Symbolic) and not isinstance(x._as_tensor, TracedArray):
        return x._as_tensor._record("size", (x,), {})
    product: Any = 1
    for length in shape(x):
        product = product * length
    return product


@records("size")
def size_of_symbol(x: Any) -> TracedArray:
    """The number of elements, as a single int32."""
    array = array_of(x)
    total: TracedArray = as_traced(count(array, None), array.trace)
    return total.as_dtype("int32")


@answers("dtype")
def dtype(x: Any) -> str:
    """The name of the dtype."""
    return str(getattr(x, "dtype", "int32"))


@answers("is_tensor")
def is_tensor(x: Any) -> bool:
    """Returns whether `x` is a symbol."""
    del x
    return True


@answers("convert_to_numpy")
def convert_to_numpy(x: Any) -> Any:
    """The numbers, where they are known, else a TypeError."""
    numbers = getattr(x, "computed_numbers", None)
    if numbers is not None:
        return numbers.copy()
    raise needs_values(repr(x), "an array of it")
