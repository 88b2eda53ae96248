"""Warnings about models that can't learn and trainings that fail, each with what to do about it.

Models call these functions when they are compiled, trained and saved. The checks read only what is known anyway, such as
the layers at the time of `compile` and the loss at the end of an epoch, so that no step takes longer.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from engine import activations, layers, metrics
from engine._base.checks import REAL, Shape, listing
from engine._base.tracebacks import PACKAGE_FOLDER
from engine._core_interface.cpp import DeviceArray
from engine._data.device_arrays import summary_of
from engine._data.memory_maps import in_a_file
from engine._data.sources import Samples, Source
from engine._training.compile_arguments import Compiled
from engine.layers import Layer
from engine.layers.leaf import Leaf
from engine.losses import Loss

# The name of the activation that each of these layers computes.
_ACTIVATION_LAYERS: dict[type[Leaf], str] = {
    layers.ReLU: "relu",
    layers.LeakyReLU: "leaky_relu",
    layers.PReLU: "prelu",
    layers.ELU: "elu",
    layers.Softmax: "softmax",
}
# Layers whose outputs are their inputs in a prediction.
_IDENTITY_IN_PREDICTION = (
    layers.Identity,
    layers.ActivityRegularization,
    layers.Dropout,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
)
_PROBABILITIES = {"sigmoid", "hard_sigmoid", "sparse_sigmoid", "softmax", "sparsemax"}
# Activations with positive values. Losses for classes divide outputs by their sum, which makes probabilities of these.
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
# The initial weights of layers are made for inputs of about 1. Inputs above this limit are much too large for them.
_LARGE = 10.0
# The targets that are looked at to find out whether they are classes.
_MOST_TARGETS = 1000


def warn(message: str) -> None:
    """Warns with the line of the user's script that called the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def warn_of_layers(
    compiled: Compiled, leaves: Sequence[Leaf], shapes: Sequence[Shape], paths: Sequence[Sequence[Leaf]]
) -> None:
    """Warns if the layers and the losses of a model can't learn anything.

    Args:
        compiled: what the model was compiled with.
        leaves: its layers, without those that only hold other layers.
        shapes: the shape of one output sample of each of them.
        paths: for each output the last layers that compute it, which form a chain.
    """
    if not compiled.has_loss and not any(_adds_loss(leaf) for leaf in leaves):
        warn(
            "the model was compiled without a `loss`, and no layer adds to it, so that training changes nothing: pass one "
            'to compile(), such as loss="mse"'
        )
    for leaf, sample in zip(leaves, shapes, strict=True):
        if _activation_of(leaf) == "softmax" and _softmax_size(leaf, sample) == 1:
            warn(
                f"layer {leaf.name!r} takes the softmax of one unit, which is always 1, so that nothing is learnt: use "
                'activation="sigmoid" with loss="binary_crossentropy", or as many units as there are classes'
            )
            return
    for loss, path in zip(compiled.losses, paths, strict=True):
        _warn_of_outputs(loss, _last_activation(path))
    for leaf in leaves:
        if isinstance(leaf, layers.Normalization) and leaf._changes_nothing:
            warn(
                f"layer {leaf.name!r} has the mean 0 and the variance 1, so that it changes nothing: call its adapt(x) with the "
                "training samples before training, or give it `mean` and `variance`"
            )
            return


def warn_of_metrics(compiled: Compiled, source: Source) -> None:
    """Warns of an accuracy of numbers that stand for no classes.

    Args:
        compiled: what the model was compiled with.
        source: the training data.
    """
    if not isinstance(source, Samples):
        return
    targets = list(source.arrays.outputs.values())
    for metric, output in compiled.metrics_and_outputs:
        y = targets[output].y if output < len(targets) else None
        if type(metric) is not metrics.BinaryAccuracy or not isinstance(y, np.ndarray):
            continue
        first = y[:_MOST_TARGETS]
        others = first[(first != 0) & (first != 1)]
        if others.size and compiled.losses[output]._lower()["kind"] not in _OF_OUTPUTS:
            warn(
                f"the metric {metric.name!r} counts outputs that are the class 0 or 1 of their target, but `y` holds numbers such "
                f'as {others[0]:g}, so that it says nothing: use metrics=["mae"] or ["r2_score"] for numbers'
            )
            return


def warn_of_unseen_classes(compiled: Compiled, source: Samples, held_out: Samples, share: float) -> None:
    """Warns if `validation_split` takes all samples of a class, as it does if they are in the order of their classes.

    Args:
        compiled: what the model was compiled with.
        source: the samples to train on.
        held_out: the samples to validate with.
        share: the `validation_split`.
    """
    pairs = zip(source.arrays.outputs.values(), held_out.arrays.outputs.values(), strict=True)
    for loss, (seen, unseen) in zip(compiled.losses, pairs, strict=False):
        if not _is_of_classes(loss) or seen.form.original is not None:
            continue
        first, last = (targets.classes("validation_split").reshape(-1) for targets in (seen, unseen))
        lost, steps = np.setdiff1d(last, first), np.diff(np.concatenate([first, last]))
        if lost.size or (steps.any() and ((steps >= 0).all() or (steps <= 0).all())):
            why = (
                f"class {lost[0]:g} is only among them" if lost.size else "`y` is in the order of its classes"
            )
            warn(
                f"`validation_split={share:g}` takes the last samples, and {why}, so that other classes are learnt than are validated: "
                "bring x and y into a random order, or pass stratify=True, which takes this share of each class"
            )
            return


