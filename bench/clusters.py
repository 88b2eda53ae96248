"""Times `fit_many` on processes of joblib, Dask and Ray, and predicts it: `python -m bench.clusters [--rounds N]`.

The models are networks 64-32-10 on scikit-learn's digits, trained for 50 epochs with batches of 32 and Adam. What is printed:

- Models per second through each backend on 1 and 2 workers, and what a model costs beside its training. The time that starting takes
  is left out: it is the part of the time that doesn't grow with the number of models.
- What a formula predicts from quantities that are measured apart: how long a worker of the backend takes for a message when it gets
  one at a time, how much longer a process takes beside another one, how long the process that asks takes to pack a model and to take
  it back, and what an empty job with as many bytes costs in the backend.
- What the formula says of 8, 64 and 512 workers with cores of their own, on a network.

It needs `pip install '.[bench,sklearn,joblib,dask,ray]'`.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench.machine import allowed_cpus, environment
from bench.table import markdown

EPOCHS, BATCH = 50, 32
# The time for one model is the difference of two runs, so that starting is no part of it.
FEW, MANY = 40, 240
ECHOES, ALONE = 600, 80
BACKENDS = ("joblib", "dask", "ray")
WORKERS = (1, 2)
# Jobs for each worker that are handed out at a time, as in `fit_many`.
IN_FLIGHT = 2
# Those whose workers get the next job before they have answered the last one.
FETCHING_AHEAD = {"joblib", "dask"}
# The network of the last table.
BYTES_PER_SECOND, SECONDS_PER_ROUND_TRIP = 1.25e8, 5e-4


class Costs(NamedTuple):
    """What a model costs, in seconds."""

    working: float
    """Its worker, which unpacks, trains and answers, while the other core is mostly idle."""
    slowdown: float
    """How many times as long it takes beside another process on the other core."""
    asking: float
    """The process that asks: it packs the model, makes it, and takes its weights."""
    submitting: float
    """The backend in the process that asks, for an empty job with as many bytes."""
    elsewhere: float
    """The backend in all other processes, for the same job."""
    round_trip: float
    """From submitting an empty job to its answer."""
    bytes: int
    """Of the message and of the answer."""


def seconds_per_model(backend: str, costs: Costs, workers: int, cores: int) -> float:
    """Returns how long `fit_many` takes for each of many models.

    The process that asks, and the backend, share the cores with the workers. The longest of three times decides: that of the workers,
    that of the process that asks, and that of all cores together.

    Args:
        backend: one of `BACKENDS`.
        costs: of a model.
        workers: how many there are, each with one thread.
        cores: of the machine.
    """
    serial = costs.asking + costs.submitting
    of_worker = seconds_of_worker(backend, costs)
    # The part of the time when another core works as well.
    busy = min(1.0, serial * workers / of_worker) if workers < cores else 1.0
    of_workers = of_worker * (1 + (costs.slowdown - 1) * busy) / workers
    of_cores = (costs.working + costs.elsewhere + serial) * costs.slowdown / cores
    return max(of_workers, serial, of_cores)


def seconds_of_worker(backend: str, costs: Costs, network: float = 0.0) -> float:
    """Returns how long a worker is occupied with a model.

    Args:
        backend: one of `BACKENDS`.
        costs: of a model.
        network: the seconds in which a message goes to another machine and back.
    """
    occupied = costs.working + costs.elsewhere
    if backend not in FETCHING_AHEAD:
        return occupied + costs.round_trip + network
    # With another job at hand, the worker waits only if a job travels for longer than it takes.
    return max(occupied, (occupied + costs.round_trip + network) / IN_FLIGHT)


def seconds_on_cluster(backend: str, costs: Costs, workers: int) -> float:
    """Returns how long `fit_many` takes for each model on workers with cores of their own, on a network."""
    serial = costs.asking + costs.submitting
    travelling = costs.bytes / BYTES_PER_SECOND
    network = SECONDS_PER_ROUND_TRIP + travelling
    return max(seconds_of_worker(backend, costs, network) / workers, serial, travelling)


def data() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y


def network(rate: float) -> Any:
    import engine as keras

    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def builds(count: int) -> list[Callable[[], Any]]:
    return [partial(network, rate) for rate in np.geomspace(1e-4, 1e-1, count)]


@contextmanager
def opened(backend: str, workers: int) -> Iterator[Any]:
    """Yields the argument `backend` for some workers."""
    if backend == "dask":
        import distributed

        with (
            distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
    elif backend == "ray":
        import ray

        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield "ray"
        ray.shutdown()
    else:
        yield None if backend == "threads" else backend


def trained(backend: str, workers: int) -> float:
    """Returns the seconds for each model of `fit_many`."""
    import engine as keras

    keras.config.set_threads(workers)
    x, y = data()
    with opened(backend, workers) as place:

        def seconds(count: int) -> float:
            begin = time.perf_counter()
            keras.fit_many(
                builds(count),
                x,
                y,
                epochs=EPOCHS,
                batch_size=BATCH,
                seeds=range(count),
                verbose=0,
                backend=place,
            )
            return time.perf_counter() - begin

        seconds(2 * workers)
        few, many = seconds(FEW), seconds(MANY)
        return (many - few) / (MANY - FEW)


class Answering:
    """Workers that cost nothing: each job has the same answer."""

    run = "measured"
    slots = 1

    def __init__(self) -> None:
        self.answer: Any = None
        self.values: list[Any] = []
        self.sent: list[Any] = []

    def hold(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def submit(self, function: Callable[..., Any], message: bytes, held: Sequence[Any]) -> int:
        self.function, self.message = function, message
        self.sent.append([self.values[place] for place in held])
        if self.answer is None:
            self.answer = function(message, *self.sent[-1])
        return len(self.sent)

    def ended(self, jobs: Collection[int], seconds: float) -> list[int]:
        return list(jobs)

    def result(self, job: int) -> Any:
        return self.answer

    def stop(self, jobs: Collection[int]) -> None:
        pass

    def each(self, function: Callable[[], Any]) -> dict[str, Any]:
        return {}


def asked(count: int) -> tuple[Answering, float]:
    """Returns workers that cost nothing after they have "trained" models, and the seconds for each model."""
    from engine._many.fit_many import fit_each

    x, y = data()
    workers: Any = Answering()
    arguments = {"x": x, "y": y, "epochs": EPOCHS, "batch_size": BATCH}
    fit_each(builds(2), arguments, seeds=range(2), workers=workers)
    begin = time.perf_counter()
    fit_each(builds(count), arguments, seeds=range(count), workers=workers)
    return workers, (time.perf_counter() - begin) / count


def worked() -> float:
    """Returns the seconds of a worker for one message."""
    import engine as keras

    keras.config.set_threads(1)
    workers, _ = asked(1)
    times = []
    for _ in range(MANY):
        begin = time.perf_counter()
        workers.function(workers.message, *workers.sent[-1])
        times.append(time.perf_counter() - begin)
    return sum(times) / len(times)


def echo(answer: int, message: bytes) -> bytes:
    return bytes(answer)


def timed(function: Callable[..., Any], message: bytes, *held: Any) -> tuple[float, Any]:
    begin = time.perf_counter()
    answer = function(message, *held)
    return time.perf_counter() - begin, answer


def echoed(backend: str, workers: int) -> list[float]:
    """Returns seconds of a worker for a message; those of an empty job in this process, in all others, and until its answer; its bytes."""
    import pickle

    import psutil

    from engine._cluster.opening import opened as opened_workers

    answering, _ = asked(1)
    answer = len(pickle.dumps(answering.answer))
    job = partial(echo, answer)

    def busy() -> float:
        times = psutil.cpu_times()
        return float(times.user + times.system)

    with opened(backend, workers) as place, opened_workers(place) as opened_:

        def run(count: int, in_flight: int) -> None:
            waiting, running = count, list[Any]()
            while waiting or running:
                while waiting and len(running) < in_flight:
                    running.append(opened_.submit(job, answering.message, []))
                    waiting -= 1
                for ended in opened_.ended(running, 0.1):
                    running.remove(ended)
                    opened_.result(ended)

        held = [opened_.hold(value) for value in answering.sent[-1]]
        works = []
        for _ in range(ALONE):
            job_at_work = opened_.submit(partial(timed, answering.function), answering.message, held)
            while not opened_.ended([job_at_work], 1.0):
                pass
            works.append(opened_.result(job_at_work)[0])
        run(20, workers)
        begin = time.perf_counter()
        run(100, 1)
        round_trip = (time.perf_counter() - begin) / 100
        before, own = busy(), time.process_time()
        run(ECHOES, IN_FLIGHT * workers)
        here, everywhere = time.process_time() - own, busy() - before
    size = len(answering.message) + answer
    working = sum(works[ALONE // 4 :]) / len(works[ALONE // 4 :])  # the first ones import the engine
    return [working, here / ECHOES, max(0.0, everywhere - here) / ECHOES, round_trip, size]


def begun(*arguments: object) -> subprocess.Popen[str]:
    """Begins a measurement in a process of its own."""
    command = [sys.executable, "-m", "bench.clusters", "--serve", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(len(allowed_cpus())))


def answer_of(process: subprocess.Popen[str]) -> Any:
    output, _ = process.communicate()
    return json.loads(output.splitlines()[-1])


def serve(what: str, arguments: Sequence[str]) -> Any:
    if what == "trained":
        return trained(arguments[0], int(arguments[1]))
    if what == "echoed":
        return echoed(arguments[0], int(arguments[1]))
    return worked() if what == "worked" else asked(MANY)[1]


def costs_of(backend: str, workers: int, common: Sequence[float]) -> Costs:
    working, here, elsewhere, round_trip, size = answer_of(begun("echoed", backend, workers))
    alone, beside, asking = common
    return Costs(working, beside / alone, asking, here, elsewhere, round_trip, int(size))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.clusters", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        print(json.dumps(serve(args.serve[0], args.serve[1:])))
        return
    cells = [(backend, workers) for backend in ("threads", *BACKENDS) for workers in WORKERS]
    measured: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    apart: dict[str, list[float]] = {name: [] for name in ("alone", "beside", "asking")}
    costs: dict[tuple[str, int], list[Costs]] = {cell: [] for cell in cells}
    for _ in range(args.rounds):
        apart["alone"].append(answer_of(begun("worked")))
        both = [begun("worked"), begun("worked")]
        apart["beside"].append(sum(map(answer_of, both)) / 2)
        apart["asking"].append(answer_of(begun("asked")))
        for cell in cells:
            measured[cell].append(answer_of(begun("trained", *cell)))
            if cell[0] != "threads":
                costs[cell].append(costs_of(*cell, [apart[name][-1] for name in apart]))
    cores = len(allowed_cpus())
    rows = [["backend", "workers", "models per second", "beside the training", "predicted", "error"]]
    middle: dict[tuple[str, int], Costs] = {}
    for cell in cells:
        seconds = median(measured[cell])
        row = [
            cell[0],
            str(cell[1]),
            f"{1 / seconds:.0f}",
            milliseconds(seconds - median(apart["alone"]) / cell[1]),
        ]
        if costs[cell]:
            middle[cell] = Costs(*(median(values) for values in zip(*costs[cell], strict=True)))
            guess = seconds_per_model(cell[0], middle[cell], cell[1], cores)
            row += [f"{1 / guess:.0f}", f"{(seconds / guess - 1) * 100:+.0f} %"]
        rows.append([*row, *[""] * (len(rows[0]) - len(row))])
    print("\n".join(markdown(rows)), flush=True)
    rows = [
        [
            "backend, workers",
            "working",
            "beside another",
            "asking",
            "submitting",
            "elsewhere",
            "round trip",
            "bytes",
        ]
    ]
    for (backend, workers), found in middle.items():
        times = map(milliseconds, found[2:-1])
        rows.append(
            [
                f"{backend}, {workers}",
                milliseconds(found.working),
                f"{found.slowdown:.2f} x",
                *times,
                f"{found.bytes:.0f}",
            ]
        )
    print("\n" + "\n".join(markdown(rows)), flush=True)
    rows = [["models per second", "8 workers", "64", "512"]]
    for backend in BACKENDS:
        rates = [1 / seconds_on_cluster(backend, middle[backend, 2], workers) for workers in (8, 64, 512)]
        rows.append([backend, *(f"{rate:.0f}" for rate in rates)])
    print("\n" + "\n".join(markdown(rows)), flush=True)


if __name__ == "__main__":
    main()
