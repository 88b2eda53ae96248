"""Chains of dense layers that are trained on the CPU and on a card, for the tests of the kernels for them."""

from __future__ import annotations

import os

import numpy as np
import pytest

import engine as keras
from engine import layers, optimizers
from engine._core_interface.cpp import build_info

# The emulation of a card runs every thread by itself, so samples are few.
EPOCHS = 3
# Relative to the largest weight: the order in which sums are added differs from that of the CPU.
TOLERANCE = 1e-5
# Of the text that explains a training.
ONE_KERNEL = "one kernel for many batches"
TWO_KERNELS = "two kernels for each batch"
# What some cards can't do: they have no clusters, or less shared memory than the emulated one.
LIMITS_OF_CARDS = ("this card can't run batches", "don't fit in the shared memory")
# What can step weights at once.
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "sgd with decay": lambda: optimizers.SGD(0.05, weight_decay=0.1),
}


def chain(
    inputs, *units, activation="relu", dropout=0.0, last="softmax", scale=None, regularizer=None, dtype=None
):
    """A network with dense layers of so many units."""
    keras.utils.set_random_seed(7)
    parts = [keras.Input((inputs,), dtype=dtype)]
    if scale is not None:
        parts.append(layers.Rescaling(*scale))
    for width in units[:-1]:
        parts.append(
            layers.Dense(width, activation, kernel_regularizer=regularizer, bias_regularizer=regularizer)
        )
        if dropout:
            parts.append(layers.Dropout(dropout))
    parts.append(layers.Dense(units[-1], last))
    return keras.Sequential(parts)


def samples(rows, inputs, classes, dtype="float32"):
    rng = np.random.default_rng(rows)
    y = rng.integers(0, classes, rows)
    if dtype == "uint8":
        return (rng.integers(0, 256, (rows, inputs)) * (rng.random((rows, inputs)) < 0.3)).astype(dtype), y
    return rng.standard_normal((rows, inputs)).astype(dtype), y


def require_way(text, way=ONE_KERNEL):
    """Asserts that a training that `text` explains goes that way; skips the test where the card is too small for it."""
    taken = next(line for line in text.splitlines() if line.startswith("Execution"))
    is_whole = "Emulated" in build_info()["cuda"] and "EMULATED_CUDA_MULTIPROCESSORS" not in os.environ
    if not is_whole and any(limit in taken for limit in LIMITS_OF_CARDS):
        pytest.skip(taken)
    assert way in taken


def train(
    make, x, y, *, optimizer="adam", loss="sparse_categorical_crossentropy", metrics=("accuracy",), **fit
):
    model = make()
    if callable(optimizer):
        optimizer = optimizer()
    model.compile(optimizer, loss, metrics=list(metrics))
    fit = {"batch_size": 32, "epochs": EPOCHS, "verbose": 0, **fit}
    return model, model.fit(x, y, **fit).history


def check(make, x, y, way=ONE_KERNEL, **options):
    """Trains on the CPU and on the card, and compares; returns the model of the card."""
    on_cpu, expected = train(make, x, y, **options)
    with keras.device("cuda"):
        on_card, history = train(make, x, y, **options)
        text = keras.utils.explain_batch(on_card, batch_size=min(options.get("batch_size", 32), len(x)))
    require_way(text, way)
    for theirs, ours in zip(on_cpu.get_weights(), on_card.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * max(1.0, np.abs(theirs).max()))
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
    return on_card
