"""The tasks that are timed. They are plain data, sent as JSON to the process of a contender."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

SAMPLES = 60_000  # of MNIST
TESTS = 10_000

# Features of a row for data that fix them, and rows of data that have fewer than MNIST.
WIDTHS = {"mnist-uint8": 784, "mnist-float32": 784, "mnist-float64": 784, "digits": 64, "covertype": 54}
FEWER = {"digits": 1_500, "words": 20_000}
DATA = (*WIDTHS, "normal", "words")
OPTIMIZERS = ("adam", "momentum")
LOSSES = ("sparse_categorical_crossentropy", "binary_crossentropy", "mse")

# After this many steps, Adam has reached an accuracy of 0.95 on MNIST at every batch size up to 512.
PLAIN_STEPS = 500


@dataclass(frozen=True)
class Problem:
    """A network and its loss.

    Args:
        inputs: features of a row.
        hidden: units of the hidden layers, which have the activation relu.
        outputs: units of the last layer.
        loss: one of `LOSSES`; it determines whether the last layer is softmax, sigmoid or linear.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    loss: str

    @staticmethod
    def parse(text: str) -> Problem:
        """Parses "784-128-10". One output stands for two classes; ":mse" makes the problem a regression."""
        widths, _, loss = text.partition(":")
        parts = widths.split("-")
        if len(parts) < 2 or not all(part.isdecimal() and int(part) for part in parts):
            msg = f"{text!r} is not a network such as 784-128-10 or 1000-4000-1000:mse"
            raise ValueError(msg)
        inputs, *hidden, outputs = map(int, parts)
        loss = loss or ("binary_crossentropy" if outputs == 1 else "sparse_categorical_crossentropy")
        if loss not in LOSSES:
            msg = f"{loss!r} is none of {', '.join(LOSSES)}"
            raise ValueError(msg)
        return Problem(inputs, tuple(hidden), outputs, loss)

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.inputs, *self.hidden, self.outputs)

    @property
    def parameters(self) -> int:
        return sum((rows + 1) * columns for rows, columns in pairwise(self.widths))

    @property
    def activation(self) -> str:
        """The activation of the last layer."""
        return dict(zip(LOSSES, ("softmax", "sigmoid", "linear"), strict=True))[self.loss]

    @property
    def classifies(self) -> bool:
        return self.loss != "mse"

    @property
    def forward_flops(self) -> int:
        """Floating-point operations of the products of the forward pass, for a row."""
        return sum(2 * rows * columns for rows, columns in pairwise(self.widths))

    @property
    def training_flops(self) -> int:
        """`forward_flops` and both products of the backward pass, without the gradient by the input of the network."""
        return 3 * self.forward_flops - 2 * self.widths[0] * self.widths[1]

    def __str__(self) -> str:
        return "-".join(map(str, self.widths)) + (" mse" if self.loss == "mse" else "")


MNIST = Problem.parse("784-128-10")


