"""Scripts like those of guides to dense networks: digits, words, prices, tables, autoencoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compiled
from scripting import BINARY, LABELS, QUIET, X, begin, begin_dense, build, end, mlp, script

SPARSE = "sparse_categorical_crossentropy"
R = np.random.default_rng(11)
IMAGES = R.integers(0, 256, (90, 28, 28)).astype("uint8")
DIGITS = R.integers(0, 10, 90)
WORDS = [list(R.integers(1, 50, R.integers(3, 12))) for _ in range(60)]
SENTIMENT = R.integers(0, 2, 60)
HOUSES = R.normal(size=(80, 8))
PRICES = HOUSES @ R.normal(size=8) + 2


@script
def iris_train_test(api: Any, folder: Path) -> Any:
    k = api.layers
    model = build(
        api, k.Dense(10, activation="relu"), k.Dense(10, activation="relu"), k.Dense(3, activation="softmax")
    )
    model.compile(
        optimizer=api.optimizers.Adam(learning_rate=0.01),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    y = api.utils.to_categorical(LABELS, 3)
    history = model.fit(X[:45], y[:45], validation_data=(X[45:], y[45:]), epochs=5, batch_size=5, **QUIET)
    loss, acc = model.evaluate(X[45:], y[45:], verbose=0)
    pred = np.argmax(model.predict(X[45:], verbose=0), axis=1)
    return end(model, history.history, loss, acc, pred)


@script
def mnist_chollet(api: Any, folder: Path) -> Any:
    k = api.layers
    x = IMAGES.reshape((90, 28 * 28)).astype("float32") / 255
    model = api.Sequential([k.Dense(16, activation="relu"), k.Dense(10, activation="softmax")])
    model.build((None, 784))
    begin(model)
    model.compile(optimizer="rmsprop", loss=SPARSE, metrics=["accuracy"])
    history = model.fit(x, DIGITS, epochs=2, batch_size=32, **QUIET)
    p = model.predict(x[0:10], verbose=0)
    return [history.history, p[0].argmax(), p[0][7], model.evaluate(x, DIGITS, verbose=0)]


@script
def imdb_multi_hot(api: Any, folder: Path) -> Any:
    k = api.layers

    def vectorize(seqs, dim=50):
        r = np.zeros((len(seqs), dim))
        for i, s in enumerate(seqs):
            for j in s:
                r[i, j] = 1.0
        return r

    x = vectorize(WORDS)
    y = np.asarray(SENTIMENT).astype("float32")
    model = build(
        api,
        k.Dense(16, activation="relu"),
        k.Dense(16, activation="relu"),
        k.Dense(1, activation="sigmoid"),
        shape=(50,),
    )
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x[20:], y[20:], epochs=4, batch_size=16, validation_data=(x[:20], y[:20]), **QUIET)
    d = history.history
    return [d["loss"], d["val_loss"], d["accuracy"], sorted(d.keys()), model.predict(x, verbose=0)]


@script
def boston_kfold(api: Any, folder: Path) -> Any:
    k = api.layers
    x = HOUSES.copy()
    mean = x.mean(axis=0)
    x -= mean
    std = x.std(axis=0)
    x /= std

    def build_model():
        model = build(
            api, k.Dense(8, activation="relu"), k.Dense(8, activation="relu"), k.Dense(1), shape=(8,)
        )
        return compiled(model, optimizer="rmsprop", loss="mse", metrics=["mae"])

    folds = 4
    n = len(x) // folds
    scores = []
    hist = []
    for i in range(folds):
        vx = x[i * n : (i + 1) * n]
        vy = PRICES[i * n : (i + 1) * n]
        px = np.concatenate([x[: i * n], x[(i + 1) * n :]], axis=0)
        py = np.concatenate([PRICES[: i * n], PRICES[(i + 1) * n :]], axis=0)
        model = build_model()
        history = model.fit(
            px, py, validation_data=(vx, vy), epochs=3, batch_size=16, verbose=0, shuffle=False
        )
        hist.append(history.history["val_mae"])
        _mse, mae = model.evaluate(vx, vy, verbose=0)
        scores.append(mae)
    return [np.mean(scores), [np.mean([x[i] for x in hist]) for i in range(3)]]


@script
def california_wide(api: Any, folder: Path) -> Any:
    k = api.layers
    norm = k.Normalization(input_shape=[8])
    model = api.Sequential([norm, k.Dense(30, activation="relu"), k.Dense(30, activation="relu"), k.Dense(1)])
    norm.adapt(HOUSES.astype("float32"))
    begin_dense(model)
    model.compile(
        loss="mse", optimizer=api.optimizers.Adam(learning_rate=1e-3), metrics=["RootMeanSquaredError"]
    )
    history = model.fit(
        HOUSES[:60], PRICES[:60], epochs=3, validation_data=(HOUSES[60:], PRICES[60:]), **QUIET
    )
    mse, rmse = model.evaluate(HOUSES[60:], PRICES[60:], verbose=0)
    return [history.history, mse, rmse, model.predict(HOUSES[:3], verbose=0)]


@script
def reg_geron_callbacks(api: Any, folder: Path) -> Any:
    k = api.layers
    model = build(
        api, k.Dense(10, activation="selu", kernel_initializer="lecun_normal"), k.Dense(1), shape=(8,)
    )
    model.compile(loss="mse", optimizer=api.optimizers.SGD(learning_rate=1e-3))
    ck = api.callbacks.ModelCheckpoint(str(folder / "m.keras"), save_best_only=True)
    es = api.callbacks.EarlyStopping(patience=2, restore_best_weights=True)

    class Ratios(api.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_epoch_end(self, epoch, logs):
            self.seen.append(logs["val_loss"] / logs["loss"])

    r = Ratios()
    history = model.fit(
        HOUSES[:60],
        PRICES[:60],
        epochs=6,
        validation_data=(HOUSES[60:], PRICES[60:]),
        callbacks=[ck, es, r],
        **QUIET,
    )
    m2 = api.models.load_model(folder / "m.keras")
    return [
        history.history,
        r.seen,
        m2.predict(HOUSES[:4], verbose=0),
        m2.evaluate(HOUSES[60:], PRICES[60:], verbose=0),
    ]


@script
def initial_bias(api: Any, folder: Path) -> Any:
    k = api.layers
    ob = api.initializers.Constant(np.log([2.0]))
    model = api.Sequential(
        [
            api.Input((6,)),
            k.Dense(4, activation="relu", kernel_initializer="zeros"),
            k.Dropout(0.5),
            k.Dense(1, activation="sigmoid", bias_initializer=ob, kernel_initializer="zeros"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    return [model.predict(X[:3], verbose=0), model.evaluate(X, BINARY, verbose=0)]


@script
def functional_named(api: Any, folder: Path) -> Any:
    k = api.layers
    i = api.Input(shape=(6,), name="features")
    x = k.Dense(8, activation="relu", name="a")(i)
    x = k.Dropout(0.0)(x)
    o = k.Dense(3, name="logits")(x)
    model = begin(api.Model(inputs=i, outputs=o, name="net"))
    model.compile(
        optimizer="adam",
        loss=api.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[api.metrics.SparseCategoricalAccuracy()],
    )
    history = model.fit({"features": X}, LABELS, epochs=2, **QUIET)
    probs = api.Sequential([model, k.Softmax()])
    return [
        history.history,
        probs.predict(X[:4], verbose=0),
        model.name,
        [layer.name for layer in model.layers],
        model.input_shape,
        model.output_shape,
    ]


@script
def save_formats(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "adam", SPARSE, metrics=["accuracy"])
    model.fit(X, LABELS, **QUIET)
    model.save(folder / "a.keras")
    model.save(folder / "a.h5")
    model.save_weights(folder / "a.weights.h5")
    a = api.models.load_model(folder / "a.keras")
    b = api.models.load_model(folder / "a.h5", compile=False)
    c = mlp(api)
    c.load_weights(folder / "a.weights.h5")
    j = api.models.model_from_json(model.to_json())
    j.set_weights(model.get_weights())
    history = a.fit(X, LABELS, epochs=1, **QUIET)
    return [
        history.history,
        b.predict(X[:2], verbose=0),
        c.predict(X[:2], verbose=0),
        j.predict(X[:2], verbose=0),
        a.optimizer.iterations.numpy() if hasattr(a.optimizer.iterations, "numpy") else 0,
    ]
