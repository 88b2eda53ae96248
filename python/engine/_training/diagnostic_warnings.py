"""Warnings of models and trainings that come to nothing, each with what to do about it.

All of them look at what is known anyway: layers when a model is compiled, the loss when an epoch is over. No step of
training or prediction takes longer for them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from engine import activations, layers
from engine._base.checks import Shape
from engine._base.tracebacks import PACKAGE_FOLDER
from engine._data.memory_maps import in_a_file
from engine._data.sources import Samples, Source
from engine._training.compile_arguments import Compiled
from engine.layers import Layer

# The activation that a layer is, by its class.
_ACTIVATION_LAYERS: dict[type[Layer], str] = {
    layers.ReLU: "relu",
    layers.LeakyReLU: "leaky_relu",
    layers.PReLU: "prelu",
    layers.ELU: "elu",
    layers.Softmax: "softmax",
}
# Layers that hand their inputs on in a prediction.
_PASSING = (
    layers.Identity,
    layers.ActivityRegularization,
    layers.Dropout,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
)
_PROBABILITIES = {"sigmoid", "hard_sigmoid", "sparse_sigmoid", "softmax", "sparsemax"}
# Of them losses of classes make probabilities, as these divide outputs by their sum.
_POSITIVE = {"exponential", "softplus", "squareplus", "sparse_plus"}
_OF_CLASSES = {
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
}
_OF_OUTPUTS = {
    "binary_crossentropy": "BinaryCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
}
_LOGARITHMIC = {"mean_squared_logarithmic_error", "poisson", "kl_divergence"}
# Inputs beyond are larger than what layers are started for, by far.
_LARGE = 10.0


def warn(message: str) -> None:
    """Warn of something in a call of the user's, at the line of this call."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def warn_of_layers(compiled: Compiled, leaves: Sequence[Layer], sample: Shape) -> None:
    """Warn of layers and a loss that nothing can be learnt with.

    Args:
        compiled: what the model is compiled with.
        leaves: its layers.
        sample: the shape of one sample.
    """
    if not compiled.has_loss and not any(_adds_loss(leaf) for leaf in leaves):
        warn(
            "the model was compiled without a `loss`, and no layer adds to it, so that training changes nothing: pass one "
            'to compile(), such as loss="mse"'
        )
    for leaf in leaves:
        sample = leaf._output_shape_for(sample)
        if _activation_of(leaf) == "softmax" and _softmax_size(leaf, sample) == 1:
            warn(
                f"layer {leaf.name!r} takes the softmax of one unit, which is always 1, so that nothing is learnt: use "
                'activation="sigmoid" with loss="binary_crossentropy", or as many units as there are classes'
            )
            return
    _warn_of_outputs(compiled, _last_activation(leaves))


def _adds_loss(leaf: Layer) -> bool:
    penalised = any(weight.regularizer for weight in leaf._trainable_specs)
    return leaf._is_custom or leaf.activity_regularizer is not None or penalised


def _takes_for_probabilities(compiled: Compiled, activation: str | None) -> tuple[str, str] | None:
    """The class of the loss, and the activation that suits it, where it takes outputs for probabilities that are none.

    Args:
        compiled: with the loss.
        activation: that gives the outputs; None for one that nobody knows.
    """
    loss = compiled.loss._lower()
    kind = loss["kind"]
    if activation is None or loss.get("from_logits") or activation in _PROBABILITIES:
        return None
    if kind in _OF_OUTPUTS:
        return _OF_OUTPUTS[kind], "sigmoid"
    if kind in _OF_CLASSES and activation not in _POSITIVE:
        return _OF_CLASSES[kind], "softmax"
    return None


def _warn_of_outputs(compiled: Compiled, activation: str | None) -> None:
    found = _takes_for_probabilities(compiled, activation)
    if found is None:
        return
    name, wanted = found
    warn(
        f"the loss {compiled.loss.name!r} takes the outputs for probabilities, but the last activation is {activation}, "
        f"whose values need not lie between 0 and 1: end the model with activation={wanted!r}, or leave the last layer "
        f"without activation and use losses.{name}(from_logits=True)"
    )


