"""Times the training of many models: `python -m bench.many_models [--rounds N]`.

Each contender has a process of its own, and they run in turns. What is timed:

- "digits": networks 64-32-10 on scikit-learn's digits, for 50 epochs with batches of 32 and Adam, 200 settings on 5 folds. The
  contenders that take minutes train a tenth of them, and the time is multiplied. "engine" trains on threads, "engine:joblib" on
  processes.
- "mnist": 16 networks 784-128-10 on MNIST for 2 epochs with batches of 128 and Adam. In JAX, all are trained by one call,
  `vmap` over their states.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.data import load, load_mnist, save_mnist
from bench.machine import allowed_cpus, environment
from bench.table import markdown
from bench.tasks import MNIST, SAMPLES, Task

SETTINGS, FOLDS, EPOCHS, BATCH = 200, 5, 50, 32
MNIST_MODELS, MNIST_EPOCHS, MNIST_BATCH = 16, 2, 128
SHARE = 10  # of the models, for contenders that take minutes
CONTENDERS = {
    "digits": ("engine", "engine:joblib", "engine:one by one", "engine:GridSearchCV", "sklearn"),
    "mnist": ("engine", "engine:one by one", "torch", "jax:vmap"),
}
Work = Callable[[], float]


def rates() -> Any:
    """The learning rates of the settings."""
    return np.geomspace(1e-4, 1e-1, SETTINGS)


def digits() -> tuple[Any, Any, Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    return x, y, list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(x, y))


def network(widths: tuple[int, int, int], rate: float) -> Any:
    import engine as keras

    inputs, units, outputs = widths
    model = keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(outputs, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def of_digits(contender: str) -> Work:
    """Returns what trains all models on the digits, and returns the share of them that was trained."""
    x, y, folds = digits()
    jobs = [(rate, train, test) for rate in rates() for train, test in folds]
    if contender in {"engine", "engine:joblib", "engine:one by one"}:
        import engine as keras

        def build(rate: float) -> Callable[[], Any]:
            return lambda: network((64, 32, 10), rate)

        def together() -> float:
            keras.fit_many(
                [build(rate) for rate, _, _ in jobs],
                x,
                y,
                batch_size=BATCH,
                epochs=EPOCHS,
                rows=[train for _, train, _ in jobs],
                validation_rows=[test for _, _, test in jobs],
                verbose=0,
                backend="joblib" if contender == "engine:joblib" else None,
            )
            return 1.0

        def in_a_row() -> float:
            for rate, train, test in jobs[::SHARE]:
                held_out = (x[test], y[test])
                model = network((64, 32, 10), rate)
                model.fit(
                    x[train], y[train], batch_size=BATCH, epochs=EPOCHS, validation_data=held_out, verbose=0
                )
            return 1 / SHARE

        return in_a_row if contender == "engine:one by one" else together
    return searching(contender, x, y, folds)


def searching(contender: str, x: Any, y: Any, folds: Any) -> Work:
    """Returns a search of scikit-learn over the learning rates."""
    import warnings

    from sklearn import model_selection, neural_network

    warnings.simplefilter("ignore")
    kind, search, part = neural_network.MLPClassifier, model_selection.GridSearchCV, SHARE
    if contender != "sklearn":
        from engine import sklearn

        kind, search, part = sklearn.MLPClassifier, sklearn.GridSearchCV, 1
    estimator = kind(
        (32,), batch_size=BATCH, max_iter=EPOCHS, n_iter_no_change=EPOCHS, tol=0.0, random_state=0
    )
    grid = {"learning_rate_init": list(rates()[::part])}

    def work() -> float:
        jobs = len(allowed_cpus()) if contender == "sklearn" else None
        search(estimator, grid, cv=folds, n_jobs=jobs, refit=False).fit(x, y)
        return 1 / part

    return work


def of_mnist(contender: str, folder: Path) -> Work:
    """Returns what trains all models on MNIST."""
    task = Task(
        "epoch", MNIST, "mnist-float32", "adam", MNIST_BATCH, SAMPLES, MNIST_EPOCHS, len(allowed_cpus())
    )
    if contender.startswith("engine"):
        import engine as keras

        x, y = load_mnist(folder).as_float32()[:2]
        x = x.reshape(len(x), -1)

        def together() -> float:
            models = [network((784, 128, 10), 0.001) for _ in range(MNIST_MODELS)]
            keras.fit_many(models, x, y, batch_size=MNIST_BATCH, epochs=MNIST_EPOCHS, verbose=0)
            return 1.0

        def in_a_row() -> float:
            for _ in range(MNIST_MODELS):
                network((784, 128, 10), 0.001).fit(
                    x, y, batch_size=MNIST_BATCH, epochs=MNIST_EPOCHS, verbose=0
                )
            return 1.0

        return together if contender == "engine" else in_a_row
    if contender == "torch":
        from bench.contenders import torch

        learner = torch.prepare(task, load(task, folder), "")

        def repeated() -> float:
            for _ in range(MNIST_MODELS):
                learner.reset()
                learner.train(MNIST_EPOCHS)
            return 1.0

        return repeated
    return by_vmap(task, folder)


def by_vmap(task: Task, folder: Path) -> Work:
    """Returns a training of all models by one call of JAX for each epoch."""
    from functools import partial

    import jax

    from bench.contenders import jax as contender

    single = contender.prepare(task, load(task, folder), "")
    states = []
    for _ in range(MNIST_MODELS):
        single.reset()
        states.append(single.state)
    epoch = jax.jit(jax.vmap(partial(contender.epoch, task), in_axes=(0, 0, None, None)))

    def work() -> float:
        state = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *states)
        for number in range(MNIST_EPOCHS):
            keys = jax.random.split(jax.random.key(number), MNIST_MODELS)
            state, _, _ = epoch(state, keys, single.x, single.y)
        jax.block_until_ready(state)
        return 1.0

    return work


def serve(what: str, contender: str, folder: Path) -> None:
    """Measures once for each line that comes in, after a first time that warms compilers."""
    work = of_digits(contender) if what == "digits" else of_mnist(contender, folder)
    if what == "mnist":
        work()
    for _ in sys.stdin:
        begin = time.perf_counter()
        share = work()
        print(json.dumps((time.perf_counter() - begin) / share), flush=True)


def measured(what: str, folder: Path, rounds: int) -> list[list[str]]:
    """Returns the rows of a table: contenders, seconds, and how many times as long as the engine they took."""
    processes = {}
    for contender in CONTENDERS[what]:
        command = [sys.executable, "-m", "bench.many_models", "--serve", what, contender, str(folder)]
        processes[contender] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(len(allowed_cpus())),
        )
    seconds: dict[str, list[float]] = {contender: [] for contender in processes}
    for _ in range(rounds):
        for contender, process in processes.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            seconds[contender].append(json.loads(process.stdout.readline()))
    for process in processes.values():
        process.communicate()
    first = median(seconds["engine"])
    return [
        [name, f"{median(times):.1f} s", f"{median(times) / first:.2f} x"] for name, times in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.many_models", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve[0], args.serve[1], Path(args.serve[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        save_mnist(Path(folder))
        for what in CONTENDERS:
            rows = [[what, "seconds", "engine = 1"], *measured(what, Path(folder), args.rounds)]
            print("\n".join(markdown(rows)), flush=True)


if __name__ == "__main__":
    main()
