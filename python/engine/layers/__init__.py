"""What a model is stacked from."""

from __future__ import annotations

from engine.layers.base import Layer, get
from engine.layers.core import Activation, Dense, Dropout, Input, InputLayer, Rescaling
from engine.layers.reshaping import Flatten, Identity, Permute, RepeatVector, Reshape

__all__ = [
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "Identity",
    "Input",
    "InputLayer",
    "Layer",
    "Permute",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "get",
]
