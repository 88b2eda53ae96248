"""The suites that the command measures: tasks, and the contenders that can do them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from bench.calls import WORK
from bench.functions import FORMULAS, SHAPES
from bench.tasks import (
    FEWER,
    GRAPHS,
    MNIST,
    RESULTS,
    SAMPLES,
    WIDTHS,
    AnyTask,
    ArrayFunction,
    Call,
    Graph,
    Problem,
    Product,
    Program,
    Task,
)

FAST = ("engine", "torch", "jax", "numpy")
KERAS = ("keras:tensorflow", "keras:jax", "keras:torch")
ALL = (*FAST, "torch:compile", "sklearn", *KERAS)
YARDSTICKS = ("yardstick:mlp", "yardstick:mlp_sparse", "yardstick:mlp_zskip")

# Batch size of the training before a prediction. The model is trained so that its accuracy can be checked.
PREDICT_BATCH = 32

NETS = tuple(
    map(
        Problem.parse,
        (
            "30-64-64-1",
            "784-128-10",
            "784-512-512-10",
            "784-2500-2000-1500-1000-500-10",
            "1000-4000-1000:mse",
        ),
    )
)

# A cell should take seconds and not minutes. So the rows of an epoch are limited by an estimate of the time that two
# ordinary cores need for the products and for the memory traffic of weights, gradients and optimizer state.
EPOCH_SECONDS = 0.25
FLOPS_PER_SECOND = 150e9
BYTES_PER_SECOND = 15e9
OPTIMIZER_BYTES = 28  # per parameter and step: w, m and v read and written, the gradient read
MOST_STEPS = 2_000
GRID_EPOCHS = 2

SQUARES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
# (m, k, n) of products in dense networks: one row, small batches, narrow last layers, weight gradients, a test set.
SKINNY = (
    (1, 784, 128),
    (8, 784, 512),
    (32, 784, 128),
    (32, 128, 10),
    (128, 784, 512),
    (512, 512, 10),
    (784, 32, 128),
    (784, 512, 512),
    (10_000, 784, 128),
    (64, 4000, 1000),
)
TRANSPOSES = ((False, False), (True, False), (False, True), (True, True))


@dataclass(frozen=True)
class Suite:
    """A set of tasks with the contenders that do them.

    Args:
        contenders: names of the contenders.
        title: the heading of its tables.
        measures: "matmul", "function", "call", "import", "process" and "graph"; or "epoch", "step", "predict" and "one_row", which use the
            fields below.
        problems, data, optimizers, batches, epochs: as in `tasks.Task`; there is a task for every combination. The batches
            are the rows of calls, too.
        rows: rows of an epoch; None chooses a number that makes a cell short.
        networks: of `tasks.GRAPHS`, trained with `batches` and `epochs`.
        shapes: (m, k, n) of products.
        transposes: (of a, of b).
        sizes: numbers in a matrix of the functions, of `functions.SHAPES`.
        results: of the functions, some of `tasks.RESULTS`.
        threads: numbers of threads; 0 means all.
        one_process: whether all contenders share a process, because they are variants of one library that differ by less
            than two processes of it.
    """

    contenders: tuple[str, ...]
    title: str
    measures: tuple[str, ...]
    problems: tuple[Problem, ...] = (MNIST,)
    data: tuple[str, ...] = ("mnist-float32",)
    optimizers: tuple[str, ...] = ("adam",)
    batches: tuple[int, ...] = (32, 128, 512)
    epochs: int = 5
    rows: int | None = SAMPLES
    networks: tuple[str, ...] = ()
    shapes: tuple[tuple[int, int, int], ...] = ()
    transposes: tuple[tuple[bool, bool], ...] = TRANSPOSES
    sizes: tuple[int, ...] = ()
    results: tuple[str, ...] = RESULTS
    threads: tuple[int, ...] = (0,)
    one_process: bool = False

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Groups of contenders that share a process."""
        return [self.contenders] if self.one_process else [(name,) for name in self.contenders]

    def tasks(self, threads: int) -> Iterator[Sequence[AnyTask]]:
        """Yields lists of tasks; one set of processes can do the tasks of a list one after the other."""
        for measure in self.measures:
            for count in dict.fromkeys(number or threads for number in self.threads):
                if measure == "matmul":
                    yield [
                        Product(*shape, *transposed, count)
                        for transposed, shape in product(self.transposes, self.shapes)
                    ]
                elif measure == "function":
                    for size, result in product(self.sizes, self.results):
                        yield [
                            ArrayFunction(name, size, result, count)
                            for name, formula in FORMULAS.items()
                            if result == "value" or formula.differentiable
                        ]
                elif measure == "call":
                    yield [Call(what, rows, count) for what, rows in product(WORK, self.batches)]
                elif measure in {"import", "process"}:
                    yield [Program(measure, count)]
                elif measure == "graph":
                    for network, batch in product(self.networks, self.batches):
                        yield [Graph(network, batch, GRAPHS[network], self.epochs, count)]
                else:
                    yield from ([task] for task in self._networks(measure, count))

    def _networks(self, measure: str, threads: int) -> Iterator[Task]:
        """Yields the tasks with networks. Predictions have one optimizer and batch size, which do not change their time."""
        predicts = measure in {"predict", "one_row"}
        optimizers, batches = (("adam",), (PREDICT_BATCH,)) if predicts else (self.optimizers, self.batches)
        for problem, rule, kind, batch in product(self.problems, optimizers, self.data, batches):
            if WIDTHS.get(kind, problem.inputs) != problem.inputs:
                continue
            rows = FEWER.get(kind) or self.rows or rows_for(problem, batch)
            yield Task(measure, problem, kind, rule, batch, rows, self.epochs, threads)


