"""The public modules and names of Keras, and the classes that both libraries have."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import keras

import engine

MODULES = """
    layers losses metrics optimizers optimizers.schedules callbacks activations initializers regularizers constraints
    models saving utils random config datasets distillation dtype_policies mixed_precision"""
PLACES = ["", *MODULES.split()]


def find(api: Any, place: str) -> Any:
    for part in place.split(".") if place else []:
        api = getattr(api, part)
    return api


def public(value: Any) -> set[str]:
    return {name for name in dir(value) if not name.startswith("_")}


# Arguments without defaults; of classes whose objects are made by calls there are none.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Dot": (1,),
    "Variable": (1.0,),
    "Activation": ("relu",),
    "AlphaDropout": (0.1,),
    "BackupAndRestore": ("folder",),
    "CSVLogger": ("file",),
    "CategoryEncoding": (3,),
    "Dense": (2,),
    "Discretization": ([0.5],),
    "Dropout": (0.1,),
    "Embedding": (3, 2),
    "LossScaleOptimizer": ("sgd",),
    "FeatureSpace": ({"a": "float"},),
    "GaussianDropout": (0.1,),
    "GaussianNoise": (0.1,),
    "GroupNormalization": (1,),
    "HashedCrossing": (3,),
    "Hashing": (3,),
    "InputLayer": ((3,),),
    "IoU": (2, [0]),
    "Lambda": (abs,),
    "LearningRateScheduler": (abs,),
    "MeanIoU": (2,),
    "MeanMetricWrapper": (abs,),
    "ModelCheckpoint": ("file.keras",),
    "OneHotIoU": (2, [0]),
    "OneHotMeanIoU": (2,),
    "Permute": ((1,),),
    "PrecisionAtRecall": (0.5,),
    "RandomRotation": (0.1,),
    "RandomTranslation": (0.1, 0.1),
    "RandomZoom": (0.1,),
    "RecallAtPrecision": (0.5,),
    "RepeatVector": (2,),
    "Rescaling": (2.0,),
    "Reshape": ((1,),),
    "SensitivityAtSpecificity": (0.5,),
    "SpatialDropout1D": (0.1,),
    "SpatialDropout2D": (0.1,),
    "SpatialDropout3D": (0.1,),
    "SpecificityAtSensitivity": (0.5,),
    "ExponentialDecay": (0.1, 2, 0.9),
    "PiecewiseConstantDecay": ([1], [0.1, 0.2]),
    "PolynomialDecay": (0.1, 2),
    "InverseTimeDecay": (0.1, 2, 0.9),
    "CosineDecay": (0.1, 2),
    "CosineDecayRestarts": (0.1, 2),
    "CustomObjectScope": ({},),
    "Progbar": (3,),
    "Optimizer": (0.1,),
}
# Classes whose objects are made in other ways, or never.
NO_OBJECTS = {"Distiller", "KerasTensor", "PyDataset", "Sequence"}


@cache
def classes() -> dict[str, tuple[Any, Any]]:
    found = {}
    for place in PLACES:
        theirs, ours = find(keras, place), find(engine, place)
        for name in sorted(public(theirs)):
            pair = getattr(theirs, name), getattr(ours, name, None)
            if all(map(inspect.isclass, pair)) and pair[0].__name__ == name:
                found[name] = pair
    return found
