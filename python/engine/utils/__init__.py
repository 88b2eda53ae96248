"""Helpers that Keras scripts use."""

from __future__ import annotations

from engine._progress import Progbar
from engine.utils.batches import PyDataset, Sequence, pack_x_y_sample_weight, unpack_x_y_sample_weight
from engine.utils.numbers import normalize, set_random_seed, to_categorical

__all__ = [
    "Progbar",
    "PyDataset",
    "Sequence",
    "normalize",
    "pack_x_y_sample_weight",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
