"""Models with every layer and every activation, for the tests of exported models."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import engine
from engine import activations
from engine import layers as k

Array = NDArray[Any]
ROWS = 9
# The number of units of some layers; it differs from the widths before and after them.
WIDTH = 5
# Tolerance between outputs of an exported model and of the engine, which differ by a few float32 roundings.
TOLERANCE = 1e-6
# Scales of inputs whose squares or reciprocals exceed the range of float32. With larger ones, it would depend on the
# order of summation whether sums exceed it.
SCALES = (1e37, 1e20, 1e-20, 1e-37)
# Further scales for normalization, whose sums have the same order everywhere. The engine takes denormal numbers as zero.
NORMALIZATION_SCALES = (1e38, 1e-38, 1e-42)

Layers = Callable[[], list[Any]]


class Case(NamedTuple):
    """Layers, and the shape of their samples, which are indices below `tokens` if that is given."""

    shape: tuple[int, ...]
    layers: Layers
    tokens: int | None = None

    def model(self) -> engine.Sequential:
        """Returns a model in which all weights are random. Vectors are positive, since they may be variances."""
        rng = np.random.default_rng(3)
        model = engine.Sequential([k.Input(self.shape), *self.layers()], name="case")
        model.set_weights(
            [
                rng.normal(0.0, len(array) ** -0.5, array.shape)
                if array.ndim == 2
                else rng.uniform(0.3, 1.2, array.shape)
                for array in model.weights
            ]
        )
        return model

    def inputs(self, rows: int = ROWS) -> Array:
        """Returns random samples in float32."""
        rng = np.random.default_rng(4)
        if self.tokens is not None:
            return rng.integers(0, self.tokens, (rows, *self.shape)).astype(np.float32)
        return rng.normal(0.0, 1.5, (rows, *self.shape)).astype(np.float32)


def extreme_cases() -> list[tuple[str, float]]:
    """Returns names of the cases with real inputs, each with a scale of these."""
    names = [name for name, case in CASES.items() if case.tokens is None]
    both = [(name, scale) for name in names for scale in SCALES]
    return both + [(name, scale) for name in names if "normal" in name for scale in NORMALIZATION_SCALES]


def scaled_inputs(case: Case, scale: float) -> Array:
    """Returns the inputs of a case multiplied by `scale`, clipped to 3e38."""
    return np.clip(case.inputs().astype(np.float64) * scale, -3e38, 3e38).astype(np.float32)


def require_close(found: Array, expected: Array) -> None:
    """Checks outputs where the expected ones are finite. The tolerance is relative to the largest of these."""
    finite = np.isfinite(expected)
    largest = float(np.abs(expected[finite]).max(initial=1.0))
    np.testing.assert_allclose(found[finite], expected[finite], rtol=TOLERANCE, atol=TOLERANCE * largest)


def nested(*layers: Any) -> Any:
    """Returns a model, to be used as a layer."""
    return engine.Sequential(layers)


LAYERS: dict[str, Case] = {
    "dense": Case((7,), lambda: [k.Dense(4), k.Dense(3, use_bias=False), k.Dense(2, "softmax")]),
    "nested": Case(
        (7,),
        lambda: [
            nested(k.Dense(4, "relu", name="same"), k.Dropout(0.5)),
            k.Dense(5, name="same"),
            nested(nested(k.Dense(3, "tanh", name="same"), k.BatchNormalization()), k.Softmax()),
        ],
    ),
    "one_layer_twice": Case(
        (7,),
        lambda: [
            tied := k.Dense(7),
            act := k.ReLU(name="act"),
            nested(k.Dense(7, name="act_1"), act, tied),
            norm := k.LayerNormalization(),
            tied,
            norm,
            act,
            k.Dense(5),
            act,
        ],
    ),
    "dense_of_many": Case((4096,), lambda: [k.Dense(17)]),
    "rows_of_many": Case(
        (4096,), lambda: [k.LayerNormalization(), k.RMSNormalization(), k.Activation("log_softmax")]
    ),
    "units_of_many": Case((4096,), lambda: [k.UnitNormalization(), k.Softmax()]),
    "dense_of_rows": Case((5, 3), lambda: [k.Dense(4, "relu"), k.Dense(2, use_bias=False)]),
    "dense_with_a_layer": Case((4,), lambda: [k.Dense(3, k.LeakyReLU(0.4)), k.Dense(3, k.Softmax())]),
    "activation_layers": Case(
        (3, 4), lambda: [k.LeakyReLU(0.2), k.ELU(0.7), k.ReLU(), k.Activation("tanh"), k.Softmax()]
    ),
    "relu": Case((40,), lambda: [k.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.5)]),
    "relu_below_0": Case((40,), lambda: [k.ReLU(negative_slope=0.3)]),
    "relu_with_an_end": Case((40,), lambda: [k.ReLU(max_value=1.0)]),
    "relu_from_a_threshold": Case((40,), lambda: [k.ReLU(threshold=0.75)]),
    "relu_6": Case((40,), lambda: [k.ReLU(max_value=6)]),
    "elu_turned": Case((40,), lambda: [k.ELU(-0.5)]),
    "softmax_of_an_axis": Case((4, 3), lambda: [k.Softmax(axis=1)]),
    "softmax_of_axes": Case((4, 3, 2), lambda: [k.Softmax(axis=[1, 3])]),
    "identity": Case((3, 2), lambda: [k.Identity()]),
    "flatten": Case((3, 2), lambda: [k.Flatten()]),
    "flatten_a_number": Case((), lambda: [k.Flatten(), k.Dense(2)]),
    "flatten_channels_first": Case((3, 4, 2), lambda: [k.Flatten("channels_first"), k.Dense(3)]),
    "reshape": Case((4, 6), lambda: [k.Reshape((3, -1)), k.Dense(5), k.Reshape((5, 3, 1))]),
    "permute": Case((4, 6, 2), lambda: [k.Permute((3, 1, 2)), k.Dense(3), k.Permute((2, 3, 1))]),
    "permute_turned_round": Case((2, 3, 4, 5), lambda: [k.Permute((4, 3, 2, 1))]),
    "permute_nothing": Case((1, 6), lambda: [k.Permute((2, 1))]),
    "repeat_vector": Case((7,), lambda: [k.RepeatVector(3), k.Dense(2), k.Flatten()]),
    "repeat_a_number": Case((1,), lambda: [k.RepeatVector(4)]),
    "batch_normalization": Case((6,), lambda: [k.Dense(5), k.BatchNormalization(), k.Activation("relu")]),
    "batch_normalization_bare": Case((6,), lambda: [k.BatchNormalization(center=False, scale=False)]),
    "batch_normalization_half": Case(
        (6,), lambda: [k.BatchNormalization(center=False), k.BatchNormalization(scale=False, epsilon=0.1)]
    ),
    "batch_normalization_of_an_axis": Case(
        (4, 5, 3), lambda: [k.BatchNormalization(axis=2), k.BatchNormalization()]
    ),
    "layer_normalization": Case((7,), lambda: [k.LayerNormalization(), k.Dense(3)]),
    "layer_normalization_of_axes": Case(
        (4, 3, 5),
        lambda: [k.LayerNormalization(axis=[1, 2], scale=False), k.LayerNormalization(2, center=False)],
    ),
    "group_normalization": Case((3, 8), lambda: [k.GroupNormalization(4), k.GroupNormalization(-1, axis=1)]),
    "rms_normalization": Case(
        (4, 5), lambda: [k.RMSNormalization(), k.RMSNormalization([1, 2], epsilon=0.1)]
    ),
    "unit_normalization": Case((4, 5), lambda: [k.UnitNormalization(), k.UnitNormalization([1, 2])]),
    "prelu": Case((9,), lambda: [k.PReLU()]),
    "prelu_shared": Case((4, 5, 3), lambda: [k.PReLU(shared_axes=[1, 3]), k.PReLU(shared_axes=2)]),
    "global_average": Case((5, 3), lambda: [k.Dense(4), k.GlobalAveragePooling1D(), k.Dense(2)]),
    "global_average_of_images": Case(
        (3, 4, 2), lambda: [k.GlobalAveragePooling2D(data_format="channels_first", keepdims=True)]
    ),
    "global_average_of_volumes": Case((2, 3, 4, 2), lambda: [k.GlobalAveragePooling3D()]),
    "global_max": Case((5, 3), lambda: [k.Dense(4, "relu"), k.GlobalMaxPooling1D(), k.Dense(2)]),
    "global_max_of_images": Case((3, 4, 2), lambda: [k.GlobalMaxPooling2D(keepdims=True)]),
    "global_max_of_volumes": Case((2, 3, 4, 2), lambda: [k.GlobalMaxPooling3D("channels_first")]),
    "masking": Case((2, 3), lambda: [k.ReLU(), k.Masking(), k.Dense(2)]),
    "mean_of_some_rows": Case(
        (5, 3),
        lambda: [k.ReLU(), k.Masking(), k.Dense(4, "tanh"), k.GlobalAveragePooling1D(), k.Dense(2)],
    ),
    "mean_of_no_row": Case((2, 1), lambda: [k.ReLU(), k.Masking(), k.GlobalAveragePooling1D(keepdims=True)]),
    "mean_of_rows_masked_twice": Case(
        (4,),
        lambda: [k.Embedding(3, 2, mask_zero=True), k.ReLU(), k.Masking(), k.GlobalAveragePooling1D()],
        3,
    ),
    "mean_of_tokens": Case(
        (6,), lambda: [k.Embedding(5, 4, mask_zero=True), k.GlobalAveragePooling1D(), k.Dense(2)], 5
    ),
    "means_of_means": Case(
        (6,),
        lambda: [
            nested(k.Embedding(5, 4, mask_zero=True), k.Dense(3)),
            k.GlobalAveragePooling1D(keepdims=True),
            k.Masking(),
            k.GlobalAveragePooling1D(),
        ],
        5,
    ),
    "embedding": Case((6,), lambda: [k.Embedding(11, 4), k.Flatten(), k.Dense(3)], 11),
    "embedding_of_rows": Case((2, 3), lambda: [k.Embedding(5, 4)], 5),
    "embedding_reshaped": Case((6,), lambda: [k.Reshape((3, 2)), k.Embedding(5, 4), k.Dense(2)], 5),
    "rescaling": Case(
        (4, 3), lambda: [k.Rescaling(1 / 255, -0.5), k.Rescaling([2.0, -3.0, 0.5], offset=[1.0])]
    ),
    "normalization": Case((4, 3), lambda: [k.Normalization(), k.Normalization(axis=1)]),
    "normalization_given": Case(
        (4, 3),
        lambda: [
            k.Normalization(mean=[1.0, 2, 3], variance=[4.0, 0.5, 9]),
            k.Normalization(axis=None, mean=0.5, variance=2.0),
            k.Normalization(mean=2.0, variance=9.0, invert=True),
        ],
    ),
    "multi_hot": Case((6,), lambda: [k.CategoryEncoding(9)], 9),
    "multi_hot_of_rows": Case((2, 3), lambda: [k.CategoryEncoding(4), k.Dense(2)], 4),
    "one_hot": Case((2, 3), lambda: [k.CategoryEncoding(4, "one_hot")], 4),
    "one_hot_of_numbers": Case((1,), lambda: [k.CategoryEncoding(4, "one_hot"), k.Dense(2)], 4),
    "count": Case((12,), lambda: [k.CategoryEncoding(4, "count")], 4),
    "noise": Case(
        (4, 3),
        lambda: [
            k.Dropout(0.5),
            k.AlphaDropout(0.2),
            k.GaussianDropout(0.3),
            k.GaussianNoise(0.4),
            k.SpatialDropout1D(0.5),
            k.ActivityRegularization(0.1, 0.2),
            k.Dense(2, activity_regularizer="l2"),
            k.Dropout(1.0),
        ],
    ),
    "noise_of_channels": Case((3, 2, 4), lambda: [k.SpatialDropout2D(0.5)]),
    "noise_of_volumes": Case((2, 3, 2, 4), lambda: [k.SpatialDropout3D(0.5)]),
    "augmentation": Case(
        (6, 5),
        lambda: [
            k.RandomTranslation(0.2, 0.2),
            k.RandomRotation(0.1),
            k.RandomZoom(0.2),
            k.RandomFlip(),
            k.RandomElastic(),
            k.Flatten(),
            k.Dense(2),
        ],
    ),
    "mnist": Case(
        (28, 28), lambda: [k.Flatten(), k.Dense(128, "sigmoid"), k.Dropout(0.2), k.Dense(10, "softmax")]
    ),
}


def _activation(name: str) -> Case:
    """Returns a case with the activation as a layer of its own, and as the activation of a dense layer."""
    return Case((40,), lambda: [k.Activation(name), k.Rescaling(0.02), k.Dense(WIDTH, name)])


# Activations that a layer can have. It cannot have `glu`, which halves its axis, and `threshold`, which needs arguments.
NAMES = sorted(
    {*activations.__all__}
    - {"BY_ROW", "Activation", "deserialize", "get", "lower", "serialize"}
    - {"glu", "threshold"}
)
CASES = LAYERS | {f"activation_{name}": _activation(name) for name in NAMES}


def every_layer() -> set[str]:
    """Returns the names of all built-in layers, except those that call Python."""
    found = [each for each in vars(k).values() if inspect.isclass(each) and issubclass(each, k.Layer)]
    return {each.__name__ for each in found if each.call is k.Layer.call} - {"Layer", "InputLayer"}


def layers_in_cases() -> set[str]:
    return {type(layer).__name__ for case in CASES.values() for layer in case.layers()}