def rows_for(problem: Problem, batch: int) -> int:
    """Returns the rows of an epoch that takes about `EPOCH_SECONDS`: whole batches, at least one."""
    products = batch * problem.training_flops / FLOPS_PER_SECOND
    traffic = OPTIMIZER_BYTES * problem.parameters / BYTES_PER_SECOND
    steps = min(MOST_STEPS, int(EPOCH_SECONDS / (products + traffic)), SAMPLES // batch)
    return batch * max(1, steps)


GRID = Suite(
    FAST,
    "Grid",
    ("step",),
    NETS,
    data=("normal",),
    optimizers=("adam", "momentum"),
    batches=(1, 8, 32, 128, 512, 4096),
    epochs=GRID_EPOCHS,
    rows=None,
)
MATMUL = Suite(
    ("engine", "numpy", "torch"),
    "Products of matrices",
    ("matmul",),
    shapes=(*((size, size, size) for size in SQUARES), *SKINNY),
    threads=(1, 0),
)

FULL = {
    "mnist": Suite(ALL, "MNIST", ("epoch",), batches=(32, 128, 512, 1024)),
    "inputs": Suite(
        (*FAST, *YARDSTICKS),
        "Other kinds of input",
        ("epoch",),
        data=("mnist-uint8", "mnist-float64", "normal"),
    ),
    "predict": Suite(ALL, "Prediction", ("predict", "one_row"), data=("mnist-float32", "normal"), epochs=2),
    "grid": GRID,
    "costs": Suite(
        ("engine", "engine:dropout", "engine:l2", "engine:validation"),
        "What features cost",
        ("epoch",),
        batches=(32, 128, 512),
        one_process=True,
    ),
    "graphs": Suite(
        ("engine", "jax", "keras:jax"),
        "Networks with branches",
        ("graph",),
        networks=("two_tower", "wide_deep", "residual", "vae", "dcn"),
        batches=(32, 256, 2048),
        epochs=3,
    ),
    "traced": Suite(
        ("engine", "engine:own"),
        "What a user writes instead of a layer or a loss",
        ("graph",),
        networks=("focal", "gelu", "branches"),
        batches=(32, 256, 2048),
        epochs=2,
        one_process=True,
    ),
    "agent": Suite(
        ("engine", "engine:tape", "engine:function", "jax", "keras:jax"),
        "Updates of an agent",
        ("graph",),
        networks=("dqn",),
        batches=(32,),
        epochs=3,
    ),
    "sparse": Suite(
        ("engine", "torch", "jax", "sklearn"),
        "Sparse matrices",
        ("epoch", "predict"),
        (Problem.parse("10000-64-20"),),
        data=("words",),
        epochs=2,
    ),
    "sklearn": Suite(
        ("engine", "engine:sklearn", "sklearn:defaults"),
        "Estimators of scikit-learn",
        ("epoch",),
        tuple(map(Problem.parse, ("64-100-10", "54-100-7", "784-100-10"))),
        data=("digits", "covertype", "mnist-float32"),
        batches=(200,),
        epochs=20,
    ),
    "matmul": MATMUL,
    "functions": Suite(
        ("engine", "jax", "numpy"), "Compiled functions of arrays", ("function",), sizes=tuple(SHAPES)
    ),
    "calls": Suite(
        ("engine", "jax", "torch", "numpy"), "Small calls", ("call",), batches=(1, 4, 8, 33, 64, 256)
    ),
    "process": Suite(("engine", *KERAS), "The textbook script", ("process",)),
    "import": Suite(("numpy", "engine", "torch", "jax", "sklearn", *KERAS), "Import", ("import",)),
}

# Training on a GPU, which `python -m bench.gpu` measures.
ON_GPU = (
    "engine",
    "engine:cuda",
    "engine:cuda-steps",
    "torch:cuda",
    "torch:cuda-graphs",
    "torch:cuda-compile",
    "jax:cuda",
)
GPU = {
    "gpu": Suite(ON_GPU, "MNIST on a GPU", ("epoch",), data=("mnist-uint8",), batches=(32, 128, 1024, 16384)),
    "gpu-tiny": Suite(
        ON_GPU,
        "Tiny networks on a GPU",
        ("epoch",),
        (Problem.parse("32-64-64-16"),),
        data=("normal",),
        batches=(128, 1024, 16384),
    ),
    "gpu-wide": Suite(
        (
            *ON_GPU,
            "engine:cuda-own",
            "engine:cuda-tf32",
            "torch:cuda-tf32",
            "engine:cuda-bfloat16",
            "torch:cuda-bfloat16",
        ),
        "Wide networks on a GPU",
        ("epoch",),
        tuple(map(Problem.parse, ("784-2500-2500-2500-2500-2500-10", "4000-4000-4000-10"))),
        data=("normal",),
        batches=(1024,),
        epochs=2,
    ),
}

# A selection of the cells that takes 25 minutes.
QUICK = FULL | {
    "mnist": replace(FULL["mnist"], batches=(32, 128, 512)),
    "inputs": replace(FULL["inputs"], contenders=("engine", "jax", "numpy", *YARDSTICKS)),
    "predict": replace(FULL["predict"], contenders=(*FAST, "sklearn")),
    "grid": replace(GRID, optimizers=("adam",), batches=(1, 32, 512)),
    "costs": replace(FULL["costs"], batches=(32, 512)),
    "graphs": replace(FULL["graphs"], contenders=("engine", "jax")),
    "matmul": replace(
        MATMUL,
        shapes=tuple((size, size, size) for size in (8, 64, 512, 1024)) + SKINNY[::3],
        transposes=((False, False), (True, False)),
    ),
    "functions": replace(
        FULL["functions"], sizes=(1_000, 100_000, 1_000_000), results=("value", "value and gradient")
    ),
    "process": replace(FULL["process"], contenders=("engine", "keras:tensorflow", "keras:jax")),
}


def narrowed(suite: Suite, **changes: Sequence[object] | None) -> Suite:
    """Returns the suite with other contenders, problems, networks, data, optimizers or batches; None changes nothing."""
    return replace(suite, **{key: tuple(value) for key, value in changes.items() if value is not None})  # type: ignore[arg-type] # the caller's names
