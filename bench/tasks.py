"""What is timed, as plain data that travels to a contender's process as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product

INPUTS = 784
OUTPUTS = 10
SAMPLES = 60_000
TESTS = 10_000

DATA = ("mnist-uint8", "mnist-float32", "normal")
OPTIMIZERS = ("adam", "momentum")
MEASURES = ("epoch", "predict", "one_row")

# Of the model that predicts: it is trained first, so that its accuracy can be checked.
PREDICT_BATCH = 32

# Adam has passed 0.95 on MNIST after so many steps, at every batch size up to 512.
PLAIN_STEPS = 500


@dataclass(frozen=True)
class Task:
    """One cell of the comparison.

    Args:
        measure: "epoch" (seconds per epoch of a training), "predict" (seconds per call for 10,000 rows) or "one_row".
        data: of `DATA`.
        hidden: units of the hidden layers, all relu; 784 inputs and a softmax over 10 classes are fixed.
        optimizer: "adam" (Keras' defaults) or "momentum" (SGD, learning rate 0.01, momentum 0.9).
        batch: samples per training step.
        epochs: of one training; also of that before a prediction.
        threads: how many the contender may use.
    """

    measure: str
    data: str
    hidden: tuple[int, ...]
    optimizer: str
    batch: int
    epochs: int
    threads: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Task:
        fields = json.loads(text)
        return Task(**fields | {"hidden": tuple(fields["hidden"])})

    @property
    def net(self) -> str:
        return "-".join(map(str, (INPUTS, *self.hidden, OUTPUTS)))

    @property
    def group(self) -> str:
        """The heading that the task's cell stands under."""
        if self.measure == "epoch":
            return f"seconds per epoch, {self.net}, {self.optimizer}, {self.data}"
        rows = "us to predict one row" if self.measure == "one_row" else f"ms to predict {TESTS:,} rows"
        return f"{rows}, {self.net}"

    @property
    def column(self) -> str:
        return f"batch {self.batch}" if self.measure == "epoch" else self.data

    @property
    def accuracy_range(self) -> tuple[float, float] | None:
        """What the test accuracy must lie in to be believed; None where labels are random."""
        if not self.data.startswith("mnist"):
            return None
        steps = self.epochs * SAMPLES // self.batch
        if self.optimizer == "adam" and steps >= PLAIN_STEPS:
            return 0.95, 1.0
        return 0.7, 1.0  # too few or too small steps to tell more than nonsense


def grid(
    *,
    measures: Sequence[str],
    data: Sequence[str],
    nets: Sequence[tuple[int, ...]],
    optimizers: Sequence[str],
    batches: Sequence[int],
    epochs: int,
    threads: int,
) -> Iterator[Task]:
    """All combinations; how a model was trained makes no second prediction."""
    for measure in measures:
        rules, sizes = (optimizers, batches) if measure == "epoch" else (("adam",), (PREDICT_BATCH,))
        for net, rule, kind, size in product(nets, rules, data, sizes):
            yield Task(measure, kind, net, rule, size, epochs, threads)
