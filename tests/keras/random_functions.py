"""Random functions of arrays, as text that both `engine` and JAX can run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# In these tables, a name in braces stands for what is drawn for one step: `x` is a value that there is already, `y` another
# one that broadcasts with it, and `matrix` one with as many rows as `x` has columns. `_details` names the others.
ELEMENTWISE = (
    "-{x}", "0.2 * {x} ** 3", "2.0 - {x}", "1 / (1 + {x} * {x})", "np.square({x}) / 2", "np.tanh({x})", "np.sin({x})",
    "np.exp(-np.abs({x}))", "np.sqrt({x} * {x} + 1)", "np.maximum({x}, 0.1)", "np.where({x} > 0.2, {x}, 2 * {x})",
    "ops.abs({x})", "ops.square({x})", "ops.exp(0.3 * {x})", "ops.exp2(0.4 * {x})", "ops.expm1({x} / 2)",
    "ops.log({x} * {x} + 1.5)", "ops.log1p(ops.abs({x}))", "ops.log2({x} * {x} + 0.5)", "ops.log10({x} * {x} + 0.5)",
    "ops.sqrt({x} * {x} + 1)", "ops.rsqrt({x} * {x} + 2)", "ops.cbrt({x} * {x} + 0.3)", "ops.reciprocal({x} * {x} + 1)",
    "ops.sin({x})", "ops.cos({x})", "ops.tan(ops.tanh({x}))", "ops.arcsin(0.9 * ops.tanh({x}))", "ops.arctan({x})",
    "ops.arccos(0.9 * ops.tanh({x}))", "ops.sinh({x} / 2)", "ops.cosh({x} / 2)", "ops.tanh({x})", "ops.arcsinh({x})",
    "ops.arccosh({x} * {x} + 1.3)", "ops.arctanh(0.9 * ops.tanh({x}))", "ops.sinc(ops.sigmoid({x}))", "ops.erf({x})",
    "ops.erfc({x})", "ops.erfinv(0.8 * ops.tanh({x}))", "ops.clip({x}, -0.7, 0.9)", "ops.where({x} > 0.1, 2 * {x}, {x} * {x})",
    "ops.floor({x}) + {x}", "ops.sign({x}) * {x}", "ops.mod({x}, 0.7)", "ops.stop_gradient({x}) * {x}",
    "ops.relu({x})", "ops.relu6(3 * {x})", "ops.leaky_relu({x}, 0.3)", "ops.elu({x})", "ops.selu({x})", "ops.celu({x}, 0.8)",
    "ops.gelu({x})", "ops.gelu({x}, approximate=False)", "ops.silu({x})", "ops.sigmoid({x})", "ops.log_sigmoid({x})",
    "ops.softplus({x})", "ops.softsign({x})", "ops.hard_sigmoid({x})", "ops.hard_silu({x})", "ops.hard_tanh({x})",
    "ops.squareplus({x})", "ops.sparse_plus({x})", "ops.sparse_sigmoid({x})", "ops.fmax({x}, 0.1)", "ops.fmod({x}, 0.7)",
    "ops.trunc({x}) + {x}", "ops.nan_to_num({x})", "ops.select([{x} > 0.5, {x} > -0.5], [{x} * {x}, 2 * {x}], 0.3)",
    "np.cbrt({x} * {x} + 1)", "np.clip({x}, -0.5, 0.8)", "{x} % 0.7", "abs({x})", "ops.map(ops.tanh, {x})",
    "ops.fori_loop(0, 3, lambda _, a: ops.sin(a) + {x}, {x})", "ops.cond(ops.sum({x}) > 0, lambda: 2 * {x}, lambda: ops.sin({x}))",
    "ops.switch(1, [ops.sin, ops.cos], {x})", "1.0 * {x}", "{x} + 0.0", "{x} / 1",
)  # fmt: skip

OF_TWO = (
    "{x} + {y}", "{x} - {y}", "{x} * {y}", "{x} / ({y} * {y} + 1)", "({x} * {x} + 0.5) ** (0.3 * {y})", "np.add({x}, {y})",
    "np.multiply({x}, {y})", "np.minimum({x}, {y})", "np.hypot({x}, {y} + 5)", "ops.add({x}, {y})", "ops.subtract({x}, {y})",
    "ops.multiply({x}, {y})", "ops.divide({x}, ops.exp({y} / 5))", "ops.power({x} * {x} + 0.5, {y} / 3)",
    "ops.maximum({x}, {y})", "ops.minimum({x}, {y})", "ops.logaddexp({x}, {y})", "ops.logaddexp2({x}, {y})",
    "ops.hypot({x}, {y} * {y} + 0.3)", "ops.arctan2({x}, {y} * {y} + 0.5)", "ops.where({x} > {y}, {x} * {y}, {y})",
    "ops.where(ops.logical_and({x} > 0, {y} > 0), {x}, {y} / 2)",
)  # fmt: skip

REDUCTIONS = (
    "np.mean({x}, axis={axis})", "np.sum({x}, axis={axes}, keepdims={keepdims})", "np.max({x}, axis={axis})",
    "ops.sum({x}, axis={axes}, keepdims={keepdims})", "ops.mean({x}, axis={axes}, keepdims={keepdims})",
    "ops.max({x}, axis={axes}, keepdims={keepdims})", "ops.min({x}, axis={axes}, keepdims={keepdims})",
    "ops.prod(ops.tanh({x}), axis={axis}, keepdims={keepdims})", "ops.var({x}, axis={axes}, keepdims={keepdims})",
    "ops.logsumexp({x}, axis={axes}, keepdims={keepdims})", "ops.average({x}, axis={axis})", "ops.sum({x})", "ops.mean({x})",
    "ops.average({x}, axis=-1, weights=np.arange(1.0, {last} + 1))", "ops.ptp({x}, axis={axis}, keepdims={keepdims})",
    "ops.median({x}, axis={axis}, keepdims={keepdims})", "ops.quantile({x}, 0.3, axis={axes}, keepdims={keepdims})",
    "ops.trapezoid({x}, axis={axis})", "np.var({x}, axis={axis})", "{x}.sum(axis={axis})", "{x}.mean()",
    "ops.scan(lambda total, part: (total + ops.sum(part), total), 0.0, {x})[1]",
    "ops.sqrt(ops.var({x}, axis={axes}) + 0.1)", "ops.sqrt(ops.sum({x} * {x}, axis={axes}, keepdims={keepdims}) + 0.1)",
)  # fmt: skip

ARRANGEMENTS = (
    "np.transpose({x}, {order})", "np.concatenate([{x}, {x} * {x}], axis={axis})", "np.stack([{x}, -{x}], axis={axis})",
    "np.reshape({x}, (-1,))", "{x}[{before}{index}]", "{x}[{before}{start}::{step}]", "{x}[{before}None]", "{x}[..., ::-1]",
    "{x}[{before}np.array({indices})]", "ops.transpose({x}, {order})", "ops.swapaxes({x}, 0, {axis})",
    "ops.moveaxis({x}, {axis}, 0)", "ops.reshape({x}, (-1, {last}))", "ops.ravel({x})", "ops.expand_dims({x}, {axis})",
    "ops.squeeze(ops.expand_dims({x}, {axis}), {axis})", "ops.broadcast_to({x}, {two_times})", "ops.flip({x}, {axis})",
    "ops.roll({x}, {step}, axis={axis})", "ops.repeat({x}, 2, axis={axis})", "ops.tile({x}, {tiles})",
    "ops.pad({x}, {pads})", "ops.pad({x}, {pads}, constant_values=0.5)", "ops.concatenate([{x}, 2 * {x}], axis={axis})",
    "ops.stack([{x}, {x} * {x}], axis={axis})", "ops.split({x}, [{index}], axis={axis})[1]",
    "ops.take({x}, np.array({indices}), axis={axis})", "ops.take({x}, np.array({table}), axis={axis})",
    "ops.take_along_axis({x}, np.array({places}), axis={axis})", "ops.cumsum({x}, axis={axis})", "ops.diff({x}, axis={axis})",
    "ops.softmax({x}, axis={axis})", "ops.log_softmax({x}, axis={axis})", "{x} * ops.one_hot({index} % {last}, {last})",
    "ops.unstack({x}, axis={axis})[{index}]", "ops.sort({x}, axis={axis})", "np.sort({x}, axis={axis})",
    "ops.cumprod(ops.tanh({x}), axis={axis})", "ops.append({x}, 2 * {x}, axis={axis})", "ops.hstack([{x}, {x} * {x}])",
    "ops.vstack([{x}, 2 * {x}])", "ops.rot90({x}[None], axes=(0, 1))", "ops.array_split({x}, 2, axis={axis})[0]",
    "ops.glu(ops.concatenate([{x}, 2 * {x}], axis={axis}), axis={axis})", "ops.associative_scan(ops.add, {x}, axis={axis})",
    "ops.trace({x}[..., None] * {x}[..., None, :], 0, -2, -1)",
    "ops.segment_sum({x}, np.array({segments}), 3)", "ops.tril({x}[..., None] * {x}[..., None, :])",
    "ops.triu({x}[..., None] * {x}[..., None, :], 1)", "ops.diagonal({x}[..., None] + {x}[..., None, :], 0, -2, -1)",
    "{x} - ops.mean({x}, axis={axis}, keepdims=True)", "{x} / (1 + ops.max(ops.abs({x}), axis={axis}, keepdims=True))",
)  # fmt: skip

PRODUCTS = (
    "{x} @ {matrix}", "np.matmul({x}, {matrix})", "np.dot({x}, {matrix})", "ops.matmul({x}, {matrix})",
    "ops.dot({x}, {matrix})", "ops.tensordot({x}, {matrix}, axes=1)", "ops.einsum('...i,ij->...j', {x}, {matrix})",
    "ops.matmul({matrix}.T, ops.swapaxes({x}[None], -1, -2))", "ops.einsum('...i,ij->j...', {x}, {matrix})",
    "ops.inner({x}, {matrix}.T)", "ops.sum({x}[..., None] * {matrix}, axis=-2)",
)  # fmt: skip

PRODUCTS_WITH_ITSELF = (
    "ops.matmul({x}[..., None], {x}[..., None, :]) / 2", "ops.einsum('...i,...j->...ij', {x}, {x})",
    "ops.einsum('...i,...i->...', {x}, {x}) / {last}", "ops.inner({x}, {x}) / {last}", "ops.vdot({x}, {x}) / {size}",
    "ops.outer({x}, {x}) / 3", "ops.kron({x}, {x}) / 2", "ops.matmul({x}, ops.swapaxes({x}[None], -1, -2)) / {last}",
)  # fmt: skip

SHARES = {
    ELEMENTWISE: 0.32,
    OF_TWO: 0.26,
    REDUCTIONS: 0.12,
    ARRANGEMENTS: 0.2,
    PRODUCTS: 0.06,
    PRODUCTS_WITH_ITSELF: 0.04,
}
LENGTHS = (1, 2, 3, 5)  # of an axis of an argument
# Other steps are drawn in place of those with larger values, which lose digits in float32, as the sine of a large number does.
MOST_NUMBERS, MOST_AXES, LARGEST = 600, 5, 10.0

Array = NDArray[np.float32]


class RandomFunction:
    """A function of one to three arrays, whose result is one number that depends on all of its values.

    Args:
        seed: of the random steps.
        ops: functions of arrays, with which each step is tried.

    Attributes:
        text: its definition in Python, which reads the names `ops` and `np`.
        arguments: arrays for it, float32.
    """

    def __init__(self, seed: int, ops: Any) -> None:
        self._rng = np.random.default_rng(seed)
        self._names = {"ops": ops, "np": np}
        shapes = [self._shape() for _ in range(self._rng.integers(1, 4))]
        self.arguments: list[Array] = [self._rng.normal(size=shape).astype(np.float32) for shape in shapes]
        self._values: dict[str, Array] = dict(zip("abc", self.arguments, strict=False))
        parameters = ", ".join(self._values)
        steps = [self._step(f"v{number}") for number in range(self._rng.integers(3, 14))]
        *others, last = list(self._values)[len(self.arguments) :]
        means = " + ".join(f"ops.mean({name})" for name in others)
        result = f"return 0.5 * ops.sum({last}) + 0.3 * ({means})"
        self.text = "\n    ".join([f"def function({parameters}):", *steps, result])

    def __str__(self) -> str:
        shapes = ", ".join(
            f"{name} {array.shape}" for name, array in zip("abc", self.arguments, strict=False)
        )
        return f"{shapes}\n{self.text}"

    def defined_with(self, ops: Any, numpy: Any) -> Callable[..., Any]:
        """Returns the function, in which `ops` and `np` are these modules."""
        names = {"ops": ops, "np": numpy}
        exec(self.text, names)
        return names["function"]

    def _shape(self) -> tuple[int, ...]:
        return tuple(int(length) for length in self._rng.choice(LENGTHS, self._rng.integers(1, 4)))

    def _any(self, choices: Any) -> Any:
        return choices[self._rng.integers(len(choices))]

    def _step(self, name: str) -> str:
        """Adds a value, and returns the line that computes it."""
        while True:
            expression = self._expression()
            if expression is None:
                continue
            try:
                value = eval(expression, {**self._names, **self._values})
            except Exception as error:
                shapes = {name: value.shape for name, value in self._values.items()}
                msg = f"{expression} failed for arrays of the shapes {shapes}"
                raise AssertionError(msg) from error
            if 0 < value.size <= MOST_NUMBERS and value.ndim <= MOST_AXES and np.abs(value).max() <= LARGEST:
                self._values[name] = value
                return f"{name} = {expression}"

    def _expression(self) -> str | None:
        names = list(self._values)
        x = names[-1] if self._rng.random() < 0.6 else self._any(names)
        table = list(SHARES)[self._rng.choice(len(SHARES), p=list(SHARES.values()))]
        shape = self._values[x].shape
        if not shape and table is not OF_TWO:
            return f"ops.expand_dims({x}, 0)"
        details = self._details(shape) if shape else {}
        if table is OF_TWO:
            details["y"] = self._any([name for name in names if _broadcast(shape, self._values[name].shape)])
        if table is PRODUCTS:
            matrices = [
                name
                for name in names
                if self._values[name].ndim == 2 and len(self._values[name]) == shape[-1]
            ]
            if not matrices:
                return None
            details["matrix"] = self._any(matrices)
        return self._any(table).format(x=x, **details)

    def _details(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Returns what the tables name, but for arrays, drawn for a value of this shape."""
        rng = self._rng
        axis = int(rng.integers(len(shape)))
        length = shape[axis]
        return {
            "axis": self._any([axis, axis - len(shape)]),
            "axes": tuple(sorted(rng.permutation(len(shape))[: rng.integers(1, len(shape) + 1)].tolist())),
            "keepdims": self._any([False, True]),
            "order": tuple(rng.permutation(len(shape)).tolist()),
            "last": shape[-1],
            "size": math.prod(shape),
            "before": ":, " * axis,
            "index": int(rng.integers(length)),
            "indices": rng.integers(-length, length, 3).tolist(),
            "table": rng.integers(0, length, (2, 2)).tolist(),
            "places": rng.integers(0, length, shape).tolist(),
            "segments": rng.integers(0, 3, shape[0]).tolist(),
            "start": int(rng.integers(length)),
            "step": int(rng.integers(1, 3)),
            "two_times": (2, *shape),
            "tiles": tuple(2 if i == axis else 1 for i in range(len(shape))),
            "pads": tuple((1, 2) if i == axis else (0, 0) for i in range(len(shape))),
        }


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(1 in pair or len(set(pair)) == 1 for pair in zip(one[::-1], other[::-1], strict=False))
