"""Keras 1 and 2: the modules, names, methods and arguments that they had, each as what it is today.

The last line of `engine/__init__.py` calls `install`, which adds them to the package. Nothing else imports this folder.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from engine._base.lazy_imports import finders_of_names, on_first_use
from engine._keras2 import members

# The names that a module had, and the module that has them now. Modules that there are no more are made when they are imported.
_NAMES = {
    "constraints": ("_keras2.older_classes", "maxnorm nonneg unitnorm"),
    "layers": ("_keras2.older_classes", "ThresholdedReLU"),
    "layers.advanced_activations": ("layers", "ELU LeakyReLU PReLU ReLU Softmax ThresholdedReLU"),
    "layers.core": (
        "layers",
        "Dropout Flatten Lambda Layer Masking Permute RepeatVector Reshape SpatialDropout1D",
    ),
    "layers.embeddings": ("layers", "Embedding"),
    "layers.experimental": ("layers.experimental.preprocessing", ""),
    "layers.experimental.preprocessing": (
        "layers",
        """CategoryEncoding Discretization HashedCrossing Hashing IntegerLookup Normalization RandomFlip RandomRotation
        RandomTranslation RandomZoom Rescaling StringLookup TextVectorization""",
    ),
    "layers.merge": (
        "layers",
        """Add Average Concatenate Dot Maximum Minimum Multiply Subtract add average concatenate dot maximum minimum
        multiply subtract""",
    ),
    "layers.noise": ("layers", "AlphaDropout GaussianDropout GaussianNoise"),
    "losses": ("_keras2.older_classes", "Reduction"),
    "optimizers.legacy": ("optimizers", "SGD Adadelta Adagrad Adam Adamax Ftrl Nadam Optimizer RMSprop"),
    "regularizers": ("_keras2.older_classes", "l1l2"),
    "utils.data_utils": ("utils", "Sequence get_file"),
    "utils.generic_utils": (
        "utils",
        """CustomObjectScope Progbar custom_object_scope deserialize_keras_object get_custom_objects
        serialize_keras_object""",
    ),
    "utils.np_utils": ("utils", "normalize to_categorical"),
    "utils.vis_utils": ("utils", "model_to_dot plot_model"),
    "wrappers.scikit_learn": ("_keras2.scikit_learn", "KerasClassifier KerasRegressor"),
}

# What only Keras before 2.2 had, and what scripts call in its place.
_REPLACED = {"layers.Merge": "Concatenate, Multiply, Add, Average or Dot, on a list of outputs"}


def install() -> None:
    """Adds what older versions of Keras had to the package."""
    members.install()
    finders_of_names.append(_find)
    sys.meta_path.append(_Modules)
    vars(sys.modules["engine.layers.core"])["__getattr__"] = on_first_use("engine.layers.core")


def _find(module: str, name: str) -> Any:
    """Returns what a name of a module of an older Keras is today; None if the module had no such name.

    Raises:
        AttributeError: if something else is called in its place.
    """
    submodule = module.partition(".")[2]
    full = f"{submodule}.{name}"
    if full in _REPLACED:
        msg = (
            f"module {module!r} has no attribute {name!r}, which only older versions of Keras have: call "
            f"{_REPLACED[full]}"
        )
        raise AttributeError(msg, name=name, obj=sys.modules[module])
    if full in _NAMES:
        return importlib.import_module(f"engine.{full}")
    home, names = _NAMES.get(submodule, ("", ""))
    if submodule == "backend" and not name.startswith("_"):
        home, names = "_keras2.backend", name
    attribute = (
        getattr(importlib.import_module(f"engine.{home}"), name, None) if name in names.split() else None
    )
    if attribute is not None:
        setattr(sys.modules[module], name, attribute)
    return attribute


class _Modules:
    """Finds and makes, for `import`, the modules that there are no more. It is asked last."""

    @staticmethod
    def find_spec(name: str, path: object, target: object = None) -> ModuleSpec | None:
        """Returns the spec of a module of Keras 2; None for other names."""
        del path, target
        package, _, submodule = name.partition(".")
        if package != "engine" or submodule not in _NAMES:
            return None
        return ModuleSpec(name, _Modules, is_package=submodule == "layers.experimental")  # type: ignore[arg-type] # a loader

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Leaves it to Python to make the module."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Lets a module look its names up."""
        home, names = _NAMES[module.__name__.partition(".")[2]]
        module.__doc__ = (
            f"The names that older versions of Keras had in this module, which are those of `engine.{home}`."
        )
        vars(module).update(__all__=names.split(), __getattr__=on_first_use(module.__name__))