def warn_of_loss(
    name: str,
    compiled: Compiled,
    leaves: Sequence[Layer],
    loss: float,
    *,
    source: Source,
    weights: Iterable[Any],
) -> None:
    """Warn of a loss that is NaN or infinite, with the likely causes.

    Args:
        name: of the model.
        compiled: what it is compiled with, which warns once.
        leaves: its layers.
        loss: of an epoch or a batch.
        source: what it was trained on.
        weights: arrays, as they are now.
    """

    def told() -> None:
        causes = [
            f"a learning rate that is too large (here {float(compiled.optimizer.learning_rate):g}: try a tenth of it, or "
            "pass clipnorm=1.0 to the optimizer)"
        ]
        largest = _largest(source)
        if largest > _LARGE:
            causes.insert(
                0,
                f"inputs that are not scaled (the largest number in `x` is {largest:g}: put a Rescaling or an adapted "
                "Normalization layer first)",
            )
        kind, activation = compiled.loss._lower()["kind"], _last_activation(leaves)
        if (found := _takes_for_probabilities(compiled, activation)) is not None:
            causes.insert(
                0,
                f"outputs that are no probabilities, in {kind} (end the model with activation={found[1]!r}, or use "
                f"losses.{found[0]}(from_logits=True))",
            )
        if kind in _LOGARITHMIC and activation not in _PROBABILITIES | _POSITIVE:
            causes.insert(
                0,
                f'a logarithm of outputs that are negative, in {kind} (end the model with activation="softplus")',
            )
        lost = not all_finite(weights)
        then = "its weights are lost: make the model anew" if lost else "its weights are still finite"
        warn(f"the loss of model {name!r} is {loss}, and {then}. Likely causes: {'; '.join(causes)}")

    compiled.once("loss", told)


def warn_of_weights(name: str, action: str) -> None:
    """Warn of an `action` with weights that are NaN or infinite."""
    warn(
        f"{action} of model {name!r} with weights that are NaN or infinite: train it anew, with a smaller learning rate or "
        "scaled inputs, or load weights of an earlier epoch"
    )


def all_finite(weights: Iterable[Any]) -> bool:
    """Whether all numbers are."""
    return all(bool(np.isfinite(array).all()) for array in weights)


def _largest(source: Source) -> float:
    """The largest magnitude in the samples; 0 where finding it would take reading a file, or a stream."""
    x = source.x if isinstance(source, Samples) else None
    if not isinstance(x, np.ndarray) or in_a_file(x):
        return 0.0
    return max(float(x.max()), -float(x.min()))


def _last_activation(leaves: Sequence[Layer]) -> str | None:
    """The name of the function that gives the outputs; None for one that nobody here knows."""
    for leaf in reversed(leaves):
        name = _activation_of(leaf)
        if name is not None and not (name == "linear" and isinstance(leaf, layers.Activation)):
            return name
        if name is None and not (leaf._only_moves_values or isinstance(leaf, _PASSING)):
            return None
    return None


def _activation_of(leaf: Layer) -> str | None:
    """The name of the activation that a layer ends with; None for a layer without, or for a function of one's own."""
    if leaf._is_custom:
        return None
    if type(leaf) in _ACTIVATION_LAYERS:
        name = _ACTIVATION_LAYERS[type(leaf)]
        # A limit may keep values below 1, so that they are probabilities.
        return None if isinstance(leaf, layers.ReLU) and leaf.max_value is not None else name
    if not isinstance(leaf, (layers.Dense, layers.Activation)):
        return None
    function = leaf.activation
    if isinstance(function, Layer):
        return _activation_of(function)
    name = getattr(function, "__name__", "")
    return name if getattr(activations, name, None) is function else None


def _softmax_size(leaf: Layer, outputs: Shape) -> int:
    """How many outputs of a layer that ends with a softmax, of shape `outputs` for a sample, have the sum 1."""
    axis = leaf.axis if isinstance(leaf, layers.Softmax) else -1
    size = 1
    for one in axis if isinstance(axis, (list, tuple)) else [axis]:
        size *= outputs[one if one < 0 else one - 1] or 2  # more than one, where nobody knows
    return size
