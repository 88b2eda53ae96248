"""Scripts with usual idioms: forms of labels, layers, nested models, copies of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compiled
from scripting import BINARY, LABELS, ONE_HOT, QUIET, TARGETS, X, begin, begin_dense, end, mlp, script

SPARSE = "sparse_categorical_crossentropy"


@script
def int_labels_float(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "sgd", SPARSE, metrics=["accuracy"])
    history = model.fit(X.astype("float64"), LABELS.astype("float32"), **QUIET)
    h2 = model.fit(X, LABELS.reshape(-1, 1).astype("uint8"), **QUIET)
    return [history.history, h2.history]


@script
def binary_two_ways(api: Any, folder: Path) -> Any:
    a = compiled(mlp(api, 1, "sigmoid"), "sgd", "binary_crossentropy", metrics=["accuracy"])
    ha = a.fit(X, BINARY, **QUIET)
    b = mlp(api, 1, None)
    b.compile(
        "sgd",
        api.losses.BinaryCrossentropy(from_logits=True),
        metrics=[api.metrics.BinaryAccuracy(threshold=0.0)],
    )
    hb = b.fit(X, BINARY.astype(bool), **QUIET)
    return [ha.history, hb.history]


@script
def softmax_two_units(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api, 2), "adam", SPARSE, metrics=["acc"])
    history = model.fit(X, BINARY.astype(int), validation_split=0.25, **QUIET)
    return [history.history]


@script
def label_smoothing(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "sgd", api.losses.CategoricalCrossentropy(label_smoothing=0.1))
    history = model.fit(X, ONE_HOT, **QUIET)
    return [history.history]


@script
def focal(api: Any, folder: Path) -> Any:
    model = mlp(api, 1, "sigmoid")
    model.compile(
        "sgd", api.losses.BinaryFocalCrossentropy(gamma=2.0, alpha=0.25, apply_class_balancing=True)
    )
    history = model.fit(X, BINARY[:, None], **QUIET)
    return [history.history]


@script
def layer_norm_stack(api: Any, folder: Path) -> Any:
    k = api.layers
    model = begin(
        api.Sequential(
            [
                api.Input((6,)),
                k.Dense(8, activation="gelu"),
                k.LayerNormalization(),
                k.Dense(8, activation="swish"),
                k.Dense(1),
            ]
        )
    )
    model.compile(api.optimizers.AdamW(1e-2, weight_decay=1e-2), "mse")
    history = model.fit(X, TARGETS[:, 0], epochs=2, **QUIET)
    return end(model, history.history)


@script
def prelu_leaky(api: Any, folder: Path) -> Any:
    k = api.layers
    model = begin(
        api.Sequential(
            [
                api.Input((6,)),
                k.Dense(8),
                k.LeakyReLU(negative_slope=0.2),
                k.Dense(8),
                k.PReLU(),
                k.Dense(8),
                k.ELU(),
                k.Dense(1),
            ]
        )
    )
    model.compile("adam", "mse")
    history = model.fit(X, TARGETS[:, 0], epochs=2, **QUIET)
    return end(model, history.history)


@script
def reshape_permute(api: Any, folder: Path) -> Any:
    k = api.layers
    model = begin(
        api.Sequential(
            [
                api.Input((6,)),
                k.Reshape((2, 3)),
                k.Permute((2, 1)),
                k.Flatten(),
                k.RepeatVector(2),
                k.Dense(3),
                k.Reshape((-1,)),
                k.Dense(1),
            ]
        )
    )
    return [
        model.predict(X[:3], verbose=0),
        model.output_shape,
        [layer.output.shape for layer in model.layers],
    ]


@script
def multi_target(api: Any, folder: Path) -> Any:
    model = mlp(api, 2, None)
    model.compile("adam", "mse", metrics=[api.metrics.R2Score(), api.metrics.RootMeanSquaredError()])
    history = model.fit(X, TARGETS, epochs=2, **QUIET)
    return [history.history, dict(zip(["a", "b", "c"], model.evaluate(X, TARGETS, verbose=0), strict=False))]


@script
def nested_sequential(api: Any, folder: Path) -> Any:
    k = api.layers
    encoder = api.Sequential([api.Input((6,)), k.Dense(4, activation="relu"), k.Dense(2)], name="enc")
    decoder = api.Sequential([api.Input((2,)), k.Dense(4, activation="relu"), k.Dense(6)], name="dec")
    autoencoder = compiled(begin(api.Sequential([encoder, decoder])), "adam", "mse")
    history = autoencoder.fit(X, X, epochs=2, **QUIET)
    return [
        history.history,
        encoder.predict(X[:2], verbose=0),
        decoder.predict(np.ones((1, 2)), verbose=0),
        [layer.name for layer in autoencoder.layers],
    ]


@script
def functional_calls_models(api: Any, folder: Path) -> Any:
    k = api.layers
    encoder = begin(api.Sequential([api.Input((6,)), k.Dense(2)]))
    i = api.Input((6,))
    model = api.Model(i, k.Dense(1, kernel_initializer="ones")(encoder(i)))
    return [model.predict(X[:2], verbose=0), len(model.weights)]


@script
def weights_npz(api: Any, folder: Path) -> Any:
    model = mlp(api)
    np.savez(folder / "w.npz", *model.get_weights())
    d = np.load(folder / "w.npz")
    n = mlp(api)
    n.set_weights([d[k] for k in d.files])
    return [n.predict(X[:2], verbose=0)]


@script
def layer_weight_assign(api: Any, folder: Path) -> Any:
    model = mlp(api)
    model.layers[0].kernel.assign(np.ones((6, 8)))
    model.layers[0].bias.assign_add(np.ones(8))
    return [model.predict(X[:2], verbose=0), [(v.name, tuple(v.shape)) for v in model.trainable_variables]]


@script
def model_over_batches(api: Any, folder: Path) -> Any:
    model = mlp(api)
    p = np.concatenate([np.asarray(model(X[i : i + 16])) for i in range(0, 60, 16)])
    return [p, np.allclose(p, model.predict(X, verbose=0), atol=1e-5)]


@script
def accuracy_by_hand(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "adam", SPARSE, metrics=["accuracy"])
    model.fit(X, LABELS, **QUIET)
    acc = api.metrics.SparseCategoricalAccuracy()
    acc.update_state(LABELS, model.predict(X, verbose=0))
    return [
        float(acc.result()),
        model.evaluate(X, LABELS, verbose=0)[1],
        float(np.mean(api.metrics.sparse_categorical_accuracy(LABELS, model.predict(X, verbose=0)))),
    ]


@script
def adapt_normalization(api: Any, folder: Path) -> Any:
    k = api.layers
    n = k.Normalization(axis=-1)
    n.adapt(X)
    model = begin_dense(api.Sequential([api.Input((6,)), n, k.Dense(4, activation="relu"), k.Dense(1)]))
    model.compile("adam", "mae")
    history = model.fit(X, TARGETS[:, 0], validation_split=0.2, **QUIET)
    model.save(folder / "n.keras")
    k = api.models.load_model(folder / "n.keras")
    return [history.history, np.asarray(n.mean), k.predict(X[:2], verbose=0), n(X[:2])]


@script
def one_feature_normalization(api: Any, folder: Path) -> Any:
    k = api.layers
    n = k.Normalization(
        input_shape=[
            1,
        ],
        axis=None,
    )
    n.adapt(X[:, 0])
    model = begin_dense(api.Sequential([n, k.Dense(1)]))
    model.compile(api.optimizers.Adam(0.1), "mean_absolute_error")
    history = model.fit(X[:, 0], TARGETS[:, 0], epochs=2, validation_split=0.2, **QUIET)
    return [history.history, model.predict(np.linspace(0, 2, 3), verbose=0)]


@script
def multi_hot_encoding_layer(api: Any, folder: Path) -> Any:
    k = api.layers
    model = begin(
        api.Sequential(
            [
                api.Input((3,), dtype="int32"),
                k.CategoryEncoding(num_tokens=5, output_mode="multi_hot"),
                k.Dense(2),
            ]
        )
    )
    return [model.predict(np.array([[0, 1, 1], [4, 3, 2]]), verbose=0)]


@script
def text_pipeline(api: Any, folder: Path) -> Any:
    texts = ["the cat sat", "the dog ran", "a cat ran fast"] * 20
    vocab = {w: i + 1 for i, w in enumerate(sorted({w for t in texts for w in t.split()}))}
    seq = [[vocab[w] for w in t.split()] for t in texts]
    x = api.utils.pad_sequences(seq, maxlen=5, value=0, padding="post")
    k = api.layers
    model = begin(
        api.Sequential(
            [
                api.Input((5,)),
                k.Embedding(len(vocab) + 1, 4, mask_zero=True),
                k.GlobalAveragePooling1D(),
                k.Dense(1, activation="sigmoid"),
            ]
        )
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, np.array([0, 1, 1] * 20), epochs=2, **QUIET)
    return [x, history.history]


@script
def class_methods(api: Any, folder: Path) -> Any:
    model = mlp(api)
    return [
        model.count_params(),
        len(model.layers),
        model.built,
        model.trainable,
        [w.shape for w in model.weights],
        len(model.trainable_variables),
        model.layers[0].get_config()["units"],
        model.layers[-1].activation.__name__,
        type(model.layers[0].kernel_initializer).__name__,
        model.get_layer(index=0).name == model.layers[0].name,
        model.compute_output_shape((None, 6)),
    ]