def warn_of_absent_classes(class_weight: object, source: Samples) -> None:
    """Warns if a dict of weights of classes has one for a class that no target is of.

    Args:
        class_weight: as given to `fit`.
        source: the samples to train on, which can be weighted by it.
    """
    outputs = list(source.arrays.outputs.values())
    if len(outputs) != 1 or not isinstance(class_weight, Mapping):
        return
    if any(isinstance(value, (Mapping, str)) or value is None for value in class_weight.values()):
        return  # those of outputs
    classes = np.unique(outputs[0].classes("class_weight"))
    absent = [key for key in class_weight if int(key) not in classes]
    if absent:
        warn(
            f"`class_weight` has the class {absent[0]!r}, but no target is of it: `y` has the classes "
            f"{listing([f'{one:g}' for one in classes])}"
        )


def _is_of_classes(loss: Loss) -> bool:
    kind = loss._lower()["kind"]
    return kind in _OF_CLASSES or kind in _OF_OUTPUTS


def warn_of_unread_inputs(name: str, inputs: Sequence[str], reads: Iterable[Sequence[int]]) -> None:
    """Warns if no layer of a model reads one of its inputs.

    Args:
        name: of the model.
        inputs: the names of the inputs.
        reads: for each layer the numbers of the values that it reads; -1 is the first input.
    """
    read = {number for numbers in reads for number in numbers}
    unread = [layer for number, layer in enumerate(inputs) if -1 - number not in read]
    if unread:
        warn(
            f"no layer of model {name!r} reads its input {unread[0]!r}, so that nothing is learnt from it: call a layer on "
            "it, or leave it out of `inputs`"
        )


def _adds_loss(leaf: Leaf) -> bool:
    if not isinstance(leaf, Layer):
        return leaf.name == "add_loss"  # what custom layers and models have recorded
    penalised = any(weight.regularizer for weight in leaf._trainable_specs)
    return leaf._is_by_call or leaf.activity_regularizer is not None or penalised


def _suggestion_for_logits(loss: Loss, activation: str | None) -> tuple[str, str] | None:
    """Returns None, unless the loss expects probabilities and the activation doesn't compute any.

    Args:
        loss: of an output.
        activation: the name of the last activation before it; None if it is unknown.

    Returns:
        The class of the loss, and the activation that it needs.
    """
    fields = loss._lower()
    kind = fields["kind"]
    if activation is None or fields.get("from_logits") or activation in _PROBABILITIES:
        return None
    if kind in _OF_OUTPUTS:
        return _OF_OUTPUTS[kind], "sigmoid"
    if kind in _OF_CLASSES and activation not in _POSITIVE:
        return _OF_CLASSES[kind], "softmax"
    return None


def _warn_of_outputs(loss: Loss, activation: str | None) -> None:
    if loss._lower().get("from_logits") and activation in _PROBABILITIES:
        warn(
            f"the loss {loss.name!r} has from_logits=True, but the last activation is {activation}, so that its outputs are turned "
            "into probabilities a second time: leave out from_logits=True, or leave the last layer without activation"
        )
        return
    suggestion = _suggestion_for_logits(loss, activation)
    if suggestion is None:
        return
    name, expected = suggestion
    warn(
        f"the loss {loss.name!r} takes the outputs for probabilities, but the last activation is {activation}, "
        f"whose values need not lie between 0 and 1: end the model with activation={expected!r}, or leave the last layer "
        f"without activation and use losses.{name}(from_logits=True)"
    )


def lost_loss(logs: Mapping[str, Any]) -> str | None:
    """Returns the name of a loss in the logs that is NaN or infinite; None if all are finite."""
    lost = [name for name, value in logs.items() if "loss" in name and not _is_finite(value)]
    return "loss" if "loss" in lost else next(iter(lost), None)


def _is_finite(value: Any) -> bool:
    # NumPy takes ten times as long for a float, which all losses are but those of users.
    return math.isfinite(value) if type(value) is float else bool(np.isfinite(value).all())


