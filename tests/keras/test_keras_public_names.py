"""The names that the library has on classes of users are Keras', or documented: all others are the users' own."""

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

# What the engine has beside Keras' names and documents, by the class that defines it.
DOCUMENTED = {
    "Layer": {"gradient"},  # the derivative of `call`, which a layer of one's own gives
    "Loss": {"gradient"},
    "Regularizer": {"gradient"},
    "Metric": {"save_own_variables", "load_own_variables"},  # as layers and optimizers have them in Keras
    "History": {"plot", "to_frame"},
    "Model": {
        *("to_torch_state_dict", "from_torch_state_dict"),
        # Keras gives these to Sequential and Functional.
        *(
            "inputs",
            "outputs",
            "input_shape",
            "output_shape",
        ),
        "output_names",  # which Keras gives to Functional, that classes derived from Model become there
    },
}
# Arguments that Keras takes and keeps under a name of its own, or not at all; here each is kept under its own name.
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
# Nobody derives a class from these.
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
    """Names of a class of Keras and of its objects, which its methods assign."""
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
