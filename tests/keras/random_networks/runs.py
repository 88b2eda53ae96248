"""Runs the programs of trainings, in this process and in processes with other instruction sets."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import traceback
import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numerics import import_environment
from numpy.typing import NDArray

import engine
from random_networks.cases import Case

Array = NDArray[Any]
Weights = dict[str, list[Array]]


class Data(NamedTuple):
    """What a program trains with.

    Attributes:
        x, y: samples of the first input, and targets.
        further: samples of further inputs, by the names of these.
        w: weights of samples, or None.
        kept: by the name of each dropout layer, what it keeps of each sample, bool.
    """

    x: Array
    further: dict[str, Array]
    y: Array
    w: Array | None
    kept: dict[str, Array]


class Run(NamedTuple):
    """What a program had before its training, and what it has after it.

    Attributes:
        data: the samples.
        before: the weights of all layers that have some, by their names in the program.
        after: the same after the training.
    """

    data: Data
    before: Weights
    after: Weights


def run(case: Case) -> Run:
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(case.definition, names)
            before = _weights(case, names)
            exec(case.loop, names)
        finally:
            engine.config.set_threads(None)
    further = {name: names[f"x_{name}"] for name in case.network.further_inputs}
    data = Data(names["x"], further, names["y"], names.get("w"), _kept(case, names))
    return Run(data, before, _weights(case, names))


def _kept(case: Case, names: dict[str, Any]) -> dict[str, Array]:
    """Returns by the name of each dropout layer what it kept in the first epoch, shape (samples, ...), bool.

    The numbers depend on the seed of the layer, the batch and the element alone, and on tapes on the random stream. So another
    network draws them again: a weight for each element, with gradient 0 if it is dropped, which steps of size 1 change.
    """
    found, count = {}, case.samples.samples
    layers, size = engine.layers, case.training.batch_size
    for name, layer in case.network.leaves.items():
        if layer.name != "layers.Dropout":
            continue
        *steps, width = shape = names[name].output.shape[1:]
        indices = np.arange(count * math.prod(steps)).reshape(count, *(steps or [1]))
        weights = layers.Embedding(indices.size, width, embeddings_initializer="zeros")
        parts = [
            engine.Input(indices.shape[1:]),
            weights,
            *([] if steps else [layers.Flatten()]),
            layers.Dropout(**layer.options),
        ]
        model = engine.Sequential(parts)
        model.compile(
            engine.optimizers.SGD(1.0), lambda y, p: engine.ops.sum(p, axis=tuple(range(1, len(p.shape))))
        )
        if case.draws_by_stream:
            engine.utils.set_random_seed(case.number)
            for first in range(0, count, size):
                with engine.GradientTape() as tape:
                    loss = engine.ops.sum(model(indices[first : first + size], training=True))
                model.optimizer.apply_gradients(
                    [(tape.gradient(loss, weights.embeddings), weights.embeddings)]
                )
        else:
            model.fit(indices, np.zeros((count, *shape)), batch_size=size, shuffle=False, verbose=0)
        found[name] = weights.get_weights()[0].reshape(count, *shape) != 0
    return found


def _weights(case: Case, names: dict[str, Any]) -> Weights:
    found = {name: names[name].get_weights() for name in case.network.leaves}
    return {name: [np.array(w) for w in arrays] for name, arrays in found.items() if arrays}


@cache
def _process(isa: str) -> subprocess.Popen[bytes]:
    """Returns a process that answers each pickled case with its weights; it ends with this process, which holds its input."""
    return subprocess.Popen(
        [sys.executable, "-c", "from random_networks import runs; runs.answer()"],
        env=import_environment(ENGINE_ISA=isa),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def run_with(isa: str, case: Case) -> Weights:
    """Returns the weights after a training in a process that uses the instruction set `isa`."""
    process = _process(isa)
    assert process.stdin
    assert process.stdout
    pickle.dump(case, process.stdin)
    process.stdin.flush()
    found: Weights | str = pickle.load(process.stdout)
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def answer() -> None:
    """Runs the cases on the standard input, and writes the weights, or the traceback, to the standard output."""
    while True:
        try:
            case = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found: Weights | str = run(case).after
        except Exception:
            found = traceback.format_exc()
        pickle.dump(found, sys.stdout.buffer)
        sys.stdout.buffer.flush()
