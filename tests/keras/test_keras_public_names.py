"""Public names of classes that users derive from are those of Keras, or documented. All others are free for users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import pytest

import engine

MODULES = [
    "layers", "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks", "regularizers", "constraints",
    "initializers",
]  # fmt: skip

# Documented names that Keras does not have, by the class that defines them.
DOCUMENTED = {
    # The derivative of `call` in custom layers, and names of Keras 2.
    "Layer": {"gradient", "input_shape", "output_shape"},
    "Loss": {"gradient"},
    "Regularizer": {"gradient"},
    # In Keras, layers and optimizers have the first two; the third is of Keras 2.
    "Metric": {"save_own_variables", "load_own_variables", "reset_states"},
    "Optimizer": {"lr", "minimize"},  # of Keras 2
    "LossScaleOptimizer": {"get_scaled_loss", "get_unscaled_gradients"},  # of Keras 2
    "History": {"plot", "to_frame"},
    # An input layer is also the symbol that it makes, which is a KerasTensor in Keras.
    "ModelSymbol": {"reshape", "squeeze"},
    "Model": {
        *("to_torch_state_dict", "from_torch_state_dict"),
        # Keras gives these to Sequential and Functional.
        *(
            "inputs",
            "outputs",
            "operations",
            "input_shape",
            "output_shape",
        ),
        # Keras 2 had these.
        *("fit_generator", "evaluate_generator", "predict_generator", "predict_classes", "predict_proba"),
        *("compiled_loss", "compiled_metrics"),
        "device",  # where it computes
        "output_names",  # which Keras gives to Functional, that classes derived from Model become there
    },
}
# Arguments that Keras stores under another name, or not at all. The engine stores each under its own name.
ARGUMENTS = {
    "SpatialDropout1D": {"data_format"},
    "RandomFlip": {"fill_mode", "fill_value", "interpolation"},
    "CosineSimilarity": {"axis"},
    "Huber": {"delta"},
    "SparseCategoricalCrossentropy": {"axis"},
    "AUC": {"exact", "from_logits"},
    "MeanMetricWrapper": {"fn"},
    "_Count": {"class_id", "top_k"},
    "_BestUnder": {"top_k"},
    "Normalization": {"mean", "variance"},
    "Lambda": {"gradient"},
    "_Elementwise": {"l1", "l2"},
}
# Users do not derive from these classes.
NOT_DERIVED_FROM = {"CallbackList"}


def find(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module


def classes() -> Iterator[tuple[str, str]]:
    for path in MODULES:
        ours, theirs = find(engine, path), find(keras, path)
        for name in dir(ours):
            if (
                isinstance(getattr(ours, name), type)
                and hasattr(theirs, name)
                and name not in NOT_DERIVED_FROM
            ):
                yield path, name
    yield from [("models", "Model"), ("models", "Sequential")]


def known_to_keras(theirs: type) -> set[str]:
    """Returns the names of a class of Keras and of its objects, with those that its methods assign."""
    known = set(dir(theirs))
    for owner in theirs.__mro__:
        for member in vars(owner).values():
            function = getattr(member, "fget", None) or getattr(member, "__wrapped__", member)
            known |= set(getattr(getattr(function, "__code__", None), "co_names", ()))
    return known


@pytest.mark.parametrize(("path", "name"), list(classes()))
def test_public_names_are_keras_own(path: str, name: str) -> None:
    ours, theirs = getattr(find(engine, path), name), getattr(find(keras, path), name)
    allowed = known_to_keras(theirs)
    for owner in ours.__mro__:
        allowed |= DOCUMENTED.get(owner.__name__, set()) | ARGUMENTS.get(owner.__name__, set())
    assert {each for each in dir(ours) if not each.startswith("_")} - allowed == set()
