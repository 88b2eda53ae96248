"""Arguments that the core itself refuses, so that no mapping, number or array can end the interpreter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from bits_worker import ADAM, SGD, dense, digest
from core_for_tests import matmul
from numpy.typing import NDArray

from engine import _core

Array = NDArray[Any]
Spec = dict[str, Any]

BIG, HUGE = 2**24, 2**40
MEAN_SQUARES: Spec = {"kind": "mean_squared_error"}
CUSTOM: Spec = {"kind": "custom", "variables": []}
NOISE: Spec = {"kind": "noise", "rate": 0.5, "seed": 1, "scale": 1.0}
WARP: Spec = {"kind": "image_augmentation", "channels": 1, "seed": 1}
IMAGE = WARP | {"height": 2, "width": 2}
MUON: Spec = {
    "kind": "muon",
    "momentum": 0.9,
    "nesterov": 1.0,
    "adam_beta_1": 0.9,
    "adam_beta_2": 0.9,
    "epsilon": 1e-7,
    "adam_lr_ratio": 1.0,
    "orthogonalised": [True, False],
}


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def dataset(rows: int = 8) -> _core.Dataset:
    return _core.Dataset(ones(rows, 4), ones(rows, 2))


def compiled(loss: Spec = MEAN_SQUARES, optimizer: Spec = SGD, **options: object) -> _core.Program:
    program = _core.Program(4, [dense(2, "linear") | options])
    program.compile(loss, optimizer, [])
    return program


# Sizes whose product overflows 64 bits, indices beyond a row, displacements that are too large.
LAYERS: dict[str, tuple[int, list[Spec], str]] = {
    "weights of itself": (4, [dense(4, "linear") | {"first": 0}], "'first' must be an earlier layer"),
    "weights of a later layer": (
        4,
        [dense(4, "linear") | {"first": 7}] * 2,
        "'first' must be an earlier layer",
    ),
    "weights of another kind": (
        4,
        [{"kind": "column_scale"}, dense(4, "linear") | {"first": 0}],
        "'first' must be an earlier layer of the same kind",
    ),
    "weights of another size": (
        4,
        [dense(3, "linear"), dense(3, "linear") | {"first": 0}],
        "variables of the same shapes",
    ),
    "more weights than there are": (
        4,
        [dense(4, "linear", bias=False), dense(4, "linear") | {"first": 0}],
        "variables of the same shapes",
    ),
    "noise for more numbers than there are": (
        4,
        [NOISE | {"shape": [5], "noise_shape": [1]}],
        "'noise_shape' must be that of a sample, with 1 in place of some lengths",
    ),
    "noise of another length": (
        4,
        [NOISE | {"shape": [2, 2], "noise_shape": [2, 3]}],
        "'noise_shape' must be that of a sample, with 1 in place of some lengths",
    ),
    "lengths of another sample": (
        4,
        [{"kind": "permute", "lengths": [2, 3], "axes": [1, 0]}],
        "'lengths' must be those of the axes of a sample",
    ),
    "an axis twice": (
        4,
        [{"kind": "permute", "lengths": [2, 2], "axes": [1, 1]}],
        "a permutation names each axis of a sample once",
    ),
    "a table": (
        1,
        [{"kind": "embedding", "tokens": BIG, "units": HUGE}],
        r"a table of \(16777216, 1099511627776\)",
    ),
    "a kernel": (2, [dense(HUGE, "linear")], r"a kernel of \(2, 1099511627776\)"),
    "rows": (
        1,
        [CUSTOM | {"units": HUGE}, dense(BIG, "linear") | {"groups": HUGE}, dense(1, "linear")],
        r"a layer is larger than 2\*\*40 numbers",
    ),
    "tokens": (
        1,
        [{"kind": "encoding", "tokens": BIG + 1, "counts": True}],
        "'tokens' must be at most 16777216",
    ),
    "rows of tokens": (
        1,
        [CUSTOM | {"units": HUGE}, {"kind": "encoding", "tokens": BIG, "counts": True, "groups": HUGE}],
        r"a layer is larger than 2\*\*40 numbers",
    ),
    "lanes": (1, [dense(2**31, "linear")], r"rows of 2147483648 numbers are too long"),
    "an image": (
        1,
        [CUSTOM | {"units": BIG}, WARP | {"height": 2**32, "width": 2**32 + 2**8}],
        "a sample is no image of that height",
    ),
    "a shape": (4, [{"kind": "column_scale", "shape": [2**32, 2**32, 4]}], "doesn't hold a row"),
    "a shape of signs": (4, [{"kind": "column_scale", "shape": [-1, -4]}], "doesn't hold a row"),
    "a turn that is no number": (
        4,
        [IMAGE | {"turns": [0.0, np.nan]}],
        "two numbers from -1e6 to 1e6 .* 'turns'",
    ),
    "a way beyond all": (4, [IMAGE | {"down": [-3e38, 3e38]}], "two numbers from -1e6 to 1e6 .* 'down'"),
    "a zoom to infinity": (4, [IMAGE | {"zoom": [np.inf, np.inf]}], "two numbers from -1e6 to 1e6 .* 'zoom'"),
    "displacements": (4, [IMAGE | {"alpha": np.inf, "taps": [1.0]}], "'alpha' must lie in"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers(case: str) -> None:
    inputs, layers, message = LAYERS[case]
    with pytest.raises(ValueError, match=message):
        _core.Program(inputs, layers)


def test_batches_have_their_own_statistics_whatever_constants_a_layer_is_given() -> None:
    layer = {"kind": "batch_normalization", "epsilon": 1e-3, "momentum": 0.9}
    constants = {"mean": [1.0] * 4, "variance": [1.0] * 4}
    program = _core.Program(4, [layer | constants, dense(2, "linear")])
    assert len(program.variables) == len(_core.Program(4, [layer, dense(2, "linear")]).variables)
    program.compile(MEAN_SQUARES, SGD, [])
    program.begin("train", dataset(), 4).advance(0, 2, np.zeros(2))


@pytest.mark.parametrize("kind", ["mean_squared_error", "host"])
def test_only_classes_can_be_ignored(kind: str) -> None:
    with pytest.raises(ValueError, match="'ignored' is a class index"):
        compiled({"kind": kind, "ignored": 1})


def test_metrics() -> None:
    y, weights = ones(8, 2), ones(8)
    metric: Spec = {"kind": "sparse_categorical_crossentropy", "ignored": 1}
    with pytest.raises(ValueError, match="'ignored' is a class index"):
        _core.accumulate(metric, y, y, weights, None)
    for thresholds in ([], [0.5]):
        metric = {"kind": "thresholds", "even": True, "thresholds": thresholds}
        with pytest.raises(ValueError, match=f"'even' thresholds are 2 at least, got {len(thresholds)}"):
            _core.accumulate(metric, y, y, weights, None)


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**6])
def test_threads(threads: int) -> None:
    isa = str(_core.build_info()["isa"])
    with pytest.raises(ValueError, match=re.escape(f"must lie in 1 ... 1024; got {threads}")):
        matmul(ones(2, 2), ones(2, 2), None, None, False, False, None, isa, threads)


@pytest.mark.parametrize("rounds", [-1, 2**40])
def test_rounds(rounds: int) -> None:
    with pytest.raises(ValueError, match=f"'ns_steps' must lie in 0 ... 1000, got {rounds}"):
        compiled(optimizer=MUON | {"ns_steps": rounds})


def test_iterations() -> None:
    program = compiled(optimizer=ADAM)
    with pytest.raises(ValueError, match=r"`iterations` must lie in 0 ... 2\*\*53"):
        program.state.iterations = 2**63 - 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("abc", "could not convert string"),
        ([[1.0], [1.0, 2.0]], "inhomogeneous"),
        (ones(2, 4), "the weights' shape"),
    ],
)
def test_what_python_makes_of_weights(answer: object, message: str) -> None:
    constraint = compiled(kernel_constraint={"kind": "host"}).begin("train", dataset(), 4)
    with pytest.raises(ValueError, match=message):
        constraint.advance(0, 2, np.zeros(2), host=lambda _: answer)
    penalty = compiled(kernel_host_penalty=True).begin("train", dataset(), 4)
    with pytest.raises(ValueError, match=message):
        penalty.advance(0, 2, np.zeros(2), host=lambda _: (0.0, answer))


def test_views_of_a_batch_outlive_its_scratch() -> None:
    program = compiled({"kind": "host"})
    kept: list[Array] = []

    def host(views: Mapping[str, Array]) -> None:
        for name in ("y_pred", "gradient", "losses"):
            views[name][...] = 7.0
            kept.append(views[name])

    run = program.begin("train", dataset(), 8)
    run.advance(0, 1, np.zeros(1), host=host)
    run.feed(dataset(16), 16)  # this allocates larger scratch memory and frees the old one
    program.begin("train", dataset(), 8).advance(
        0, 1, np.zeros(1), host=lambda views: views["y_pred"].fill(9.0)
    )
    assert all((view == 7.0).all() for view in kept)


def test_a_run_goes_on_where_a_data_set_was_refused() -> None:
    def train(interrupt: Callable[[_core.Run], None]) -> str:
        program = compiled()
        run = program.begin("train", dataset(), 4)
        run.advance(0, 1, np.full(1, 0.1))
        interrupt(run)
        run.advance(1, 2, np.full(1, 0.1))
        return digest(program.variables)

    def refuse(run: _core.Run) -> None:
        with pytest.raises(ValueError, match="rows of `x`"):
            run.feed(_core.Dataset(ones(2, 5), ones(2, 2)), 2)

    assert train(refuse) == train(lambda _: None)


@pytest.mark.parametrize("rows", [2**31, 2**62, 2**62 + 1, 2**63 - 1])
def test_predictions_of_more_rows_than_an_integer_can_double(rows: int) -> None:
    """They are cut into batches of a power of two, which is sought among the numbers that there are."""
    assert "up to 128 samples" in compiled().to_text("predict", rows, threads=1)[1]
