"""scikit-learn's MLPClassifier on float32 rows. It computes no training accuracy, and so does less work.

The variant "defaults" has its default l2 penalty, which the other contenders do not have.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from bench.contenders import Training, UnsupportedError
from bench.data import Data
from bench.tasks import Program, Task

MODULES = ("sklearn", "numpy", "scipy")

DEFAULT_ALPHA = 1e-4


class Network:
    """An estimator of any class that has the arguments of `MLPClassifier`."""

    def __init__(self, task: Task, data: Data, kind: Any, alpha: float) -> None:
        self.task = task
        self.data = data.as_float32()
        self.kind, self.alpha = kind, alpha
        self.reset()

    def reset(self) -> None:
        self.model = self.kind(
            hidden_layer_sizes=self.task.problem.hidden,
            solver="adam" if self.task.optimizer == "adam" else "sgd",
            learning_rate_init=0.001 if self.task.optimizer == "adam" else 0.01,
            momentum=0.9,
            nesterovs_momentum=False,
            alpha=self.alpha,
            batch_size=self.task.batch,
            tol=0.0,
        )

    def train(self, epochs: int) -> Training:
        self.model.set_params(max_iter=epochs, n_iter_no_change=epochs + 1)  # never stop early
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it warns that it has reached `max_iter`
            self.model.fit(self.data.x, self.data.y)
        return Training(float(self.model.loss_))

    def predict(self) -> NDArray[Any]:
        return self.outputs(self.data.x_test)

    def predict_one(self) -> NDArray[Any]:
        return self.outputs(self.data.x_test[:1])

    def outputs(self, x: NDArray[np.float32]) -> NDArray[Any]:
        probabilities = np.asarray(self.model.predict_proba(x))
        return probabilities[:, 1:] if self.task.problem.outputs == 1 else probabilities


def prepare(task: Task, data: Data, variant: str) -> Network:
    if not task.problem.classifies:
        msg = "the loss of MLPRegressor is half the mean squared error"
        raise UnsupportedError(msg)
    return Network(task, data, MLPClassifier, DEFAULT_ALPHA if variant == "defaults" else 0.0)


def command(task: Program, folder: Path, variant: str) -> list[str]:
    if task.what != "import":
        msg = "the textbook script needs Keras"
        raise UnsupportedError(msg)
    return [sys.executable, "-c", "import sklearn.neural_network"]
