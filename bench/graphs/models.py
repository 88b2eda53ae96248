"""The networks in Keras' interface, which the engine has too: each function takes the package `keras` or `engine`.

`variant` is "" for the layers and losses of the package, and "own" for what a user writes instead of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.graphs.data import ACTIONS, CLASSES, FEATURES, ITEMS, OBSERVATIONS, USERS, WIDTH

PIXELS, HIDDEN, CODE = 784, 256, 2  # of the variational autoencoder
RESIDUAL_BLOCKS, CROSS_LAYERS, CHAIN_LAYERS = 8, 3, 4
FOCUS, BALANCE = 2.0, 0.25  # gamma and alpha of the focal loss


def two_tower(keras: Any, variant: str) -> Any:
    ids = [keras.Input((1,), dtype="int32") for _ in range(2)]
    towers = [
        keras.layers.Flatten()(keras.layers.Embedding(count, WIDTH)(each))
        for count, each in zip((USERS, ITEMS), ids, strict=True)
    ]
    return compiled(keras, keras.Model(ids, keras.layers.Dot(axes=1)(towers)), "mse")


def wide_deep(keras: Any, variant: str) -> Any:
    wide = keras.Input((FEATURES["wide_deep"],))
    deep = wide
    for units in (128, 64):
        deep = keras.layers.Dense(units, activation="relu")(deep)
    joined = keras.layers.Concatenate()([wide, deep])
    output = keras.layers.Dense(1, activation="sigmoid")(joined)
    return compiled(keras, keras.Model(wide, output), "binary_crossentropy")


def residual(keras: Any, variant: str) -> Any:
    inputs = x = keras.Input((FEATURES["residual"],))
    for _ in range(RESIDUAL_BLOCKS):
        x = keras.layers.Add()([x, keras.layers.Dense(FEATURES["residual"], activation="relu")(x)])
    return classifier(keras, inputs, x)


def vae(keras: Any, variant: str) -> Any:
    ops = keras.ops

    class Sampling(keras.layers.Layer):  # type: ignore[misc] # the package is an argument
        """Draws from normal distributions, and adds their divergence from the standard one to the loss."""

        def __init__(self) -> None:
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(5)

        def call(self, inputs: Any) -> Any:
            mean, log_var = inputs
            divergence = -0.5 * ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=1)
            self.add_loss(ops.mean(divergence))
            noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
            return mean + ops.exp(0.5 * log_var) * noise

    def reconstruction(y_true: Any, y_pred: Any) -> Any:
        return ops.sum(ops.binary_crossentropy(y_true, y_pred, from_logits=True), axis=-1)

    inputs = keras.Input((PIXELS,))
    x = keras.layers.Dense(HIDDEN, activation="relu")(inputs)
    code = Sampling()([keras.layers.Dense(CODE)(x), keras.layers.Dense(CODE)(x)])
    x = keras.layers.Dense(HIDDEN, activation="relu")(code)
    return compiled(keras, keras.Model(inputs, keras.layers.Dense(PIXELS)(x)), reconstruction)


def dcn(keras: Any, variant: str) -> Any:
    class Cross(keras.layers.Layer):  # type: ignore[misc] # the package is an argument
        """Computes x0 · (x w) + b + x."""

        def build(self, shapes: Any) -> None:
            width = shapes[0][-1]
            self.w = self.add_weight(shape=(width, 1), initializer="glorot_uniform")
            self.b = self.add_weight(shape=(width,), initializer="zeros")

        def call(self, inputs: Any) -> Any:
            first, x = inputs
            return first * keras.ops.matmul(x, self.w) + self.b + x

    inputs = crossed = deep = keras.Input((FEATURES["dcn"],))
    for _ in range(CROSS_LAYERS):
        crossed = Cross()([inputs, crossed])
    for _ in range(2):
        deep = keras.layers.Dense(64, activation="relu")(deep)
    joined = keras.layers.Concatenate()([crossed, deep])
    output = keras.layers.Dense(1, activation="sigmoid")(joined)
    return compiled(keras, keras.Model(inputs, output), "binary_crossentropy")


def focal(keras: Any, variant: str) -> Any:
    """A network with the focal loss for classes, of the package or in its `ops`."""
    ops = keras.ops

    def own(y_true: Any, y_pred: Any) -> Any:
        p = y_pred / ops.sum(y_pred, axis=-1, keepdims=True)
        p = ops.clip(p, 1e-7, 1 - 1e-7)
        return ops.sum(-BALANCE * (1 - p) ** FOCUS * y_true * ops.log(p), axis=-1)

    inputs = x = keras.Input((FEATURES["focal"],))
    for _ in range(2):
        x = keras.layers.Dense(128, activation="relu")(x)
    output = keras.layers.Dense(CLASSES, activation="softmax")(x)
    loss = own if variant == "own" else keras.losses.CategoricalFocalCrossentropy(BALANCE, FOCUS)
    return compiled(keras, keras.Model(inputs, output), loss)


def gelu(keras: Any, variant: str) -> Any:
    """A network of dense layers with the activation gelu, of the package or written as a layer."""
    ops = keras.ops

    class DenseGelu(keras.layers.Layer):  # type: ignore[misc] # the package is an argument
        def __init__(self, units: int) -> None:
            super().__init__()
            self.units = units

        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform")
            self.b = self.add_weight(shape=(self.units,), initializer="zeros")

        def call(self, x: Any) -> Any:
            z = ops.matmul(x, self.w) + self.b
            return 0.5 * z * (1 + ops.erf(z * 0.5**0.5))

    inputs = x = keras.Input((FEATURES["gelu"],))
    for _ in range(2):
        x = (DenseGelu(128) if variant == "own" else keras.layers.Dense(128, activation="gelu"))(x)
    return classifier(keras, inputs, x)


def branches(keras: Any, variant: str) -> Any:
    """A chain of dense layers; or two blocks of two layers side by side, which have the same products."""
    inputs = keras.Input((FEATURES["branches"],))

    def dense(x: Any) -> Any:
        return keras.layers.Dense(128, activation="relu")(x)

    x = dense(inputs)
    for _ in range(CHAIN_LAYERS // 2):
        x = keras.layers.Add()([dense(x), dense(x)]) if variant == "own" else dense(dense(x))
    return classifier(keras, inputs, x)


def classifier(keras: Any, inputs: Any, x: Any) -> Any:
    output = keras.layers.Dense(CLASSES, activation="softmax")(x)
    return compiled(keras, keras.Model(inputs, output), "sparse_categorical_crossentropy")


def compiled(keras: Any, model: Any, loss: Any) -> Any:
    model.compile(optimizer=keras.optimizers.Adam(), loss=loss)
    return model


def values_of_actions(keras: Any) -> Any:
    """Returns the network of the agent, states (n, OBSERVATIONS) to the values of the actions (n, ACTIONS)."""
    hidden = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
    return keras.Sequential([keras.Input((OBSERVATIONS,)), *hidden, keras.layers.Dense(ACTIONS)])


def value_of_action(keras: Any, values: Any) -> Any:
    """Returns a compiled model of `values`, states and one-hot actions to the values of these actions (n, 1)."""
    states, actions = keras.Input((OBSERVATIONS,)), keras.Input((ACTIONS,))
    chosen = keras.layers.Dot(axes=1)([values(states), actions])
    return compiled(keras, keras.Model([states, actions], chosen), "huber")


NETWORKS: dict[str, Callable[[Any, str], Any]] = {
    function.__name__: function
    for function in (two_tower, wide_deep, residual, vae, dcn, focal, gelu, branches)
}
