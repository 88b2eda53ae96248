"""Layers: the parts of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine._base.spec import serialize
from engine.layers import (
    activations,
    augmentation,
    core,
    discretization,
    embedding,
    function,
    hashing,
    lookup,
    masking,
    merging,
    normalization,
    pooling,
    preprocessing,
    regularization,
    reshaping,
    text_vectorization,
)
from engine.layers.activations import *
from engine.layers.augmentation import *
from engine.layers.core import *
from engine.layers.discretization import *
from engine.layers.embedding import *
from engine.layers.function import *
from engine.layers.hashing import *
from engine.layers.input_spec import InputSpec
from engine.layers.layer import Layer, deserialize, get
from engine.layers.lookup import *
from engine.layers.masking import *
from engine.layers.merging import *
from engine.layers.normalization import *
from engine.layers.pooling import *
from engine.layers.preprocessing import *
from engine.layers.regularization import *
from engine.layers.reshaping import *
from engine.layers.text_vectorization import *

# Each module lists its layers by itself.
__all__ = [
    "InputSpec",
    "Layer",
    "deserialize",
    "get",
    "serialize",
]
__all__ += activations.__all__
__all__ += augmentation.__all__
__all__ += core.__all__
__all__ += discretization.__all__
__all__ += embedding.__all__
__all__ += function.__all__
__all__ += hashing.__all__
__all__ += lookup.__all__
__all__ += masking.__all__
__all__ += merging.__all__
__all__ += normalization.__all__
__all__ += pooling.__all__
__all__ += preprocessing.__all__
__all__ += regularization.__all__
__all__ += reshaping.__all__
__all__ += text_vectorization.__all__

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__, "it has the layers of dense networks")
