"""Every operation of the engine in NumPy. The C++ code is compared with it, and it is checked by central differences.

The formulas are those of Keras 3, on float64 arrays. `Network` takes the same mappings as `_core.Program`. In float32,
it shows how much rounding alone changes a training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from reference_activations import FORMULAS as ACTIVATION_FORMULAS
from reference_activations import sigmoid
from reference_losses import FORMULAS
from reference_optimizers import Stepper

Array = NDArray[Any]
Spec = Mapping[str, Any]

# Keras clips in float32, where 1 - 1e-7 is 1 - 2**-23.
CLIP_LOW, CLIP_HIGH = float(np.float32(1e-7)), float(np.float32(1 - 1e-7))
# The activation with which a crossentropy of probabilities is computed from the logits.
LINKS = {
    "sparse_categorical_crossentropy": "softmax",
    "categorical_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
}


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(z: Array) -> Array:
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def log_sigmoid(z: Array) -> Array:
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


# The activations that have no constants.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    **{name: formula.value for name, formula in ACTIVATION_FORMULAS.items() if formula.constants == ((),)},
    "softmax": softmax,
}


def activation_backward(name: str, z: Array, y: Array, dy: Array) -> Array:
    """Returns dLoss/dz from dLoss/dy, where y = activation(z)."""
    if name == "softmax":
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
    return dy * ACTIVATION_FORMULAS[name].slope(z).astype(z.dtype)


def dense_forward(x: Array, kernel: Array, bias: Array | None) -> Array:
    z = x @ kernel
    return z if bias is None else z + bias


def dense_backward(x: Array, kernel: Array, dz: Array) -> tuple[Array, Array, Array]:
    """Returns (dx, dkernel, dbias) of x (m, k) @ kernel (k, n) + bias."""
    return dz @ kernel.T, x.T @ dz, dz.sum(axis=0)


def rescale(x: Array, scale: float, offset: float) -> Array:
    return x * scale + offset


def dropout(x: Array, kept: Array, rate: float) -> Array:
    """Returns zeros where `kept` is false, and elsewhere x / (1 - rate)."""
    return np.where(kept, x / (1 - rate), 0) if rate < 1 else np.zeros_like(x)


def one_hot(labels: Array, classes: int, dtype: DTypeLike) -> Array:
    return np.eye(classes, dtype=dtype)[labels]


def targets(loss: Spec, y: Array, y_pred: Array) -> Array:
    """Returns the labels as targets (m, n), with label smoothing."""
    kind, smoothing, classes = loss["kind"], loss.get("label_smoothing", 0.0), y_pred.shape[1]
    t = one_hot(y, classes, y_pred.dtype) if kind.startswith("sparse") else y.astype(y_pred.dtype)
    if kind in {"categorical_crossentropy", "categorical_focal_crossentropy"}:
        return t * (1 - smoothing) + smoothing / classes
    if kind in {"binary_crossentropy", "binary_focal_crossentropy"}:
        return t * (1 - smoothing) + smoothing / 2
    return t


def categorical(p: Array, t: Array, *, from_logits: bool) -> tuple[Array, Array]:
    if from_logits:
        return -(t * log_softmax(p)).sum(axis=1), softmax(p) * t.sum(axis=1, keepdims=True) - t
    total = p.sum(axis=1, keepdims=True)
    ratio = p / total
    q = np.clip(ratio, CLIP_LOW, CLIP_HIGH)
    dq = np.where(q == ratio, -t / q, 0)
    return -(t * np.log(q)).sum(axis=1), (dq - (dq * ratio).sum(axis=1, keepdims=True)) / total


def binary(p: Array, t: Array, *, from_logits: bool) -> tuple[Array, Array]:
    if from_logits:
        return -(t * log_sigmoid(p) + (1 - t) * log_sigmoid(-p)).mean(axis=1), (sigmoid(p) - t) / p.shape[1]
    q = np.clip(p, CLIP_LOW, CLIP_HIGH)
    dq = np.where(q == p, (1 - t) / (1 - q) - t / q, 0)
    return -(t * np.log(q) + (1 - t) * np.log(1 - q)).mean(axis=1), dq / p.shape[1]


def loss_rows(loss: Spec, y_pred: Array, y: Array) -> tuple[Array, Array]:
    """Returns the losses of the rows (m,) and their derivatives by y_pred (m, n)."""
    t = targets(loss, y, y_pred)
    if loss["kind"] in FORMULAS:
        return FORMULAS[loss["kind"]](y_pred, t, loss.get("parameters", []))
    if loss["kind"] == "mean_squared_error":
        return ((y_pred - t) ** 2).mean(axis=1), 2 * (y_pred - t) / y_pred.shape[1]
    rows = binary if loss["kind"].startswith("binary") else categorical
    return rows(y_pred, t, from_logits=loss.get("from_logits", False))


def metric_rows(metric: Spec, y_pred: Array, y: Array) -> Array:
    """Returns the value of the metric for each row (m,)."""
    kind = metric["kind"]
    if kind == "sparse_categorical_accuracy":
        return (y_pred.argmax(axis=1) == y).astype(y_pred.dtype)
    if kind == "categorical_accuracy":
        return (y_pred.argmax(axis=1) == y.argmax(axis=1)).astype(y_pred.dtype)
    if kind == "binary_accuracy":
        return ((y_pred > metric["threshold"]) == y).mean(axis=1)
    return ((y_pred - y) ** 2).mean(axis=1)


def dense(units: int, activation: str, *, bias: bool = True, l2: float = 0.0, trainable: bool = True) -> Spec:
    """Returns the mapping of a dense layer. Its two penalties differ, so that a test notices if they are exchanged."""
    return {
        "kind": "dense",
        "units": units,
        "use_bias": bias,
        "activation": activation,
        "kernel_l2": l2,
        "bias_l2": l2 / 2,
        "trainable": trainable,
    }


class Network:
    """A list of layers with weights and optimizer slots.

    Args:
        layers: mappings that `_core.Program` takes.
        variables: kernel, bias, kernel, ... of the dense layers, which are copied.
        loss, optimizer: mappings that `_core.Program.compile` takes.
        dtype: dtype of every array.
    """

    def __init__(
        self,
        layers: Sequence[Spec],
        variables: Sequence[Array],
        loss: Spec,
        optimizer: Spec,
        dtype: DTypeLike = float,
    ) -> None:
        self.layers, self.loss, self.optimizer, self.dtype = layers, loss, optimizer, np.dtype(dtype)
        self.variables = [v.astype(dtype) for v in variables]
        dense = [layer for layer in layers if layer["kind"] == "dense"]
        trainable = [layer["trainable"] for layer in dense for _ in range(1 + layer["use_bias"])]
        self.stepper = Stepper(optimizer, self.variables, trainable)
        self.slots = self.stepper.slots
        last = layers[-1].get("activation", "linear")
        self.fused = last == LINKS.get(loss["kind"]) and not loss.get("from_logits", False)

    def forward(self, x: Array, kept: Sequence[Array] = ()) -> tuple[list[Array], list[Array]]:
        """Returns (inputs, zs): the inputs of each layer and, last, the outputs; and the values before each activation.

        Args:
            x: (m, input_size).
            kept: a boolean mask for each dropout layer; none for a prediction.
        """
        inputs, zs = [x.reshape(len(x), -1).astype(self.dtype)], []
        variables, masks = iter(self.variables), iter(kept)
        for layer in self.layers:
            z = inputs[-1]
            if layer["kind"] == "dense":
                z = dense_forward(z, next(variables), next(variables) if layer["use_bias"] else None)
            elif layer["kind"] == "rescaling":
                z = rescale(z, layer["scale"], layer["offset"])
            elif layer["kind"] == "dropout" and kept:
                z = dropout(z, next(masks), layer["rate"])
            zs.append(z)
            inputs.append(ACTIVATIONS[layer.get("activation", "linear")](z))
        return inputs, zs

    def predict(self, x: Array) -> Array:
        return self.forward(x)[0][-1]

    def penalties(self, kind: str) -> list[float]:
        """Returns the l1 or l2 factor of each variable. It is 0 in frozen layers, as in Keras."""
        factors: list[float] = []
        for layer in self.layers:
            if layer["kind"] == "dense":
                own = [layer.get(f"{name}_{kind}", 0.0) for name in ("kernel", "bias")][
                    : 1 + layer["use_bias"]
                ]
                factors += own if layer["trainable"] else [0.0] * len(own)
        return factors

    def gradients(
        self, x: Array, y: Array, sample_weight: Array | None = None, kept: Sequence[Array] = ()
    ) -> tuple[float, list[Array]]:
        """Returns the loss of a batch with its penalties, and the derivative of the loss by each variable."""
        inputs, zs = self.forward(x, kept)
        scale = np.ones(len(x), self.dtype) if sample_weight is None else sample_weight.astype(self.dtype)
        scale = scale / self.dtype.type(len(x))
        spec = {**self.loss, "from_logits": True} if self.fused else self.loss
        losses, d = loss_rows(spec, zs[-1] if self.fused else inputs[-1], y)
        d = d * scale[:, None]
        found: list[Array] = []
        position, masks = len(self.variables), list(kept)
        for i in reversed(range(len(self.layers))):
            layer, last = self.layers[i], i == len(self.layers) - 1
            if not (last and self.fused):
                d = activation_backward(layer.get("activation", "linear"), zs[i], inputs[i + 1], d)
            if layer["kind"] == "dense":
                position -= 1 + layer["use_bias"]
                d, *by_variable = dense_backward(inputs[i], self.variables[position], d)
                found = by_variable[: 1 + layer["use_bias"]] + found
            elif layer["kind"] == "rescaling":
                d = d * layer["scale"]
            elif layer["kind"] == "dropout" and kept:
                d = dropout(d, masks.pop(), layer["rate"])
        penalty = 0.0
        for v, g, l1, l2 in zip(
            self.variables, found, self.penalties("l1"), self.penalties("l2"), strict=True
        ):
            penalty += l1 * float(np.abs(v).sum()) + l2 * float((v * v).sum())
            g[...] += self.dtype.type(l1) * np.where(v < 0, -1, 1) + self.dtype.type(2 * l2) * v
        return float((losses * scale).sum()) + penalty, found

    def train_step(
        self,
        x: Array,
        y: Array,
        learning_rate: float,
        sample_weight: Array | None = None,
        kept: Sequence[Array] = (),
    ) -> float:
        """Makes an optimizer step on a batch. Returns the loss before the step, with penalties."""
        loss, gradients = self.gradients(x, y, sample_weight, kept)
        self.stepper.step(gradients, learning_rate)
        return loss