@dataclass(frozen=True)
class Task:
    """One cell of the comparison: the training or prediction of a network.

    Args:
        measure: "epoch" (seconds per epoch of a training), "step" (the same, shown per step), "predict" (seconds per
            call for the test rows) or "one_row".
        problem: the network.
        data: one of `DATA`.
        optimizer: "adam" (Keras' defaults) or "momentum" (SGD, learning rate 0.01, momentum 0.9).
        batch: samples per training step.
        rows: rows of an epoch.
        epochs: epochs of one training, also of the training before a prediction.
        threads: how many the contender may use.
    """

    measure: str
    problem: Problem
    data: str
    optimizer: str
    batch: int
    rows: int
    epochs: int
    threads: int

    loss_tolerance = None

    @property
    def test_rows(self) -> int:
        """Number of test rows; their ratio to the training rows is that of MNIST."""
        return max(1, self.rows * TESTS // SAMPLES)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.rows // self.batch)

    @property
    def trains(self) -> bool:
        return self.measure in {"epoch", "step"}

    @property
    def group(self) -> str:
        """The heading of the table that has the cell of the task."""
        if self.measure == "epoch":
            return f"time per epoch of {self.rows:,} rows, {self.problem}, {self.optimizer}, {self.data}"
        if self.measure == "step":
            return f"time per step, {self.problem}, {self.optimizer}, {self.data}"
        rows = "one row" if self.measure == "one_row" else f"{self.test_rows:,} rows"
        return f"time to predict {rows}, {self.problem}"

    @property
    def column(self) -> str:
        return f"batch {self.batch}" if self.trains else self.data

    def display(self, seconds: float) -> str:
        return duration(seconds / self.steps if self.measure == "step" else seconds)

    @property
    def accuracy_range(self) -> tuple[float, float] | None:
        """The plausible range of the test accuracy; None if there is little or nothing to learn."""
        if not self.data.startswith("mnist") or self.rows < SAMPLES:
            return None
        if self.optimizer == "adam" and self.epochs * self.steps >= PLAIN_STEPS:
            return 0.95, 1.0
        return 0.7, 1.0  # after few or small steps, only a network that has learned nothing can be recognized


@dataclass(frozen=True)
class Product:
    """A product of float32 matrices, (m, k) · (k, n), into an existing array.

    Args:
        transpose_a: `a` is stored as (k, m).
        transpose_b: `b` is stored as (n, k).
        threads: how many the contender may use.
    """

    m: int
    k: int
    n: int
    transpose_a: bool
    transpose_b: bool
    threads: int

    accuracy_range = None
    loss_tolerance = None

    @property
    def flops(self) -> int:
        return 2 * self.m * self.k * self.n

    @property
    def group(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"matmul in GFLOP/s, {threads}, {self.form}"

    @property
    def form(self) -> str:
        return f"{'aᵀ' if self.transpose_a else 'a'} · {'bᵀ' if self.transpose_b else 'b'}"

    @property
    def column(self) -> str:
        return f"({self.m}, {self.k}) · ({self.k}, {self.n})"

    def display(self, seconds: float) -> str:
        return significant(self.flops / seconds / 1e9)


@dataclass(frozen=True)
class Program:
    """A process, timed from its start to its end.

    Args:
        what: "import" (a process that only imports the library) or "process" (the textbook script in `examples/`).
        threads: how many it may use.
    """

    what: str
    threads: int

    loss_tolerance = None

    @property
    def group(self) -> str:
        return "time of a whole process"

    @property
    def column(self) -> str:
        return {"import": "import", "process": "textbook script"}[self.what]

    def display(self, seconds: float) -> str:
        return duration(seconds)

    @property
    def accuracy_range(self) -> tuple[float, float] | None:
        return (0.95, 1.0) if self.what == "process" else None


# Rows of an epoch, chosen so that it takes tenths of a second. `graphs/models.py` has the networks.
GRAPHS = {
    "two_tower": 100_000,
    "wide_deep": 60_000,
    "residual": 20_000,
    "vae": 20_000,
    "dcn": 60_000,
    "focal": 60_000,
    "gelu": 60_000,
    "branches": 60_000,
    "dqn": 16_000,
}

# Contenders start from other weights, so that their losses after a few epochs differ by some percent.
LOSS_TOLERANCE = 0.25


@dataclass(frozen=True)
class Graph:
    """The training of a network with branches or traced Python, with Adam.

    Args:
        network: one of `GRAPHS`. "dqn" is the Q-network of an agent, which draws a batch from its memory and updates.
        batch: samples per training step.
        rows: rows of an epoch.
        epochs: epochs of one training.
        threads: how many the contender may use.
    """

    network: str
    batch: int
    rows: int
    epochs: int
    threads: int

    accuracy_range = None

    @property
    def loss_tolerance(self) -> float | None:
        """How far a training loss may be from the engine's, as a part of it; None if the networks differ."""
        return None if self.network == "branches" else LOSS_TOLERANCE

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.rows // self.batch)

    @property
    def updates(self) -> bool:
        """Whether Python runs between the steps, so that updates per second are shown."""
        return self.network == "dqn"

    @property
    def group(self) -> str:
        if self.updates:
            return f"updates per second, {self.network}"
        return f"time per epoch of {self.rows:,} rows, {self.network}"

    @property
    def column(self) -> str:
        return f"batch {self.batch}"

    def display(self, seconds: float) -> str:
        return significant(self.steps / seconds) if self.updates else duration(seconds)


@dataclass(frozen=True)
class ArrayFunction:
    """A compiled function of arrays: its value, or the gradient of its sum of squares by the first argument.

    Args:
        function: one of `functions.FORMULAS`.
        size: numbers in a matrix, one of `functions.SHAPES`.
        result: one of `RESULTS`.
        threads: how many the contender may use.
    """

    function: str
    size: int
    result: str
    threads: int

    accuracy_range = None
    loss_tolerance = None

    @property
    def group(self) -> str:
        return f"{self.result} of functions of {self.size:,} numbers"

    @property
    def column(self) -> str:
        return self.function

    def display(self, seconds: float) -> str:
        return duration(seconds)


@dataclass(frozen=True)
class Call:
    """A call that takes microseconds.

    Args:
        what: one of `calls.WORK`.
        rows: of its arrays.
        threads: how many the contender may use.
    """

    what: str
    rows: int
    threads: int

    accuracy_range = None
    loss_tolerance = None

    @property
    def group(self) -> str:
        return f"time of a call, {self.what}"

    @property
    def column(self) -> str:
        return "1 row" if self.rows == 1 else f"{self.rows} rows"

    def display(self, seconds: float) -> str:
        return duration(seconds)


RESULTS = ("value", "gradient", "value and gradient")

AnyTask = Task | Product | Program | Graph | ArrayFunction | Call
KINDS: dict[str, type[AnyTask]] = {
    kind.__name__: kind for kind in (Task, Product, Program, Graph, ArrayFunction, Call)
}


def to_fields(task: AnyTask) -> dict[str, Any]:
    """Returns a dict for JSON, from which `from_fields` makes the task again."""
    return {"kind": type(task).__name__} | asdict(task)


def from_fields(data: dict[str, Any]) -> AnyTask:
    """Returns the task from a dict, which may have other keys too."""
    kind = KINDS[data["kind"]]
    values = {field.name: data[field.name] for field in fields(kind)}
    if "problem" in values:
        problem = values["problem"]
        values["problem"] = Problem(**problem | {"hidden": tuple(problem["hidden"])})
    return kind(**values)


def to_json(task: AnyTask) -> str:
    return json.dumps(to_fields(task))


def from_json(text: str) -> AnyTask:
    return from_fields(json.loads(text))


def significant(value: float) -> str:
    """Returns the number with three significant digits and without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Returns the time in s, ms or µs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size * 0.9995:  # the rounded number is at least 1
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds * 1e6)} µs"
