"""Random formulas of arrays in Python, which `engine.ops` and JAX compute: layers and losses that a user wrote.

They are made of every operator, and of functions with kinks, at which values lie: where data are zero, a value is zero
exactly, and where two values are equal, they are so in every precision. Thresholds are powers of two for this reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from random_networks.parts import Dice

OF_ONE = (
    "-{x}", "+{x}", "abs({x})", "{x} * 1.0", "{x} + 0.0", "1 - {x}", "{x} - 0.25", "2 * {x}", "{x} / 2", "{x} ** 2", "0.5 ** abs({x})",
    "1 / (1 + abs({x}))", "{x} // 0.5 + {x}", "{x} % 0.5", "{x} * {x}", "ops.maximum({x}, {x} * 1.0)", "ops.minimum({x}, {x})",
    "ops.maximum({x}, 0.0)", "ops.where({x} == 0, 0.5, {x})", "ops.where({x} != 0, 2 * {x}, {x} - 1)", "ops.where({x} > 0, {x}, {x} / 2)",
    "ops.where({x} >= 0.5, {x}, {x} * {x})", "ops.where(({x} > 0) & ({x} < 1), {x}, 0.5)", "ops.where(~({x} <= 0), {x}, 0.25 * {x})",
    "ops.where(({x} < -0.5) | ({x} > 0.5), {x} / 2, {x})", "ops.where(({x} > 0) ^ ({x} > 0.5), 1.0, {x})",
    "ops.where(0.5 < {x}, 0.5, {x})", "ops.cast({x} > 0, 'float32') * {x}", "ops.cast({x} == 0, 'float32') + {x}",
    "ops.relu({x})", "ops.relu6(4 * {x})", "ops.leaky_relu({x}, 0.25)", "ops.elu({x})", "ops.selu({x})", "ops.celu({x})", "ops.softplus({x})",
    "ops.sigmoid({x})", "ops.tanh({x})", "ops.silu({x})", "ops.gelu({x})", "ops.softsign({x})", "ops.hard_sigmoid(4 * {x})",
    "ops.hard_tanh(2 * {x})", "ops.clip({x}, -0.5, 0.5)", "ops.abs({x})", "ops.sign({x}) * {x}", "ops.square({x})", "ops.sin({x})",
    "ops.cos({x})", "ops.sinh({x} / 2)", "ops.arcsinh({x})", "ops.arctan({x})", "ops.exp(-abs({x}))", "ops.log(1 + abs({x}))",
    "ops.log1p(ops.square({x}))", "ops.sqrt(1 + {x} * {x})", "ops.stop_gradient({x}) * {x}", "ops.expm1({x} / 4)",
    "{x} - ops.mean({x}, axis=-1, keepdims=True)", "{x} / (1 + ops.max(abs({x}), axis=-1, keepdims=True))", "ops.softmax({x}, axis=-1)",
    "ops.cumsum({x}, axis=-1) / {x}.shape[-1]", "ops.flip({x}, axis=-1)",
)  # fmt: skip
OF_TWO = (
    "{x} + {y}", "{x} - {y}", "{x} * {y}", "{x} / (1.5 + abs({y}))", "(1 + abs({x})) ** (0.25 * {y})", "ops.maximum({x}, {y})",
    "ops.minimum({x}, {y})", "ops.where({x} == {y}, {x}, 2 * {y})", "ops.where({x} != {y}, {x} * {y}, {x})",
    "ops.where({x} < {y}, {x}, {y})", "ops.where({y} == 1, {x}, 1 - {x})", "ops.where({x} >= {y}, {y}, {x} / 2)",
    "ops.where(({x} > 0) | ({y} > 0), {x}, {y})", "ops.where(({x} > 0) & ~({y} > 0), {x} + {y}, {y})",
    "ops.where(({x} > 0) ^ ({y} > 0), {x}, -{y})", "ops.hypot({x}, 2 + abs({y}))", "ops.logaddexp({x}, {y})", "ops.arctan2({x}, 2 + abs({y}))",
    "ops.cast({x} == {y}, 'float32') - {x}", "ops.divide({x}, 1.5 + ops.square({y}))",
)  # fmt: skip


def draw_formula(names: Sequence[str], dice: Dice) -> list[str]:
    """Returns lines that compute `result`, between -1 and 1, of arrays with these names."""
    values = list(names)
    lines = []
    for number in range(dice.between(1, 4)):
        x = values[-1] if dice.chance(0.6) else dice.one(values)
        template = dice.one(OF_TWO if dice.chance(0.45) else OF_ONE)
        lines.append(f"v{number} = {template.format(x=x, y=dice.one(values))}")
        values.append(f"v{number}")
    return [*lines, f"result = ops.tanh({values[-1]})"]
