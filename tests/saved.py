"""Helpers for the tests of files: a model, and the suffixes of file names."""

from __future__ import annotations

from typing import Any

from conftest import classifier

import engine as keras
from engine import layers

MODELS = [".keras", ".npz", ".safetensors", ".h5", ".hdf5"]
WEIGHTS = [".weights.h5", ".npz", ".safetensors"]


def network(optimizer: Any = "adam", **options: Any) -> keras.Sequential:
    """Returns a model with trainable and other weights, two layers of one class, and an activation that is a layer."""
    return classifier(
        layers.BatchNormalization(),
        layers.Dense(4, activation=layers.LeakyReLU(0.1), kernel_regularizer="l2"),
        layers.Dropout(0.2),
        optimizer=optimizer,
        **options,
    )
