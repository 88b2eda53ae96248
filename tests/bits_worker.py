"""Trains the networks of `test_bits.py` on several numbers of threads, and prints the results as JSON.

This is a separate process, since the core reads `ENGINE_ISA` when it is imported.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bits_data import Array, compressed, labels, pixels, reals, words
from bits_layers import (
    AUGMENTED,
    MASKED,
    MASKED_OUTPUTS,
    NORMALIZED_AND_NOISY,
    PACKED,
    RESCALE,
    ROWS_OF_SAMPLES,
    SMOOTH,
    TOKENS,
    Spec,
    dense,
    dropout,
)
from optimizer_cases import as_formula
from reference_optimizers import for_core, read_slots

from engine import _core

THREADS = (1, 2, 3, 4, 8)
SGD, ADAM = as_formula("SGD", {}), as_formula("Adam", {})
ADAM_DECAY = {**ADAM, "kernel_decay": 0.1, "bias_decay": 0.02}
MOMENTUM = as_formula("SGD", {"momentum": 0.9})
NESTEROV = as_formula("SGD", {"momentum": 0.9, "nesterov": True})


class Case(NamedTuple):
    """A training. A batch has at least 6.4 MFLOP, since with less work the core would use fewer than 8 threads."""

    x: Array
    y: Array
    layers: Sequence[Spec]
    loss: str | Spec
    optimizer: Spec
    batch_size: int
    weight: Array | None = None
    output_rows: int = 1
    sparse: bool = False

    def rows(self, index: slice = slice(None)) -> Array | _core.CompressedMatrix:
        """Returns some rows of `x` in the form that the core takes."""
        return compressed(self.x[index]) if self.sparse else self.x[index]


def mnist() -> Case:
    from engine.datasets import mnist as data

    (x, y), _ = data.load_data()
    layers = [RESCALE, dense(128, "relu"), dense(10, "softmax")]
    return Case(
        x[:650].reshape(650, 784),
        y[:650].astype(np.int32),
        layers,
        "sparse_categorical_crossentropy",
        ADAM,
        32,
    )


L1 = {"kernel_l1": 1e-4, "bias_l1": 1e-4}


def norms(over: str) -> Spec:
    return {"kind": "norm", "over": over, "low": 0.2, "high": 0.9, "rate": 0.8}


def networks() -> dict[str, Callable[[], Case]]:
    """Returns trainings of wide and narrow layers, so that threads divide weights in every way."""

    def case(layers: list[Spec], optimizer: str, batch_size: int = 70, **options: Any) -> Callable[[], Case]:
        loss = "sparse_categorical_crossentropy"
        x, y, rule = pixels(150, 90, "float32"), labels(150, 10), as_formula(optimizer, options)
        return lambda: Case(x, y, layers, loss, rule, batch_size)

    plain = [dense(200, "relu", l2=1e-4), dense(130, "tanh"), dense(64, "relu"), dense(10, "softmax")]
    asking = [
        {**dense(150, "relu", l2=1e-4), **L1, "kernel_constraint": norms("column")},
        {**dense(130, "tanh"), "kernel_constraint": norms("row")},
        {**dense(64, "tanh"), "kernel_constraint": norms("row")},
        {
            **dense(20, "relu"),
            "kernel_constraint": norms("all"),
            "bias_constraint": norms("row"),
        },
        {**dense(10, "softmax"), "kernel_constraint": {"kind": "non_negative"}},
    ]
    several = [
        dense(160, "relu", l2=1e-4),
        dense(200, "tanh"),
        {"kind": "dropout", "rate": 0.2, "seed": 3},
        dense(90, "silu"),
        dense(64, "relu"),
        dense(10, "softmax"),
    ]
    wide = [dense(300, "relu"), dense(700, "tanh"), dense(10, "softmax")]
    gains = [plain[0], {"kind": "column_scale", "shape": [20, 10]}, *plain[1:]]
    norm = {"kind": "batch_normalization", "momentum": 0.9, "epsilon": 1e-3}
    slopes = {"kind": "column_scale", "rule": "leaky", "use_shift": False}
    reused = [
        dense(150, "relu"),
        dense(150, "tanh", l2=1e-3),
        norm,
        slopes,
        {**dense(150, "relu", l2=1e-3), "first": 1},
        {**norm, "first": 2},
        {**dense(150, "linear", l2=1e-3), "first": 1},
        {**slopes, "first": 3},
        dense(10, "linear"),
        dense(10, "sigmoid"),
        {**dense(10, "linear"), "first": 9},
        {**dense(10, "softmax"), "first": 9},
    ]
    averaged = {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3}
    accumulated = {"clipnorm": 0.5, "gradient_accumulation_steps": 2}
    muon = {**accumulated, "adam_weight_decay": None, "weight_decay": 0.1}
    free = {"beta_1": 0.6, "warmup_steps": 4, "gradient_accumulation_steps": 2, "weight_decay": 0.1}
    ftrl = {"l1_regularization_strength": 1e-3, "l2_regularization_strength": 0.1, "beta": 0.2}
    return {
        "penalties_and_constraints": case(asking, "SGD", momentum=0.9, global_clipnorm=0.1, **averaged),
        "several_panels": case(several, "Adam", 40),
        "several_panels_in_small_batches": case(several, "Adam", 6),
        "several_panels_in_large_batches": case(wide, "Adam", 128),
        "lamb": case(plain, "Lamb", **accumulated),
        "adafactor": case(gains, "Adafactor", weight_decay=0.1),
        "muon": case(gains, "Muon", **muon),
        "reused": case(reused, "SGD", gradient_accumulation_steps=3, global_clipnorm=0.1),
        "reused_alone": case(reused, "Adam", weight_decay=0.1),
        "nadam": case(plain, "Nadam"),
        "schedule_free": case(plain, "ScheduleFreeAdamW", **free),
        "ftrl": case(
            plain, "Ftrl", learning_rate_power=-0.6, l2_shrinkage_regularization_strength=0.05, **ftrl
        ),
    }


CASES: dict[str, Callable[[], Case]] = {
    "smooth_activations": lambda: Case(
        pixels(150, 60, "float32"), reals(150, 5), SMOOTH, "mean_squared_error", ADAM, 100
    ),
    "mnist": mnist,
    "mnist_in_a_narrower_layer": lambda: mnist()._replace(
        layers=[RESCALE, dense(60, "relu"), dense(10, "softmax")]
    ),
    "uint8_dropout_l2": lambda: Case(
        pixels(200, 196, "uint8"),
        labels(200, 10),
        [RESCALE, dense(130, "relu", l2=1e-3), dropout(0.3, 7), dense(10, "softmax", l2=1e-3)],
        "sparse_categorical_crossentropy",
        ADAM,
        64,
        reals(200, 1)[:, 0].copy(),
    ),
    "float64_three_layers": lambda: Case(
        pixels(230, 97, "float64"),
        reals(230, 5),
        [
            dropout(0.1, 1),
            dense(120, "tanh"),
            dropout(0.5, 2),
            dense(64, "silu", bias=False),
            dense(5, "sigmoid"),
        ],
        "binary_crossentropy",
        NESTEROV,
        100,
    ),
    "packed_blocks": lambda: Case(
        pixels(290, 300, "float32"), reals(290, 5), PACKED, "binary_crossentropy", ADAM, 140
    ),
    "float32_one_output": lambda: Case(
        pixels(131, 300, "float32"),
        reals(131, 1),
        [dense(257, "silu", l2=1e-4), dense(1, "linear")],
        "mean_squared_error",
        MOMENTUM,
        65,
    ),
    "narrow_layers": lambda: Case(
        pixels(700, 64, "float32"),
        reals(700, 7),
        [dense(32, "sigmoid"), dense(16, "softmax"), dense(40, "relu"), dense(7, "softmax")],
        "mean_squared_error",
        ADAM,
        600,
    ),
    "rows_of_samples": lambda: Case(
        pixels(150, 300, "float32"),
        reals(150, 6),
        ROWS_OF_SAMPLES,
        "binary_crossentropy",
        ADAM,
        70,
    ),
    "rows_of_outputs": lambda: Case(
        pixels(150, 300, "float32"),
        labels(150 * 6, 7).reshape(150, 6),
        [dense(120, "relu") | {"groups": 6}, dense(7, "softmax") | {"groups": 6}],
        {"kind": "sparse_categorical_crossentropy", "ignored": 3, "reduction": "weighted_mean"},
        ADAM,
        70,
        reals(150, 6),
        6,
    ),
    "masked_outputs": lambda: CASES["rows_of_outputs"]()._replace(
        x=pixels(150, 300, "float32").clip(0.9) - np.float32(0.9),
        layers=MASKED_OUTPUTS,
        loss={"kind": "sparse_categorical_crossentropy", "ignored": 3, "masked": True},
    ),
    "weighted_log_cosh": lambda: Case(
        pixels(130, 300, "float32"),
        reals(130, 37),
        [dense(257, "relu"), dense(37, "linear")],
        {"kind": "log_cosh", "reduction": "weighted_mean", "weight": 1.5},
        SGD,
        65,
        reals(130, 1)[:, 0].copy(),
    ),
    "focal": lambda: Case(
        pixels(130, 300, "float32"),
        reals(130, 17),
        [dense(257, "relu"), dense(17, "softmax")],
        {"kind": "categorical_focal_crossentropy", "parameters": [0.25, 2.0, 0.0], "reduction": "sum"},
        ADAM,
        65,
    ),
    "normalized_and_noisy": lambda: Case(
        pixels(150, 100, "float32"), reals(150, 6), NORMALIZED_AND_NOISY, "mean_squared_error", ADAM, 70
    ),
    "augmented": lambda: Case(
        pixels(150, 400, "uint8"), labels(150, 10), AUGMENTED, "sparse_categorical_crossentropy", ADAM, 70
    ),
    "tokens": lambda: Case(
        np.random.default_rng(4).integers(0, 50, (150, 12)).astype(np.float32),
        reals(150, 6),
        TOKENS,
        "binary_crossentropy",
        MOMENTUM,
        70,
    ),
    "masked": lambda: Case(
        np.random.default_rng(4).integers(0, 50, (150, 12)).clip(20).astype(np.float32) - 20,
        reals(150, 6),
        MASKED,
        "binary_crossentropy",
        MOMENTUM,
        70,
    ),
    "words": lambda: Case(
        words(700, 3000),
        labels(700, 10),
        [dense(70, "relu", l2=1e-4), dense(10, "softmax")],
        "sparse_categorical_crossentropy",
        ADAM,
        300,
        sparse=True,
    ),
    "words_in_a_narrower_layer": lambda: CASES["words"]()._replace(
        layers=[dense(60, "relu"), dense(10, "softmax")]
    ),
    "words_in_a_narrow_layer": lambda: CASES["words"]()._replace(
        x=words(700, 9000),
        layers=[RESCALE, dense(16, "relu"), dense(10, "softmax")],
        optimizer=ADAM_DECAY,
        batch_size=600,
    ),
    "words_in_one_product": lambda: Case(
        words(700, 9000), reals(700, 1), [dense(1, "linear", l2=1e-3)], "mean_squared_error", ADAM_DECAY, 600
    ),
    "batches_of_one": lambda: Case(
        pixels(5, 300, "float64"),
        labels(5, 3),
        [dense(3600, "relu"), dense(3, "softmax")],
        "sparse_categorical_crossentropy",
        SGD,
        1,
    ),
    "four_hidden_layers": lambda: Case(
        pixels(150, 50, "uint8"),
        reals(150, 33),
        [
            RESCALE,
            dense(100, "relu"),
            dense(90, "tanh"),
            dropout(0.2, 3),
            dense(80, "silu"),
            dense(33, "linear"),
        ],
        "binary_crossentropy",
        ADAM_DECAY,
        70,
    ),
    **networks(),
}


def big_case(rows: int = 1000) -> Case:
    """Returns a training whose batches are large enough for several threads."""
    layers = [dense(256, "relu"), dense(64, "tanh"), dense(10, "softmax")]
    return Case(
        pixels(rows, 300, "float32"), labels(rows, 10), layers, "sparse_categorical_crossentropy", ADAM, 64
    )


def build(case: Case, seed: int = 3) -> _core.Program:
    width = case.x.shape[1]
    program = _core.Program(width, case.layers, case.output_rows)
    values = []
    for i, variable in enumerate(program.variables):
        bound = np.sqrt(3 / variable.shape[0]) if variable.ndim == 2 else 0.1
        values.append(_core.uniform(seed, i, variable.size, -bound, bound).reshape(variable.shape))
    program.write_variables(values)
    loss = {"kind": case.loss} if isinstance(case.loss, str) else case.loss
    metric = "mean_squared_error" if case.y.dtype == np.float32 else "sparse_categorical_crossentropy"
    program.compile(loss, for_core(case.optimizer, program.variables), [{"kind": metric, "weighted": True}])
    return program


def train(case: Case, seed: int = 3, cuts: Sequence[int] | None = None) -> tuple[_core.Program, _core.Run]:
    """Trains two shuffled epochs. `cuts` are the batches at which `advance` returns."""
    program = build(case, seed)
    for epoch in range(2):
        data = _core.Dataset(case.rows(), case.y, case.weight)
        run = program.begin("train", data, case.batch_size, "rows", seed, epoch)
        rates = 0.01 / (1 + np.arange(run.batches))
        ends = [*(c for c in cuts or () if 0 < c < run.batches), run.batches]
        for begin, end in zip([0, *ends], ends, strict=False):
            run.advance(begin, end, rates[begin:end])
    return program, run


def digest(arrays: Sequence[Array]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def thread_count() -> int:
    """Returns the number of threads of this process, in which the engine keeps those of the largest team."""
    return sum(1 for _ in Path("/proc/self/task").iterdir()) if sys.platform == "linux" else max(THREADS)


def outcome(case: Case) -> dict[str, Any]:
    program, run = train(case)
    threads = thread_count()
    return {
        "threads": threads,
        "weights": digest(program.variables),
        "slots": digest([s for slots in read_slots(program) for s in slots]),
        "predictions": digest([program.predict(case.rows())]),
        "totals": [run.totals.loss, *run.totals.metrics],
    }


def fit_outcome() -> dict[str, Any]:
    """Returns the results of a training through the public interface."""
    import engine as keras

    keras.utils.set_random_seed(5)
    (x, y), _ = keras.datasets.mnist.load_data()
    layers = [
        keras.layers.Flatten(input_shape=(28, 28)),
        keras.layers.Dense(128, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4)),
        keras.layers.Dense(60, activation="gelu", kernel_initializer="orthogonal"),
        keras.layers.Dense(50, activation="selu", kernel_initializer="lecun_normal"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x[:700] / 255.0, y[:700], epochs=2, validation_split=0.1, verbose=0).history
    return {"threads": thread_count(), "weights": digest(model.get_weights()), "history": history}


def threads_of(isa: str) -> tuple[int, ...]:
    """Returns numbers of threads; fewer for the baseline, which takes most of the time and has the same schedules."""
    return (1, 3, 8) if isa == "baseline" else THREADS


def main() -> None:
    isa = _core.build_info()["isa"]
    found: dict[str, Any] = {"isa": isa}
    for name in (*CASES, "fit"):
        found[name] = {}
        for threads in threads_of(isa):
            _core.set_threads(threads)
            found[name][threads] = fit_outcome() if name == "fit" else outcome(CASES[name]())
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
