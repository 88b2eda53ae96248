"""Trainings of the networks with Keras' interface, which the engine has too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.contenders import Learner, Training, UnsupportedError
from bench.graphs import models
from bench.graphs.agent import DISCOUNT, RENEWED_EVERY
from bench.graphs.data import ACTIONS, Memory, load, memory
from bench.tasks import Graph

VARIANTS = ("", "own", "tape", "function")


class Fitted:
    """A network that `fit` trains."""

    def __init__(self, keras: Any, task: Graph, folder: Path, variant: str) -> None:
        self.task = task
        data = load(task, folder)
        self.inputs: Any = data.inputs[0] if len(data.inputs) == 1 else list(data.inputs)
        self.targets = data.targets
        self.model = models.NETWORKS[task.network](keras, variant)
        self.start = Start(self.model)

    def reset(self) -> None:
        self.start.restore()

    def train(self, epochs: int) -> Training:
        history = self.model.fit(
            self.inputs, self.targets, batch_size=self.task.batch, epochs=epochs, verbose=0
        ).history
        return Training(history["loss"][-1])


class Agent:
    """The Q-network of an agent. Its updates are calls of `predict_on_batch` and `train_on_batch`."""

    def __init__(self, keras: Any, task: Graph) -> None:
        self.keras = keras
        self.task = task
        self.memory = memory(task.rows)
        self.values, self.target = (models.values_of_actions(keras) for _ in range(2))
        self.model = models.value_of_action(keras, self.values)
        self.start = Start(self.model)
        self.rng = np.random.default_rng(0)

    def reset(self) -> None:
        self.start.restore()
        self.target.set_weights(self.values.get_weights())

    def train(self, epochs: int) -> Training:
        for _ in range(epochs):
            total = 0.0
            for step in range(self.task.steps):
                if step % RENEWED_EVERY == 0:
                    self.target.set_weights(self.values.get_weights())
                rows = self.rng.integers(self.task.rows, size=self.task.batch)
                total += self.update(Memory(*(part[rows] for part in self.memory)))
        return Training(total / self.task.steps)

    def update(self, steps: Memory) -> float:
        """Trains on a batch of steps, and returns the loss."""
        best = self.target.predict_on_batch(steps.following).max(axis=1)
        aims = steps.rewards + DISCOUNT * (1 - steps.ends) * best
        chosen = np.eye(ACTIONS, dtype=np.float32)[steps.actions]
        return float(self.model.train_on_batch([steps.states, chosen], aims[:, None]))


class TapeAgent(Agent):
    """The same agent, whose updates use a `GradientTape`; `variant` "function" compiles them with `keras.function`."""

    def __init__(self, keras: Any, task: Graph, variant: str) -> None:
        super().__init__(keras, task)
        self.loss = keras.losses.Huber()
        self.step = keras.function(self.stepped) if variant == "function" else self.stepped

    def update(self, steps: Memory) -> float:
        return float(self.step(*steps))

    def stepped(self, states: Any, actions: Any, rewards: Any, following: Any, ends: Any) -> Any:
        """Steps the weights, and returns the loss. The arguments are the fields of a `Memory`."""
        ops = self.keras.ops
        aims = rewards + DISCOUNT * (1 - ends) * ops.max(self.target(following), axis=1)
        with self.keras.GradientTape() as tape:
            values = ops.sum(self.values(states) * ops.one_hot(actions, ACTIONS), axis=1)
            loss = self.loss(aims[:, None], values[:, None])
        weights = self.values.trainable_variables
        self.model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss


class Start:
    """The initial weights of a model, and an optimizer that has done no step. A new model would be compiled again."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.weights = model.get_weights()
        model.optimizer.build(model.trainable_variables)

    def restore(self) -> None:
        self.model.set_weights(self.weights)
        for variable in self.model.optimizer.variables:
            if not variable.path.endswith("learning_rate"):
                variable.assign(np.zeros(variable.shape))


def build_with(keras: Any, task: Graph, folder: Path, variant: str) -> Learner:
    """Returns the network of a task, in the package `keras` or `engine`."""
    if variant not in VARIANTS:
        msg = f"a variant follows the colon: {', '.join(filter(None, VARIANTS))}"
        raise UnsupportedError(msg)
    keras.utils.set_random_seed(0)
    if task.network == "dqn":
        return TapeAgent(keras, task, variant) if variant in {"tape", "function"} else Agent(keras, task)
    return Fitted(keras, task, folder, variant)
