"""The names that Keras 2 had in this module."""

from __future__ import annotations

from engine._base.registered_objects import custom_object_scope, get_custom_objects
from engine._printing.progress import Progbar
from engine.utils.serialization import deserialize_keras_object, serialize_keras_object

CustomObjectScope = custom_object_scope

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "serialize_keras_object",
]
