"""The text of a batch: the graph and the schedule of a textbook network word for word, and the barriers in it."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pytest
from common import compiled
from numpy.typing import NDArray

import engine as keras

Array = NDArray[np.float32]

GRAPH = """\
Graph: what is computed for a batch. b is the number of samples, and %0, %1, ... are values.

  %0[b,784] = read_input() scale=0.00392157
  %1[b,128] = dense(%0[b,784], hidden/kernel[784,128], hidden/bias[128]) relu
  %2[b,10] = dense(%1[b,128], output/kernel[128,10], output/bias[10])
  %3[b], %4[b,10], %5[b,10] = loss(%2[b,10]) softmax + crossentropy
  %6[b] = metric(%5[b,10])
  %7[b,128] = dense_input_gradient(%4[b,10], output/kernel[128,10], %1[b,128]) through relu
  dense_weight_step(%1[b,128], %4[b,10]) updates output/kernel[128,10], output/bias[10]
  dense_weight_step(%0[b,784], %7[b,128]) updates hidden/kernel[784,128], hidden/bias[128]
  add_losses(%3[b])
  add_metric(%6[b])
"""

SCHEDULE = """\
Schedule: how 1 thread of this CPU computes it, in batches of up to 32 samples.
The letters in brackets are the loops over the rows and columns of a value, as in einsum. An axis
marked * is in no loop.

step  kernel              operation
0     gather; skip zeros  %0[b,k] = read_input() scale=0.00392157
1     panels; skip zeros  %1[b,n] = dense(%0[b,k], hidden/kernel[k,n], hidden/bias[n]) relu
2     panels              %2[b,n] = dense(%1[b,k], output/kernel[k,n], output/bias[n])
3                         %3[b], %4[b,*], %5[b,*] = loss(%2[b,*]) softmax + crossentropy
4                         %6[b] = metric(%5[b,*])
5     transposed kernel   %7[b,k] = dense_input_gradient(%4[b,n], output/kernel[k,n], %1[b,k]) through relu
6     panels              dense_weight_step(%1[b,k], %4[b,n]) updates output/kernel[k,n], output/bias[n]
7     panels; skip zeros  dense_weight_step(%0[b,k], %7[b,n]) updates hidden/kernel[k,n], hidden/bias[n]
8                         add_losses(%3[*])
9                         add_metric(%6[*])
"""

BARRIER = re.compile(r"---- barrier: .* ----")


@pytest.fixture(name="textbook")
def _textbook() -> keras.Sequential:
    """The network 784-128-10 of the tutorial."""
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu", name="hidden"),
            keras.layers.Dense(10, activation="softmax", name="output"),
        ]
    )
    return compiled(model, "adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])


def steps(text: str) -> list[str]:
    """The lines of the schedule's steps and barriers."""
    lines = text.partition("\nstep ")[2].splitlines()[1:]
    return [line if BARRIER.fullmatch(line) else line.split(maxsplit=1)[1] for line in lines]


def test_one_thread(textbook: keras.Sequential) -> None:
    assert keras.utils.explain_batch(textbook, threads=1) == f"{GRAPH}\n{SCHEDULE}"


def test_few_samples_meet_at_one_barrier(textbook: keras.Sequential) -> None:
    """The sums of the last layer are all that two threads exchange, and each computes the loss for itself."""
    found = steps(keras.utils.explain_batch(textbook, threads=2))
    assert [index for index, line in enumerate(found) if BARRIER.match(line)] == [3]
    assert found[2].startswith("share k   partial products")
    assert re.match(r"---- barrier: other threads wrote (scratch \d+) ----", found[3])
    assert found[4].startswith("each      sum of partial products  %2[b,n] = dense(scratch ")
    assert found[5].startswith("each ")


