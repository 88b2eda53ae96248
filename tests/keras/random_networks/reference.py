"""The training of a `Case` by formulas: derivatives by `jax.grad` of plain functions, optimizers in NumPy.

It is computed in float64, and in float32 to see how much of a difference rounding alone makes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike, NDArray
from reference_optimizers import Stepper

from random_networks.cases import Case
from random_networks.forward import Pass, Value, Weights, in_jax
from random_networks.losses import LOSSES, penalty
from random_networks.runs import Data
from random_networks.updates import constrain, learning_rate, optimizer_spec

Array = NDArray[Any]


class Batch(NamedTuple):
    """Samples and targets of a batch. Other samples fill it up, since JAX compiles anew for another number.

    Attributes:
        x, further, y: samples of the first input, of further ones by their names, and targets.
        real: 1 for the samples of the batch, 0 for the others.
        weight: of each sample in the loss, or of each of its steps.
        kept: what each dropout layer keeps of each sample.
    """

    x: Any
    further: dict[str, Any]
    y: Any
    real: Any
    weight: Any
    kept: dict[str, Any]


def batch_of(case: Case, data: Data, first: int, dtype: DTypeLike) -> Batch:
    """Returns the batch that begins with the sample `first`."""
    training = case.training
    size = training.batch_size
    rows = slice(first, first + size)
    y = data.y[rows]
    weight = np.ones(len(y)) if data.w is None else data.w[rows]
    if training.class_weight:
        weight = weight * np.array([training.class_weight[c] for c in y])

    def filled(values: Array, dtype: DTypeLike = dtype) -> Array:
        return np.concatenate([values, np.repeat(values[:1], size - len(values), axis=0)]).astype(dtype)

    return Batch(
        filled(data.x[rows]),
        {name: filled(x[rows]) for name, x in data.further.items()},
        filled(y, int if training.goal.has_classes else dtype),
        (np.arange(size) < len(y)).astype(dtype),
        filled(weight),
        {name: filled(kept[rows]) for name, kept in data.kept.items()},
    )


def loss(case: Case, trained: Weights, others: Weights, batch: Batch) -> tuple[Any, Weights]:
    """Returns the loss of a batch, with the moving averages after it.

    It is the mean of the losses of samples, or of their steps that no mask leaves out, times their weights, and the
    penalties.
    """
    weights = {name: [*trained.get(name, []), *others.get(name, [])] for name in {**trained, **others}}
    goal, run = case.training.goal, Pass(weights, batch.real, batch.further, batch.kept)
    predictions, mask = run.output(case.network, Value(batch.x))
    if goal.loss.code:
        values = in_jax(goal.loss, "y", "p")(batch.y, predictions)
    else:
        values = LOSSES[goal.loss.name](batch.y, predictions, goal.loss.options)
    real, weight = batch.real, batch.weight
    if values.ndim > 1:
        real = jnp.broadcast_to(real[:, None], values.shape)
        weight = weight if weight.ndim > 1 else jnp.broadcast_to(weight[:, None], values.shape)
        real = real if mask is None else real * mask
    return (values * weight * real).sum() / real.sum() + penalty(case.network, weights), run.moved


def trained_weights(case: Case, data: Data, initial: Weights, dtype: DTypeLike) -> Weights:
    """Returns the weights of all layers after the training.

    Args:
        case: the training.
        data: its samples.
        initial: the first weights of all layers.
        dtype: float64 or float32, in which everything is computed.
    """
    training, frozen = case.training, case.network.frozen_leaves
    weights = {name: [np.array(w, dtype) for w in arrays] for name, arrays in initial.items()}
    trained = {name: arrays[: _trained(case, name)] for name, arrays in weights.items() if name not in frozen}
    variables = [w for arrays in trained.values() for w in arrays]
    spec = optimizer_spec(training.optimizer)
    stepper = Stepper(spec, variables, [True] * len(variables))
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(partial(loss, case), has_aux=True))
        starts = range(0, case.samples.samples, training.batch_size)
        for step, first in enumerate([*starts] * training.epochs):
            others = {name: arrays[len(trained.get(name, [])) :] for name, arrays in weights.items()}
            slopes, moved = gradient(trained, others, batch_of(case, data, first, dtype))
            gradients = [np.array(g) for name in trained for g in slopes[name]]
            stepper.step(gradients, learning_rate(training.optimizer, step))
            constrain(case.network, trained)
            for name, arrays in moved.items():
                for old, new in zip(weights[name][2:], arrays, strict=True):
                    old[...] = new
    if spec["averages"]:
        for variable, average in zip(variables, stepper.averages, strict=True):
            variable[...] = average
    return weights


def _trained(case: Case, name: str) -> int | None:
    """Returns how many of a layer's weights are trained, of which moving averages come behind; None is all."""
    return 2 if case.network.leaves[name].name == "layers.BatchNormalization" else None
