"""Scripts with networks other than classifiers: autoencoders, embeddings, normalization, time series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scripting import LABELS, QUIET, X, begin, build, end, script

SPARSE = "sparse_categorical_crossentropy"
R = np.random.default_rng(11)
IMAGES = R.integers(0, 256, (90, 28, 28)).astype("uint8")
WORDS = [list(R.integers(1, 50, R.integers(3, 12))) for _ in range(60)]
SENTIMENT = R.integers(0, 2, 60)


@script
def denoising_autoencoder(api: Any, folder: Path) -> Any:
    k = api.layers
    x = (IMAGES.reshape(90, 784) / 255.0).astype("float32")
    noisy = np.clip(x + 0.1 * np.sin(np.arange(784)), 0, 1).astype("float32")
    inp = api.Input(shape=(784,))
    e = k.Dense(16, activation="relu")(inp)
    d = k.Dense(784, activation="sigmoid")(e)
    autoencoder = begin(api.Model(inp, d))
    encoder = api.Model(inp, e)
    autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
    history = autoencoder.fit(noisy, x, epochs=2, batch_size=32, validation_data=(noisy, x), **QUIET)
    return [history.history, encoder.predict(x[:2], verbose=0), autoencoder.predict(x[:1], verbose=0)[0, :5]]


@script
def decoder_part(api: Any, folder: Path) -> Any:
    k = api.layers
    inp = api.Input(shape=(6,))
    e = k.Dense(3, activation="relu")(inp)
    d = k.Dense(6)(e)
    autoencoder = begin(api.Model(inp, d))
    autoencoder.compile("adam", "mse")
    autoencoder.fit(X, X, **QUIET)
    ei = api.Input(shape=(3,))
    dl = autoencoder.layers[-1]
    decoder = api.Model(ei, dl(ei))
    return [decoder.predict(np.ones((2, 3)), verbose=0)]


@script
def activity_regularized(api: Any, folder: Path) -> Any:
    k = api.layers
    model = build(
        api,
        k.Dense(4, activation="relu", activity_regularizer=api.regularizers.L1(1e-3)),
        k.Dense(6, activation="sigmoid"),
    )
    model.compile("adam", "mse")
    history = model.fit(X, np.abs(np.tanh(X)), epochs=2, **QUIET)
    return end(model, history.history)


@script
def embedding_avg(api: Any, folder: Path) -> Any:
    k = api.layers
    x = api.utils.pad_sequences(WORDS, maxlen=10)
    model = begin(
        api.Sequential(
            [
                api.Input((10,)),
                k.Embedding(50, 8),
                k.GlobalAveragePooling1D(),
                k.Dense(16, activation="relu"),
                k.Dense(1, activation="sigmoid"),
            ]
        )
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, SENTIMENT, epochs=2, validation_split=0.2, **QUIET)
    return [history.history, model.layers[0].get_weights()[0].shape]


@script
def batchnorm_net(api: Any, folder: Path) -> Any:
    k = api.layers
    model = build(
        api, k.Dense(8, use_bias=False), k.BatchNormalization(), k.Activation("relu"), k.Dense(3), k.Softmax()
    )
    model.compile("adam", SPARSE)
    history = model.fit(X, LABELS, epochs=2, batch_size=20, validation_data=(X, LABELS), **QUIET)
    return end(model, history.history, [w.shape for w in model.non_trainable_weights])


@script
def timeseries_temp(api: Any, folder: Path) -> Any:
    k = api.layers
    raw = np.sin(np.arange(200)[:, None] * np.array([0.1, 0.2, 0.3])).astype("float32")
    temp = raw[:, 1]
    ds = api.utils.timeseries_dataset_from_array(
        raw[:-5],
        targets=temp[5:],
        sampling_rate=2,
        sequence_length=4,
        batch_size=16,
        start_index=0,
        end_index=150,
    )
    model = begin(api.Sequential([api.Input((4, 3)), k.Flatten(), k.Dense(8, activation="relu"), k.Dense(1)]))
    model.compile("rmsprop", "mse", metrics=["mae"])
    history = model.fit(ds, epochs=2, verbose=0)
    n = 0
    tot = 0.0
    for s, t in ds:
        p = np.asarray(s)[:, -1, 1]
        tot += np.sum(np.abs(p - np.asarray(t)))
        n += len(p)
    return [history.history, tot / n, model.evaluate(ds, verbose=0)]


@script
def xor(api: Any, folder: Path) -> Any:
    k = api.layers
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    y = np.array([[0], [1], [1], [0]], "float32")
    model = begin(
        api.Sequential([k.Dense(8, input_dim=2, activation="tanh"), k.Dense(1, activation="sigmoid")])
    )
    model.compile(
        loss="binary_crossentropy",
        optimizer=api.optimizers.SGD(learning_rate=0.5, momentum=0.9, nesterov=True),
        metrics=["binary_accuracy"],
    )
    history = model.fit(x, y, batch_size=1, epochs=10, **QUIET)
    return [history.history, model.predict(x, verbose=0).round(3)]