def test_many_samples_meet_at_two_barriers(textbook: keras.Sequential) -> None:
    """Each thread computes the loss of its own samples, and then all need the gradient of all samples."""
    found = steps(keras.utils.explain_batch(textbook, batch_size=512, threads=2))
    assert [line for line in found if BARRIER.match(line)][1:] == [
        "---- barrier: other threads wrote %4 ----"
    ]
    after = found[found.index("---- barrier: other threads wrote %4 ----") + 1]
    assert after.startswith("share k ")
    assert "dense_input_gradient(%4[b,n]" in after


def test_evaluation_says_what_waits_for_the_batch_before(textbook: keras.Sequential) -> None:
    found = steps(keras.utils.explain_batch(textbook, "evaluate", 512, threads=2))
    waits = [line for line in found if BARRIER.match(line)]
    assert waits == [
        "---- barrier: other threads may still read %3, in the batch before ----",
        "---- barrier: other threads wrote %3 ----",
    ]
    assert "%3[b], %4[b,*] = loss(" in found[found.index(waits[0]) + 1]
    assert "add_losses(%3[*])" in found[found.index(waits[1]) + 1]


def many_layers() -> keras.Sequential:
    """Layers whose steps share samples, columns and inputs, and an optimizer that needs the norms of all gradients."""
    layers = [
        keras.layers.Dense(64, activation="gelu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(64, activation="tanh", kernel_regularizer="l1"),
        keras.layers.LayerNormalization(),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((12,)), *layers])
    return compiled(model, keras.optimizers.Lamb(), loss="mse", metrics=["mae"])


def test_every_barrier_stands_before_a_step_that_needs_it() -> None:
    """A barrier's value is one of the operands of the step below it, and was written or read by a step before."""
    found = steps(keras.utils.explain_batch(many_layers(), batch_size=300, threads=2))
    barriers = [index for index, line in enumerate(found) if BARRIER.match(line)]
    assert len(barriers) > 3
    for index in barriers:
        wait = re.fullmatch(
            r"---- barrier: other threads (?:wrote|may still read) (?P<used>.+?)"
            r"(, in the memory of (?P<now>.+?))?(?P<before>, in the batch before)? ----",
            found[index],
        )
        assert wait is not None
        assert f"{wait['now'] or wait['used']}[" in found[index + 1]
        others = found if wait["before"] else found[:index]
        assert any(f"{wait['used']}[" in line for line in others if line is not found[index + 1])


class Access(NamedTuple):
    """What a step does to a value: its name, whether it changes it, and which part of it each thread has."""

    name: str
    changes: bool
    part: str


def accesses(line: str) -> list[Access]:
    """What the step of a line touches, from the letters of its loops."""
    cells = re.split(r"\s{2,}", line)
    split, (head, _, updated) = cells[0], cells[-1].partition(" updates ")
    written, _, call = head.rpartition(" = ")
    read = call[call.index("(") + 1 : call.rindex(")")]
    found = []
    for text, changes in ((written, True), (updated, True), (read, False)):
        for name, *loops in re.findall(r"([^\[\],][^\[\]]*)\[(.)(?:,(.))?\](?:, )?", text):
            shared = split.removeprefix("share ")
            if split.startswith("thread "):
                part = split
            elif shared not in loops:
                part = "all"
            else:
                part = (
                    "samples" if shared == "b" else "rows" if loops[1] and loops[0] == shared else "columns"
                )
            found.append(Access(name, changes, part))
    return found


@pytest.mark.parametrize("batch_size", [32, 100, 300, 1000])
@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_no_barrier_is_missing(textbook: keras.Sequential, mode: str, threads: int, batch_size: int) -> None:
    """Between two steps in which a thread may meet the part of another one there is a barrier.

    The parts are worked out from the text alone: those with the same letter belong to the same thread.
    """
    for model in (textbook, many_layers()):
        text = keras.utils.explain_batch(model, mode, batch_size, threads)
        if "how 1 thread of this CPU" in text:
            assert batch_size < 300, "this case proves nothing"  # less work than two threads need
            continue
        found = steps(text)
        copied = {
            access.name
            for line in found
            if line.startswith("each ")
            for access in accesses(line)
            if access.changes
        }
        pending: list[Access] = []
        for line in found:
            if BARRIER.match(line):
                pending = []
                continue
            now = [access for access in accesses(line) if access.name not in copied]
            assert now or copied
            for before in pending:
                for access in now:
                    if before.name == access.name and (before.changes or access.changes):
                        assert before.part == access.part != "all", (before, line)
            pending += now


