"""The engine, used as its documentation says: uint8 rows as they are with Rescaling, float32 rows plain."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

import engine
from bench.contenders import Training
from bench.data import Data
from bench.tasks import INPUTS, OUTPUTS, Task
from engine import layers, optimizers

MODULES = ("engine", "numpy")


class Network:
    def __init__(self, task: Task, data: Data) -> None:
        self.task = task
        self.data = data
        self.reset()

    def reset(self) -> None:
        scaling = [layers.Rescaling(1 / 255)] if self.data.x.dtype == "uint8" else []
        hidden = [layers.Dense(units, activation="relu") for units in self.task.hidden]
        self.model = engine.Sequential(
            [engine.Input((INPUTS,)), *scaling, *hidden, layers.Dense(OUTPUTS, activation="softmax")]
        )
        adam = self.task.optimizer == "adam"
        self.model.compile(
            optimizer=optimizers.Adam() if adam else optimizers.SGD(0.01, momentum=0.9),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )

    def train(self, epochs: int) -> Training:
        history = self.model.fit(
            self.data.x, self.data.y, batch_size=self.task.batch, epochs=epochs, verbose=0
        )
        return Training(history.history["loss"][-1], history.history["accuracy"][-1])

    def predict(self) -> NDArray[Any]:
        return self.model.predict(self.data.x_test)

    def predict_one(self) -> NDArray[Any]:
        return self.model.predict(self.data.x_test[:1])


def prepare(task: Task, data: Data, variant: str) -> Network:
    return Network(task, data)