def warn_of_loss(
    name: str,
    compiled: Compiled,
    loss: tuple[str, Any],
    *,
    paths: Sequence[Sequence[Leaf]],
    step: str | None,
    source: Source,
    weights: Iterable[Any],
) -> None:
    """Warns of a loss that is NaN or infinite, with the likely causes, once after each `compile`.

    Args:
        name: the name of the model.
        compiled: what the model was compiled with.
        loss: the name and the value of the loss of an epoch or a batch.
        paths: for each output the last layers that compute it, which form a chain; empty if they aren't known.
        step: the name of the user's method that computes the loss, if there is one.
        source: the training data.
        weights: the current weights.
    """

    def warn_with_causes() -> None:
        causes = list[str]()
        for one_loss, path in zip(compiled.losses, paths, strict=False):
            causes = [*_causes_of(one_loss, _last_activation(path)), *causes]
        largest = _largest(source)
        if largest > _LARGE:
            causes.append(
                f"inputs that are not scaled (the largest number in `x` is {largest:g}: put a Rescaling or an adapted "
                "Normalization layer first)"
            )
        rate = f"here {float(compiled.optimizer.learning_rate):g}: " if step is None else ""
        causes.append(
            f"a learning rate that is too large ({rate}try a tenth of it, or pass clipnorm=1.0 to the optimizer)"
        )
        if step is not None:
            causes.append(
                f"a logarithm, a root or a quotient in `{step}` whose value or derivative is infinite"
            )
        key, value = loss
        subject = "the loss" if key == "loss" else repr(key)
        lost = not all_finite(weights)
        then = "its weights are lost: make the model anew" if lost else "its weights are still finite"
        warn(f"{subject} of model {name!r} is {value}, and {then}. Likely causes: {'; '.join(causes)}")

    compiled.once("loss", warn_with_causes)


def _causes_of(loss: Loss, activation: str | None) -> list[str]:
    """Returns why the loss of an output may be NaN or infinite, if `activation` computes this output."""
    kind, causes = loss._lower()["kind"], list[str]()
    if kind in _LOGARITHMIC and activation not in _PROBABILITIES | _POSITIVE:
        causes.append(
            f'a logarithm of outputs that are negative, in {kind} (end the model with activation="softplus")'
        )
    if (suggestion := _suggestion_for_logits(loss, activation)) is not None:
        causes.append(
            f"outputs that are no probabilities, in {kind} (end the model with activation={suggestion[1]!r}, or use "
            f"losses.{suggestion[0]}(from_logits=True))"
        )
    return causes


def warn_of_weights(name: str, action: str) -> None:
    """Warns that an `action`, such as saving, was done with weights that are NaN or infinite."""
    warn(
        f"{action} of model {name!r} with weights that are NaN or infinite: train it anew, with a smaller learning rate or "
        "scaled inputs, or load weights of an earlier epoch"
    )


def all_finite(weights: Iterable[Any]) -> bool:
    """Returns whether all numbers in all arrays are finite."""
    return all(bool(np.isfinite(array).all()) for array in weights)


def _largest(source: Source) -> float:
    """Returns the largest absolute value in the samples; 0 if they are in a file or a stream, which is not read again."""
    x = source.x if isinstance(source, Samples) else None
    if isinstance(x, DeviceArray):
        numbers = summary_of(x)
        return max(numbers.highest, -numbers.lowest)
    if not isinstance(x, np.ndarray) or in_a_file(x) or x.dtype.kind not in REAL:
        return 0.0
    return max(float(x.max()), -float(x.min()))


def _last_activation(leaves: Sequence[Leaf]) -> str | None:
    """Returns the name of the activation that computes the outputs; None if it is unknown."""
    for leaf in reversed(leaves):
        name = _activation_of(leaf)
        if name is not None and not (name == "linear" and isinstance(leaf, layers.Activation)):
            return name
        if name is None and not (leaf._only_moves_values or isinstance(leaf, _IDENTITY_IN_PREDICTION)):
            return None
    return None


def _activation_of(leaf: Leaf) -> str | None:
    """Returns the name of the activation of a layer; None if it has none, or a function of the user's."""
    if leaf._is_by_call:
        return None
    if type(leaf) in _ACTIVATION_LAYERS:
        name = _ACTIVATION_LAYERS[type(leaf)]
        # With `max_value=1` the values may be probabilities.
        return None if isinstance(leaf, layers.ReLU) and leaf.max_value is not None else name
    if not isinstance(leaf, (layers.Dense, layers.Activation)):
        return None
    function = leaf.activation
    if isinstance(function, Layer):
        return _activation_of(function)
    name = getattr(function, "__name__", "")
    return name if getattr(activations, name, None) is function else None


def _softmax_size(leaf: Leaf, outputs: Shape) -> int:
    """Returns how many values of a layer with a softmax sum to 1; `outputs` is the shape of its output for one sample."""
    axis = leaf.axis if isinstance(leaf, layers.Softmax) else -1
    size = 1
    for one_axis in axis if isinstance(axis, (list, tuple)) else [axis]:
        size *= (
            outputs[one_axis if one_axis < 0 else one_axis - 1] or 2
        )  # an unknown length is taken for more than 1
    return size
