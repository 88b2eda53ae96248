"""Scripts like published ones, about building and using models."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from common import compiled
from scripting import LABELS, ONE_HOT, QUIET, TARGETS, Array, X, begin, end, mlp, script


@script
def generators(api: Any, folder: Path) -> Any:
    def batches() -> Iterator[tuple[Array, Array]]:
        while True:
            for first in range(0, 60, 15):
                yield X[first : first + 15], LABELS[first : first + 15]

    class Numbered(api.utils.PyDataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            return X[index * 15 : index * 15 + 15], LABELS[index * 15 : index * 15 + 15]

    model = compiled(mlp(api), "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    found = [
        model.fit(
            batches(), steps_per_epoch=4, epochs=2, validation_data=Numbered(), validation_steps=2, **QUIET
        ).history
    ]
    found.append(model.fit(Numbered(), epochs=2, **QUIET).history)
    found.append(model.evaluate(Numbered(), verbose=0))
    found.append(model.predict(batches(), steps=2, verbose=0))
    return end(model, found)


@script
def transfer(api: Any, folder: Path) -> Any:
    base = compiled(mlp(api), "adam", "sparse_categorical_crossentropy")
    base.fit(X, LABELS, epochs=2, **QUIET)
    model = api.Sequential(
        [api.Input((6,)), api.layers.Dense(8, "relu", name="kept"), api.layers.Dense(1, name="new")]
    )
    begin(model)
    model.get_layer("kept").set_weights(base.layers[0].get_weights())
    model.get_layer("kept").trainable = False
    model.compile(api.optimizers.Adam(0.01), "mse")
    found = [model.fit(X, TARGETS[:, :1], epochs=2, **QUIET).history, *model.get_weights()]
    model.layers[0].trainable = True
    model.compile(api.optimizers.Adam(1e-3), "mse")
    found.append([len(model.trainable_weights), len(model.non_trainable_weights)])
    return end(model, found, model.fit(X, TARGETS[:, :1], epochs=2, **QUIET).history)


@script
def pop_and_add(api: Any, folder: Path) -> Any:
    model = mlp(api)
    model.pop()
    kept = model.get_weights()
    model.add(api.layers.Dense(4, activation="tanh", name="middle"))
    model.add(api.layers.Dense(2, name="out"))
    begin(model)
    model.layers[0].set_weights(kept)
    model.compile("sgd", "mse")
    return end(
        model, model.fit(X, TARGETS, epochs=2, **QUIET).history, [layer.name for layer in model.layers[1:]]
    )


@script
def regularized(api: Any, folder: Path) -> Any:
    dense = api.layers.Dense(
        8,
        activation="elu",
        kernel_regularizer=api.regularizers.l2(1e-3),
        bias_regularizer="l1",
        kernel_constraint=api.constraints.MaxNorm(1.0),
        kernel_initializer="he_normal",
    )
    model = begin(api.Sequential([api.Input((6,)), dense, api.layers.Dense(3, "softmax")]))
    model.compile(
        api.optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipnorm=1.0), "categorical_crossentropy"
    )
    return end(model, model.fit(X, ONE_HOT, epochs=3, **QUIET).history)


@script
def normalized(api: Any, folder: Path) -> Any:
    layers = [
        api.layers.Dense(8, use_bias=False),
        api.layers.BatchNormalization(momentum=0.9),
        api.layers.Activation("relu"),
        api.layers.Dense(8),
        api.layers.LayerNormalization(),
        api.layers.LeakyReLU(negative_slope=0.1),
        api.layers.Dense(3),
        api.layers.Softmax(),
    ]
    model = api.Sequential([api.Input((6,)), *layers])
    for layer in model.layers:
        layer.set_weights([np.linspace(0.2, 0.9, w.size).reshape(w.shape) for w in layer.get_weights()])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return end(model, model.fit(X, LABELS, epochs=3, validation_split=0.2, **QUIET).history)


@script
def configs(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    copy = api.Sequential.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    copy.compile_from_config(model.get_compile_config())
    other = api.models.clone_model(model)
    other.set_weights(model.get_weights())
    return end(
        copy, copy.fit(X, LABELS, epochs=2, **QUIET).history, other.predict(X, verbose=0), len(other.layers)
    )


@script
def time_series(api: Any, folder: Path) -> Any:
    steps = np.random.default_rng(1).normal(size=(40, 5, 3)).astype(np.float32)
    states = (steps.sum(axis=-1) > 0).astype(np.int64)
    layers = [api.layers.Dense(6, "relu"), api.layers.Dense(2, "softmax")]
    model = begin(api.Sequential([api.Input((5, 3)), *layers]))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(steps, states, epochs=3, validation_split=0.2, **QUIET)
    return end(model, history.history, x=steps)


@script
def images(api: Any, folder: Path) -> Any:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 4, 4)).astype(np.uint8)
    layers = [
        api.layers.Rescaling(1 / 255),
        api.layers.Flatten(),
        api.layers.Dense(8, "relu"),
        api.layers.Dense(3),
    ]
    model = begin(api.Sequential([api.Input((4, 4)), *layers]))
    loss = api.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    found = [
        model.fit(pixels, LABELS[:40], epochs=2, **QUIET).history,
        model.evaluate(pixels, LABELS[:40], verbose=0),
    ]
    probabilities = api.Sequential([model, api.layers.Softmax()]) if api is keras else None
    del probabilities  # a model in a model is Keras' alone
    return end(model, found, x=pixels)


@script
def optimizer_state(api: Any, folder: Path) -> Any:
    model = mlp(api)
    model.compile(api.optimizers.AdamW(0.01, weight_decay=0.01), "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.02
    model.fit(X, LABELS, epochs=1, **QUIET)
    model.optimizer.learning_rate.assign(0.005) if api is keras else setattr(
        model.optimizer, "learning_rate", 0.005
    )
    model.fit(X, LABELS, epochs=1, **QUIET)
    return end(
        model,
        float(model.optimizer.learning_rate),
        int(model.optimizer.iterations),
        model.optimizer.iterations.numpy() + 1,
        model.optimizer.learning_rate.numpy(),
        len(model.optimizer.variables),
    )


@script
def averaged_weights(api: Any, folder: Path) -> Any:
    model = mlp(api)
    model.compile(
        api.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9), "sparse_categorical_crossentropy"
    )
    return end(model, model.fit(X, LABELS, epochs=3, **QUIET).history)


@script
def weights_read_and_written(api: Any, folder: Path) -> Any:
    model = mlp(api)
    layer = model.layers[0]
    kernel = layer.kernel.numpy() if hasattr(layer.kernel, "numpy") else np.asarray(layer.kernel)
    layer.bias.assign(np.arange(8) / 10)
    layer.set_weights([kernel * 2, np.asarray(layer.bias) + 1])
    return end(
        model,
        kernel,
        [(w.name, w.trainable) for w in layer.weights],
        [tuple(w.shape) for w in model.get_weights()],
    )


@script
def warm_start(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    first = model.fit(X, LABELS, epochs=2, **QUIET)
    second = model.fit(
        X,
        LABELS,
        epochs=5,
        initial_epoch=2,
        validation_data=(X, LABELS, np.ones(60)),
        validation_freq=2,
        **QUIET,
    )
    return end(model, first.history, second.history, second.epoch, sorted(second.params))


@script
def learning_rate_finder(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api, 2, None), api.optimizers.SGD(1e-3), "mse")
    rates = api.callbacks.LearningRateScheduler(lambda epoch, lr: lr * 1.5)
    return end(model, model.fit(X, TARGETS, epochs=5, callbacks=[rates], **QUIET).history)


@script
def functions_of_utils(api: Any, folder: Path) -> Any:
    one_hot = api.utils.to_categorical(LABELS, num_classes=4)
    return [one_hot, api.utils.normalize(X, order=2), api.losses.mean_squared_error(TARGETS, TARGETS + 1)]


@script
def metrics_alone(api: Any, folder: Path) -> Any:
    metric = api.metrics.SparseCategoricalAccuracy()
    scores = np.random.default_rng(2).uniform(size=(60, 3))
    metric.update_state(LABELS[:30], scores[:30])
    first = float(metric.result())
    metric.update_state(LABELS[30:], scores[30:])
    second = float(metric.result())
    metric.reset_state()
    loss = api.losses.CategoricalCrossentropy(label_smoothing=0.1)
    return [first, second, float(metric.result()), float(loss(ONE_HOT, scores))]


@script
def ordinal_bins(api: Any, folder: Path) -> Any:
    tokens = np.random.default_rng(2).integers(0, 5, (60, 3))
    layers = [
        api.layers.CategoryEncoding(num_tokens=5, output_mode="multi_hot"),
        api.layers.Dense(3, "softmax"),
    ]
    model = begin(api.Sequential([api.Input((3,), dtype="int32"), *layers]))
    model.compile("adam", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    return end(model, model.fit(tokens, LABELS, epochs=2, **QUIET).history, x=tokens)


@script
def printed_lines(api: Any, folder: Path) -> Any:
    from contextlib import redirect_stdout

    model = compiled(mlp(api), "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    out = io.StringIO()
    with redirect_stdout(out):
        model.fit(X, LABELS, epochs=2, verbose=2, shuffle=False)
    return [line.split(" - ")[3:] for line in out.getvalue().splitlines() if "step" in line]


@script
def functional(api: Any, folder: Path) -> Any:
    inputs = api.Input(shape=(6,), name="features")
    hidden = api.layers.Dense(8, activation="relu", name="hidden")(inputs)
    hidden = api.layers.Dropout(0.0)(hidden)
    outputs = api.layers.Dense(3, activation="softmax", name="classes")(hidden)
    model = begin(api.Model(inputs=inputs, outputs=outputs, name="net"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=70)
    shapes = [tuple(symbol.shape) for symbol in (inputs, hidden, outputs, api.Input((6,), 5))]
    shapes += [model.input_shape, model.output_shape]
    names = [layer.name for layer in model.layers if "dropout" not in layer.name]
    found = [model.layers[1].output.shape, len(model.layers), names, shapes]
    return end(model, model.fit(X, LABELS, epochs=2, **QUIET).history, *found)
