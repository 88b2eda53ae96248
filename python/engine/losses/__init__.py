"""Losses: classes for `compile`, and functions that return the loss of each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine._base.lazy_imports import on_first_use
from engine._base.spec import deserialize_any, registered_or_same, serialize_any
from engine.losses import crossentropy, focal, margin, regression
from engine.losses.circle import Circle, circle
from engine.losses.crossentropy import *
from engine.losses.focal import *
from engine.losses.loss import FunctionLoss, Loss, registry
from engine.losses.margin import *
from engine.losses.regression import *

# Each module lists its losses by itself.
__all__ = [
    "BCE",
    "KLD",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "Circle",
    "Loss",
    "bce",
    "circle",
    "cosine",
    "cosine_proximity",
    "deserialize",
    "get",
    "kld",
    "kullback_leibler_divergence",
    "logcosh",
    "mae",
    "mape",
    "mse",
    "msle",
    "serialize",
]
__all__ += crossentropy.__all__
__all__ += focal.__all__
__all__ += margin.__all__
__all__ += regression.__all__

# Names that the functions have in tf.keras and in older versions of Keras.
BCE = bce = binary_crossentropy
cosine = cosine_proximity = cosine_similarity
KLD = kld = kullback_leibler_divergence = kl_divergence
MAE = mae = mean_absolute_error
MAPE = mape = mean_absolute_percentage_error
MSE = mse = mean_squared_error
MSLE = msle = mean_squared_logarithmic_error
logcosh = log_cosh


def get(identifier: object) -> Any:
    """Returns the loss for an identifier: an instance for a class name or config, otherwise a function.

    Args:
        identifier: a name such as "mse" (the function) or "MeanSquaredError" (the class), a class, an instance, a
            function, a config dict or None.

    Raises:
        ValueError: if the name is unknown. The message suggests similar names.
        TypeError: if `identifier` is of another type.
    """
    identifier = registered_or_same(identifier, registry.knows)
    if identifier is None or (callable(identifier) and not isinstance(identifier, type)):
        return identifier
    loss = registry.get(identifier)
    if isinstance(identifier, str) and isinstance(loss, FunctionLoss) and identifier != type(loss).__name__:
        return type(loss)._function
    return loss


def serialize(loss: Any) -> dict[str, Any] | str:
    """Returns a description of `loss` for `deserialize`: a dict for an instance, a name for a function."""
    return serialize_any(loss)


def deserialize(name: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Returns the loss that `serialize` described.

    Args:
        name: what `serialize` returned.
        custom_objects: dict from names to custom classes and functions.
    """
    return deserialize_any(get, name, custom_objects)


if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
