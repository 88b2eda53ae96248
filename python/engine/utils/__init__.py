"""Helpers that Keras scripts use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine._base.registered_objects import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from engine._base.spec import clear_session
from engine._printing.progress import Progbar
from engine.config import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
)
from engine.utils.numbers import normalize, pad_sequences, set_random_seed, standardize_dtype, to_categorical
from engine.utils.serialization import deserialize_keras_object, serialize_keras_object

if TYPE_CHECKING:
    from engine.utils.batch_text import explain_batch
    from engine.utils.batches import (
        PyDataset,
        Sequence,
        pack_x_y_sample_weight,
        split_dataset,
        unpack_x_y_sample_weight,
    )
    from engine.utils.feature_space import FeatureSpace
    from engine.utils.files import get_file
    from engine.utils.model_dot import model_to_dot
    from engine.utils.model_plot import plot_model
    from engine.utils.reports import classification_report
    from engine.utils.symbolic_tensors import is_keras_tensor
    from engine.utils.timeseries import timeseries_dataset_from_array

CustomObjectScope = custom_object_scope

__all__ = [
    "CustomObjectScope",
    "FeatureSpace",
    "Progbar",
    "PyDataset",
    "Sequence",
    "classification_report",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "explain_batch",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "model_to_dot",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "standardize_dtype",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]


__getattr__ = on_first_use(
    __name__,
    PyDataset="batches",
    Sequence="batches",
    pack_x_y_sample_weight="batches",
    split_dataset="batches",
    unpack_x_y_sample_weight="batches",
    classification_report="reports",
    explain_batch="batch_text",
    FeatureSpace="feature_space",
    get_file="files",
    is_keras_tensor="symbolic_tensors",
    model_to_dot="model_dot",
    plot_model="model_plot",
    timeseries_dataset_from_array="timeseries",
)


def __dir__() -> list[str]:
    return __all__
