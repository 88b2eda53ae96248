"""Layers: the parts of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine._base.spec import serialize
from engine.layers.activations import ELU, LeakyReLU, PReLU, ReLU, Softmax
from engine.layers.augmentation import (
    RandomElastic,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from engine.layers.core import Activation, ActivityRegularization, Dense, Input, InputLayer
from engine.layers.discretization import Discretization
from engine.layers.embedding import Embedding
from engine.layers.function import Lambda
from engine.layers.hashing import HashedCrossing, Hashing
from engine.layers.input_spec import InputSpec
from engine.layers.layer import Layer, deserialize, get
from engine.layers.lookup import IntegerLookup, StringLookup
from engine.layers.masking import Masking
from engine.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from engine.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from engine.layers.pooling import (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
)
from engine.layers.preprocessing import CategoryEncoding, Normalization, Rescaling
from engine.layers.regularization import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from engine.layers.reshaping import Flatten, Identity, Permute, RepeatVector, Reshape
from engine.layers.text_vectorization import TextVectorization

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AlphaDropout",
    "Average",
    "BatchNormalization",
    "CategoryEncoding",
    "Concatenate",
    "Dense",
    "Discretization",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GroupNormalization",
    "HashedCrossing",
    "Hashing",
    "Identity",
    "Input",
    "InputLayer",
    "InputSpec",
    "IntegerLookup",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "RandomElastic",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "StringLookup",
    "Subtract",
    "TextVectorization",
    "UnitNormalization",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "get",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]

# Keras' other names.
GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D
GlobalAvgPool2D, GlobalMaxPool2D = GlobalAveragePooling2D, GlobalMaxPooling2D
GlobalAvgPool3D, GlobalMaxPool3D = GlobalAveragePooling3D, GlobalMaxPooling3D

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__, "it has the layers of dense networks")