def test_predictions_have_no_barrier(textbook: keras.Sequential) -> None:
    """Threads take blocks of rows through the whole network, each for itself."""
    text = keras.utils.explain_batch(textbook, "predict", 10_000, threads=3)
    assert "how 1 thread of this CPU computes it, in batches of up to 128 samples" in text
    assert text.endswith(
        "\n3 threads take batches in turn, each with this schedule. None waits for another.\n"
    )
    assert "barrier" not in text
    assert "take batches in turn" not in keras.utils.explain_batch(textbook, "predict", 10_000, threads=1)


def test_steps_in_python_are_named() -> None:
    class Squares(keras.losses.Loss):
        def call(self, y_true: Array, y_pred: Array) -> Array:
            return np.mean((y_pred - y_true) ** 2, axis=-1)

        def gradient(self, y_true: Array, y_pred: Array) -> Array:
            return 2 * (y_pred - y_true) / y_pred.shape[-1]

    model = compiled(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), "sgd", loss=Squares())
    with pytest.raises(ValueError, match="the first targets say which: call fit"):
        keras.utils.explain_batch(model)
    model.train_on_batch(np.zeros((2, 4), np.float32), np.zeros((2, 1), np.float32))
    text = keras.utils.explain_batch(model)
    assert "Python: the threads stop, and the caller does the step." in text
    assert re.search(r"\d +Python +.*host_loss\(", text)


def test_gradients_that_are_stored_have_names() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
    model.compile(keras.optimizers.SGD(global_clipnorm=1.0), loss="mse")
    text = keras.utils.explain_batch(model)
    assert "d(w) is the gradient of the loss by the weights w." in text
    assert "d(dense/kernel)[4,2], d(dense/bias)[2] = dense_weight_gradient(" in text


def test_refusals() -> None:
    model = keras.Sequential([keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="has not yet been built"):
        keras.utils.explain_batch(model)
    model.build((None, 3))
    assert "write_output" in keras.utils.explain_batch(model, "predict")
    with pytest.raises(ValueError, match="not compiled"):
        keras.utils.explain_batch(model)
    with pytest.raises(ValueError, match="`mode` must be one of 'train', 'evaluate', 'predict', got 'fit'"):
        keras.utils.explain_batch(model, "fit")
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        keras.utils.explain_batch(model, "predict", 0)
    with pytest.raises(ValueError, match="`threads` must be at least 1, got 0"):
        keras.utils.explain_batch(model, "predict", threads=0)


@keras.function
def of_each_number(x: Array) -> Array:
    return keras.ops.tanh(keras.ops.exp(keras.ops.sin(x)))


@keras.function
def of_one_column(x: Array) -> Array:
    return keras.ops.sum(keras.ops.exp(x), axis=0)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_every_schedule_for_several_threads_has_a_barrier(threads: int, textbook: keras.Sequential) -> None:
    """There all threads learn from one of them whether the run goes on."""
    texts = []
    for rows, columns in ((4096, 512), (64, 16_384)):
        x = np.ones((rows, columns), np.float32)
        for function in (of_each_number, of_one_column):
            function(x)
            texts.append(keras.utils.explain_batch(function, threads=threads))
    for mode in ("train", "evaluate", "predict"):
        for batch_size in (8, 32, 1024):
            texts.append(keras.utils.explain_batch(textbook, mode, batch_size, threads))  # noqa: PERF401
    several = [text for text in texts if " share " in text]
    assert len(several) > len(texts) // 2
    assert all(BARRIER.search(text) for text in several)
