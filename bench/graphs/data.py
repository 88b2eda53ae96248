"""The data of the networks: generated rows, whose targets a simple rule of the inputs gives, or MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.data import as_float32, load_mnist
from bench.tasks import Graph

USERS, ITEMS, WIDTH = 10_000, 5_000, 32  # of the two towers
FEATURES = {"wide_deep": 64, "residual": 256, "dcn": 32, "focal": 64, "gelu": 64, "branches": 64}
CLASSES = 10
OBSERVATIONS, ACTIONS = 4, 2  # of the agent
END_RATE = 0.1  # of the agent's steps


class Arrays(NamedTuple):
    """Samples and their targets.

    Attributes:
        inputs: an array (rows, ...) for each input of the network.
        targets: (rows, ...).
    """

    inputs: tuple[NDArray[Any], ...]
    targets: NDArray[Any]


class Memory(NamedTuple):
    """What an agent has seen: its replay memory.

    Attributes:
        states, following: (rows, OBSERVATIONS) float32, before and after the action.
        actions: (rows,) int32.
        rewards: (rows,) float32.
        ends: (rows,) float32, 1 where the episode was over.
    """

    states: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[Any]
    following: NDArray[Any]
    ends: NDArray[Any]


def load(task: Graph, folder: Path) -> Arrays:
    """Returns the data of a task with any network but the agent's; `save_mnist` has written MNIST into `folder`."""
    if task.network == "two_tower":
        return ratings(task.rows)
    if task.network == "vae":
        images = as_float32(load_mnist(folder).x[: task.rows].reshape(task.rows, -1))
        return Arrays((images,), images)
    if task.network in {"wide_deep", "dcn"}:
        (x,), labels = classes(task.rows, FEATURES[task.network], 2)
        return Arrays((x,), labels.astype(np.float32)[:, None])
    (x,), labels = classes(task.rows, FEATURES[task.network], CLASSES)
    return Arrays((x,), np.eye(CLASSES, dtype=np.float32)[labels] if task.network == "focal" else labels)


def ratings(rows: int) -> Arrays:
    """Returns ids of users and items, each (rows, 1) int32, and ratings (rows, 1): products of hidden vectors."""
    rng = np.random.default_rng(0)
    users, items = (np.abs(rng.standard_normal((count, 4), np.float32)) for count in (USERS, ITEMS))
    user, item = (rng.integers(0, count, (rows, 1), np.int32) for count in (USERS, ITEMS))
    noise = 0.1 * rng.standard_normal((rows, 1), np.float32)
    return Arrays((user, item), (users[user[:, 0]] * items[item[:, 0]]).sum(1, keepdims=True) + noise)


def classes(rows: int, features: int, count: int) -> Arrays:
    """Returns normally distributed rows and their classes (rows,) int32: which of some products is the largest."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, features), np.float32)
    hidden, last = (rng.standard_normal((features, width), np.float32) for width in (features, count))
    return Arrays((x,), (np.tanh(x @ hidden) @ last).argmax(1).astype(np.int32))


def memory(rows: int) -> Memory:
    """Returns random steps; the reward is 1 if the action is the sign of the first observation, else 0."""
    rng = np.random.default_rng(0)
    states, following = rng.standard_normal((2, rows, OBSERVATIONS), np.float32)
    actions = rng.integers(0, ACTIONS, rows, np.int32)
    rewards = ((states[:, 0] > 0) == actions).astype(np.float32)
    return Memory(states, actions, rewards, following, (rng.random(rows) < END_RATE).astype(np.float32))
