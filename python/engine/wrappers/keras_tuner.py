"""KerasTuner with models of the engine: `from engine.wrappers import keras_tuner as kt`.

KerasTuner begins with `import keras`, and checks that models and callbacks are Keras'. This module imports it, when it is
first used, while `keras` means the engine. It has all of its names: `RandomSearch`, `Hyperband`, `BayesianOptimization`, `GridSearch`, `HyperModel`,
`HyperParameters`, `Objective` and others. Keras itself is not imported, and stays what it is for other modules.
It needs KerasTuner: `pip install keras-tuner six`.

Example:
    >>> import engine as keras
    >>> from engine.wrappers import keras_tuner as kt  # doctest: +SKIP
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((8,))])
    ...     model.add(keras.layers.Dense(hp.Int("units", 32, 512, step=32), activation="relu"))
    ...     model.add(keras.layers.Dense(1, activation="sigmoid"))
    ...     rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    ...     model.compile(keras.optimizers.Adam(rate), loss="binary_crossentropy", metrics=["accuracy"])
    ...     return model
    >>> tuner = kt.RandomSearch(build, objective="val_accuracy", max_trials=5)  # doctest: +SKIP
    >>> tuner.search(x, y, epochs=10, validation_split=0.2)  # doctest: +SKIP
    >>> model = tuner.get_best_models()[0]  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from engine._base.extras import extra
from engine._base.lazy_imports import absent
from engine._base.locks import Lock, Order

# The whole package. It is above this folder, so that it is not imported from here.
engine: Any = sys.modules[__name__.partition(".")[0]]

_VERSION_OF_KERAS = "3.15.0"
"""The version whose names the engine has. KerasTuner takes another branch for versions before 3."""
_importing = Lock("the import of KerasTuner", Order.OBJECT)
_BOUND = "_engine_is_keras"
"""An attribute of the module `keras_tuner` that was imported here."""


def _module(name: str, stands_for: ModuleType, **names: Any) -> ModuleType:
    """Returns a module `name` with the public names of another one, and with further `names`."""
    public = [public_name for public_name in stands_for.__all__ if not public_name.startswith("_")]
    module = ModuleType(name, stands_for.__doc__)
    vars(module).update({public_name: getattr(stands_for, public_name) for public_name in public}, **names)
    vars(module).update(__all__=[*public, *names], __path__=[])
    return module


def _described(instance: Any) -> dict[str, Any]:
    """Returns the description of a part of a search space, as `keras.utils.legacy.serialize_keras_object` does."""
    return {"class_name": type(instance).__name__, "config": instance.get_config()}


def _made(
    config: dict[str, Any],
    module_objects: dict[str, Any] | None = None,
    custom_objects: dict[str, Any] | None = None,
) -> Any:
    """Returns what `_described` described, as `keras.utils.legacy.deserialize_keras_object` does."""
    classes = {**(module_objects or {}), **(custom_objects or {})}
    return classes[config["class_name"]].from_config(config["config"])


def _utils() -> ModuleType:
    """Returns `keras.utils`: those of the engine, and the functions of Keras 2 that KerasTuner uses for search spaces."""
    legacy = ModuleType("keras.utils.legacy")
    vars(legacy).update(serialize_keras_object=_described, deserialize_keras_object=_made)
    return _module("keras.utils", engine.utils, legacy=legacy)


def _layers() -> ModuleType:
    """Returns `keras.layers`: those of the engine, and the others of Keras as names that can't be called."""
    layers = _module("keras.layers", engine.layers)

    vars(layers)["__getattr__"] = partial(absent, "engine.layers")
    return layers


@contextmanager
def _engine_as_keras() -> Iterator[None]:
    """Makes `import keras` give the engine within a `with` block."""
    # KerasTuner names layers and networks for images when it is imported.
    applications = engine.applications
    keras = _module(
        "keras",
        engine,
        applications=applications,
        layers=_layers(),
        utils=_utils(),
        version=lambda: _VERSION_OF_KERAS,
    )
    modules = {
        "keras": keras,
        "keras.src": _module("keras.src", engine, ops=engine.ops),
        "keras.src.ops": engine.ops,
        **{f"keras.{name}": value for name, value in vars(keras).items() if isinstance(value, ModuleType)},
    }
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "keras"}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
            del sys.modules[name]
        sys.modules.update(before)


def _imported() -> Any:
    """Returns the module `keras_tuner` that uses the engine.

    Raises:
        ImportError: if KerasTuner is not installed, or was imported before with Keras itself.
    """
    installed = sys.modules.get("keras_tuner")
    if installed is not None:
        if hasattr(installed, _BOUND):
            return installed
        msg = (
            "`keras_tuner` was imported before, and uses Keras. One process can't have both: write `from engine.wrappers "
            "import keras_tuner` in place of `import keras_tuner`"
        )
        raise ImportError(msg)
    with _engine_as_keras():
        try:
            tuner = extra("keras_tuner", "tuner", "engine.wrappers.keras_tuner")
            import_module("keras_tuner.src.backend")
        except BaseException:
            for name in [name for name in sys.modules if name.partition(".")[0] == "keras_tuner"]:
                del sys.modules[name]
            raise
    setattr(tuner, _BOUND, True)
    return tuner


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    with _importing.held():
        return getattr(_imported(), name)


def __dir__() -> list[str]:
    with _importing.held():
        return dir(_imported())
