"""Dense neural networks on the CPU with the API of Keras: `import engine as keras`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import (
    _keras2,
    activations,
    callbacks,
    config,
    constraints,
    dtype_policies,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from engine._base.lazy_imports import on_first_use
from engine._core_interface.cpp import DeviceArray, __version__
from engine._gradients import GradientTape, grad, jacobian, value_and_grad
from engine.config import device
from engine.dtype_policies import DTypePolicy, FloatDTypePolicy
from engine.initializers import Initializer
from engine.layers import Input, InputSpec, Layer
from engine.layers.symbols import KerasTensor
from engine.layers.variable import Variable
from engine.losses import Loss
from engine.metrics import Metric
from engine.models import Model, Sequential
from engine.models.compiled_functions import function
from engine.optimizers import Optimizer
from engine.regularizers import Regularizer

if TYPE_CHECKING:
    from engine import (
        array_api,
        backend,
        datasets,
        distillation,
        distributed,
        mixed_precision,
        ops,
        preprocessing,
        random,
        saving,
        tree,
        tuning,
    )
    from engine._gradients.vectorization import vmap
    from engine._many.arguments import each
    from engine._many.fit_many import fit_many
    from engine.models.ensemble import Ensemble
    from engine.tuning.tune import tune

__all__ = [
    "DTypePolicy",
    "DeviceArray",
    "Ensemble",
    "FloatDTypePolicy",
    "GradientTape",
    "Initializer",
    "Input",
    "InputSpec",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "__version__",
    "activations",
    "array_api",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "device",
    "distillation",
    "distributed",
    "dtype_policies",
    "each",
    "fit_many",
    "function",
    "grad",
    "initializers",
    "jacobian",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "preprocessing",
    "random",
    "regularizers",
    "saving",
    "tree",
    "tune",
    "tuning",
    "utils",
    "value_and_grad",
    "version",
    "vmap",
]


# Few programs need these; `plots`, `sklearn` and `wrappers` need extras, so they are no names of `__all__`.
__getattr__ = on_first_use(
    __name__,
    Ensemble="models.ensemble",
    array_api="array_api",
    backend="backend",
    datasets="datasets",
    distillation="distillation",
    distributed="distributed",
    each="_many.arguments",
    export="export",
    fit_many="_many.fit_many",
    mixed_precision="mixed_precision",
    ops="ops",
    plots="plots",
    preprocessing="preprocessing",
    random="random",
    saving="saving",
    sklearn="sklearn",
    tree="tree",
    tune="tuning.tune",
    tuning="tuning",
    vmap="_gradients.vectorization",
    wrappers="wrappers",
)


def version() -> str:
    """Returns the version of the package."""
    return __version__


def __dir__() -> list[str]:
    return __all__


_keras2.install()
