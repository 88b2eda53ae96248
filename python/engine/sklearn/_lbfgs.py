"""The solver "lbfgs": SciPy's L-BFGS-B, with losses and gradients of all samples computed by the engine."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning

from engine import optimizers
from engine._base.checks import LARGEST
from engine._core_interface.cpp import Float32
from engine._training.batch_iteration import BatchIterator
from engine._training.checked_samples import Targeting, checked_samples, rows_of
from engine._training.runner import CoreRunner
from engine.sklearn._network import Design
from engine.sklearn.samples import Array, Encoded

Float64 = NDArray[np.float64]

CHUNK_ROWS = 4096
"""Samples per batch: its activations stay in the cache, and the gradients of all batches are accumulated."""
RESOLUTION = 1e-8
"""Relative change of the loss between two iterations that float32 can't resolve; L-BFGS stops there."""


class Objective:
    """The loss of all samples and its gradient, as a function of the weights.

    The engine accumulates float32 gradients and never takes a step. The losses and the penalty are added up and
    divided in float64.

    Args:
        design: of the network.
        samples: the training samples.
    """

    shown: float
    """The loss at the last point, as scikit-learn defines it."""

    def __init__(self, design: Design, samples: Encoded) -> None:
        self._design, self._model = design, design._replace(alpha=0.0).sequential()
        loss = design.loss("sum")
        self._model.compile(
            optimizers.SGD(0.0, gradient_accumulation_steps=LARGEST), loss, loss_weights=design.factors[0]
        )
        program = self._model._built_graph.program
        if program is None:
            raise RuntimeError
        self._program = program
        self._constant = design.constant(samples)
        rows = rows_of(samples.x, (design.units[0],), "X")
        checked = checked_samples(rows, samples.y, Targeting(loss, (design.outputs,)), samples.weights)
        self._runner = CoreRunner(lambda _: program, self._model._require_compiled(), "train")
        self._batches = BatchIterator(self._runner, checked, CHUNK_ROWS)
        self._total = samples.size if samples.weights is None else math.fsum(samples.weights)
        self._shapes = [array.shape for array in self._model.weights]
        self.shown = math.nan
        self._zeros = [np.zeros(shape, np.float32) for shape in self._shapes]

    def __call__(self, point: Float64) -> tuple[float, Float64]:
        """Returns the loss and its gradient at `point`: all weights in one vector, in the engine's order."""
        weights = self.weights(point)
        self._program.write_variables(weights)
        self._program.state.write("accumulated", 0, self._zeros)
        data = self._pass()
        gradients = self._program.state.read("accumulated", 0)
        penalty = 0.0
        slopes = []
        for number, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            slope = gradient.astype(np.float64)
            if number % 2 == 0:  # the penalty is on kernels, not on biases
                exact = weight.astype(np.float64)
                slope += self._design.alpha * exact
                penalty += 0.5 * self._design.alpha * float(np.vdot(exact, exact))
            slopes.append(slope.reshape(-1))
        factor, shown = self._design.factors
        self.shown = (data * shown / factor + penalty) / self._total + self._constant
        return (data + penalty) / self._total, np.concatenate(slopes) / self._total

    def weights(self, point: Float64) -> list[Float32]:
        """Returns the weight arrays that `point` consists of."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])
        parts = np.split(point.astype(np.float32), ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _pass(self) -> float:
        """Returns the sum of all losses, and accumulates the gradients in the optimizer state."""
        total = 0.0
        self._batches.has_next()
        for batches in self._batches.epoch():
            for batch in batches:
                self._runner.start_pass()
                self._runner.advance(batch, batch + 1)
                total += self._runner.totals.loss
        return total


def minimized(
    objective: Objective,
    start: Sequence[Array],
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    report: Callable[[int, float], None],
) -> tuple[list[Float32], int, float]:
    """Minimises `objective`, and warns if it doesn't converge.

    Args:
        objective: the function of all weights.
        start: initial weights, in the engine's order.
        max_iter: largest number of iterations.
        max_fun: largest number of evaluations.
        tol: largest gradient component at a solution.
        report: called with the number and the loss of each iteration.

    Returns:
        The weights, the number of iterations, and the loss as scikit-learn defines it.
    """
    iterations = 0

    def count(intermediate_result: OptimizeResult) -> None:
        nonlocal iterations
        iterations += 1
        report(iterations, float(intermediate_result.fun))

    result = minimize(
        objective,
        np.concatenate([np.asarray(array, np.float64).reshape(-1) for array in start]),
        jac=True,
        method="L-BFGS-B",
        callback=count,
        options={"maxiter": max_iter, "maxfun": max_fun, "gtol": tol, "ftol": RESOLUTION},
    )
    if result.status == 1:
        msg = (
            f"lbfgs stopped after {result.nit} iterations before it converged: {result.message}. Raise `max_iter` or "
            "`max_fun`, or scale the data"
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=5)
    objective(result.x)
    return objective.weights(result.x), min(int(result.nit), max_iter), objective.shown
