"""Scripts with layers, losses, metrics and penalties of their own, as people write them for dense networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compiled
from scripting import script

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 8)).astype("float32")
YR = (X[:, :1] * 0.7 - X[:, 1:2] * X[:, 2:3]).astype("float32")
YB = (X[:, 0] + X[:, 1] > 0).astype("float32")
YC = RNG.integers(0, 3, 96)
YH = np.eye(3, dtype="float32")[YC]


def begin(model: Any, x: Any = None) -> Any:
    """Gives a model, which `x` builds, the same initial weights in both libraries."""
    if x is not None:
        model(x)
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(-0.5, 0.5, np.shape(w)).astype("float32") for w in model.get_weights()])
    return model


def run(model: Any, x: Any = X, y: Any = YR, epochs: int = 2, **options: Any) -> list[Any]:
    """Trains and evaluates a model, whose last batch is smaller than the others."""
    history = model.fit(x, y, epochs=epochs, batch_size=20, verbose=0, shuffle=False, **options).history
    # Keras has another order of the keys than the metrics.
    logs = {name: history[name] for name in sorted(history)}
    return [logs, model.predict(x, verbose=0), model.evaluate(x, y, verbose=0, batch_size=20)]


@script
def attention_pooling(api: Any, folder: Path) -> Any:
    ops = api.ops

    class AttentionPooling(api.layers.Layer):
        def __init__(self, units=4, **kw):
            super().__init__(**kw)
            self.units = units

        def build(self, input_shape):
            self.W = self.add_weight(
                name="W", shape=(input_shape[-1], self.units), initializer="glorot_uniform", trainable=True
            )
            self.b = self.add_weight(name="b", shape=(self.units,), initializer="zeros", trainable=True)
            self.v = self.add_weight(
                name="v", shape=(self.units, 1), initializer="glorot_uniform", trainable=True
            )
            super().build(input_shape)

        def call(self, x):
            e = ops.matmul(ops.tanh(ops.matmul(x, self.W) + self.b), self.v)
            a = ops.softmax(e, axis=1)
            return ops.sum(x * a, axis=1)

        def compute_output_shape(self, s):
            return (s[0], s[-1])

    i = api.Input((4, 2))
    o = api.layers.Dense(1)(AttentionPooling()(i))
    m = api.Model(i, o)
    return run(compiled(begin(m), api.optimizers.SGD(0.05), "mse"), X.reshape(-1, 4, 2))


@script
def highway(api: Any, folder: Path) -> Any:
    class Highway(api.layers.Layer):
        def __init__(self, activation="relu", **kw):
            super().__init__(**kw)
            self.activation = api.activations.get(activation)

        def build(self, s):
            d = s[-1]
            self.h = api.layers.Dense(d, name="h")
            self.t = api.layers.Dense(d, bias_initializer=api.initializers.Constant(-1.0), name="t")
            self.h.build(s)
            self.t.build(s)
            self.built = True

        def call(self, x):
            t = api.ops.sigmoid(self.t(x))
            return t * self.activation(self.h(x)) + (1.0 - t) * x

    m = api.Sequential([api.Input((8,)), Highway(), Highway(), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.Adam(0.01), "mse", metrics=["mae"]))


@script
def glu(api: Any, folder: Path) -> Any:
    class GLU(api.layers.Layer):
        def __init__(self, units, dropout_rate=0.0, **kw):
            super().__init__(**kw)
            self.units = units
            self.linear = api.layers.Dense(units)
            self.sig = api.layers.Dense(units, activation="sigmoid")
            self.dropout = api.layers.Dropout(dropout_rate)
            self.norm = api.layers.LayerNormalization()

        def call(self, x, training=None):
            y = self.dropout(x, training=training)
            return self.norm(x + self.linear(y) * self.sig(y))

    m = api.Sequential([api.Input((8,)), GLU(8), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.RMSprop(0.01), "mse"))


@script
def fm(api: Any, folder: Path) -> Any:
    ops = api.ops

    class FM(api.layers.Layer):
        def __init__(self, kdim=3, **kw):
            super().__init__(**kw)
            self.kdim = kdim

        def build(self, s):
            self.w0 = self.add_weight(shape=(1,), initializer="zeros", name="w0")
            self.w = self.add_weight(
                shape=(s[-1], 1), initializer="random_normal", regularizer=api.regularizers.l2(1e-3), name="w"
            )
            self.V = self.add_weight(
                shape=(s[-1], self.kdim), initializer="random_normal", regularizer="l2", name="V"
            )

        def call(self, inputs):
            linear = ops.matmul(inputs, self.w) + self.w0
            a = ops.square(ops.matmul(inputs, self.V))
            b = ops.matmul(ops.square(inputs), ops.square(self.V))
            return linear + 0.5 * ops.sum(a - b, axis=1, keepdims=True)

    m = api.Sequential([api.Input((8,)), FM()])
    return run(compiled(begin(m), api.optimizers.Adagrad(0.1), "mse"))


@script
def deepfm(api: Any, folder: Path) -> Any:
    ops = api.ops
    ids = np.random.default_rng(5).integers(0, 10, (96, 3))

    class DeepFM(api.Model):
        def __init__(self):
            super().__init__()
            self.first = [api.layers.Embedding(10, 1) for _ in range(3)]
            self.embs = [api.layers.Embedding(10, 4) for _ in range(3)]
            self.dnn = api.Sequential([api.layers.Dense(8, activation="relu"), api.layers.Dense(1)])

        def call(self, x):
            lin = sum(
                ops.squeeze(e(x[:, i]), axis=-1) if len(e(x[:, i]).shape) > 2 else e(x[:, i])
                for i, e in enumerate(self.first)
            )
            v = ops.stack([e(x[:, i]) for i, e in enumerate(self.embs)], axis=1)
            fm = 0.5 * ops.sum(
                ops.square(ops.sum(v, axis=1)) - ops.sum(ops.square(v), axis=1), axis=1, keepdims=True
            )
            deep = self.dnn(ops.reshape(v, (-1, 12)))
            return ops.sigmoid(lin + fm + deep)

    m = DeepFM()
    begin(m, ids[:2])
    m.compile(
        api.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy", api.metrics.AUC(name="auc")]
    )
    return run(m, ids, YB[:, None])


@script
def moe(api: Any, folder: Path) -> Any:
    ops = api.ops

    class MoE(api.layers.Layer):
        def __init__(self, units, n, **kw):
            super().__init__(**kw)
            self.experts = [api.layers.Dense(units, activation="relu") for _ in range(n)]
            self.gate = api.layers.Dense(n, activation="softmax")

        def call(self, x):
            g = self.gate(x)
            outs = ops.stack([e(x) for e in self.experts], axis=1)
            self.add_loss(0.01 * ops.sum(ops.square(ops.mean(g, axis=0))))
            return ops.einsum("bn,bnd->bd", g, outs)

    i = api.Input((8,))
    o = api.layers.Dense(3, activation="softmax")(MoE(6, 3)(i))
    m = api.Model(i, o)
    begin(m)
    m.compile(api.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return run(m, X, YC)


@script
def fourier(api: Any, folder: Path) -> Any:
    ops = api.ops

    class RFF(api.layers.Layer):
        def __init__(self, n=8, scale=1.0, **kw):
            super().__init__(**kw)
            self.n, self.scale = n, scale

        def build(self, s):
            self.B = self.add_weight(
                shape=(s[-1], self.n),
                initializer=api.initializers.RandomNormal(stddev=self.scale, seed=1),
                trainable=False,
                name="B",
            )

        def call(self, x):
            p = 2.0 * np.pi * ops.matmul(x, self.B)
            return ops.concatenate([ops.sin(p), ops.cos(p)], axis=-1)

        def get_config(self):
            return {**super().get_config(), "n": self.n, "scale": self.scale}

    m = api.Sequential([api.Input((8,)), RFF(), api.layers.Dense(4, "tanh"), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.SGD(0.01), "mse"))


@script
def own_spectral(api: Any, folder: Path) -> Any:
    ops = api.ops

    class SN(api.layers.Layer):
        def __init__(self, units, **kw):
            super().__init__(**kw)
            self.units = units

        def build(self, s):
            self.w = self.add_weight(shape=(s[-1], self.units), name="w")
            self.u = self.add_weight(
                shape=(1, self.units), initializer="random_normal", trainable=False, name="u"
            )

        def call(self, x, training=False):
            u = self.u
            v = ops.matmul(u, ops.transpose(self.w))
            v = v / ops.sqrt(ops.sum(v**2) + 1e-12)
            u = ops.matmul(v, self.w)
            u = u / ops.sqrt(ops.sum(u**2) + 1e-12)
            if training:
                self.u.assign(u)
            sigma = ops.matmul(ops.matmul(v, self.w), ops.transpose(u))
            return ops.matmul(x, self.w / sigma)

    m = api.Sequential([api.Input((8,)), SN(4), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.SGD(0.01), "mse"))


@script
def weightnorm(api: Any, folder: Path) -> Any:
    ops = api.ops

    class WN(api.layers.Layer):
        def __init__(self, units, activation=None, **kw):
            super().__init__(**kw)
            self.units = units
            self.act = api.activations.get(activation)

        def build(self, input_shape):
            self.v = self.add_weight(
                name="v", shape=(int(input_shape[-1]), self.units), initializer="he_normal"
            )
            self.g = self.add_weight(name="g", shape=(self.units,), initializer="ones")
            self.b = self.add_weight(name="b", shape=(self.units,), initializer="zeros")
            self.built = True

        def call(self, x):
            w = self.g * self.v / ops.norm(self.v, axis=0)
            return self.act(x @ w + self.b)

    m = api.Sequential([api.Input((8,)), WN(6, "elu"), WN(1)])
    return run(compiled(begin(m), api.optimizers.Nadam(0.01), "mse"))


@script
def focal(api: Any, folder: Path) -> Any:
    ops = api.ops

    def focal_loss(gamma=2.0, alpha=0.25):
        def loss(y_true, y_pred):
            y_true = ops.cast(y_true, "float32")
            eps = api.backend.epsilon() if hasattr(api.backend, "epsilon") else 1e-7
            y_pred = ops.clip(y_pred, eps, 1.0 - eps)
            pt = ops.where(ops.equal(y_true, 1), y_pred, 1 - y_pred)
            at = ops.where(ops.equal(y_true, 1), alpha, 1 - alpha)
            return ops.mean(-at * ops.power(1.0 - pt, gamma) * ops.log(pt))

        return loss

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "relu"), api.layers.Dense(1, "sigmoid")])
    return run(compiled(begin(m), api.optimizers.Adam(0.01), focal_loss(), metrics=["accuracy"]), X, YB)


@script
def dice(api: Any, folder: Path) -> Any:
    ops = api.ops

    def dice_coef(y_true, y_pred, smooth=1.0):
        a = ops.reshape(y_true, [-1])
        b = ops.reshape(y_pred, [-1])
        inter = ops.sum(a * b)
        return (2.0 * inter + smooth) / (ops.sum(a) + ops.sum(b) + smooth)

    def dice_loss(y_true, y_pred):
        return 1 - dice_coef(y_true, y_pred)

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "relu"), api.layers.Dense(3, "sigmoid")])
    return run(compiled(begin(m), api.optimizers.Adam(0.01), dice_loss, metrics=[dice_coef]), X, YH)


@script
def contrastive(api: Any, folder: Path) -> Any:
    ops = api.ops

    def euclid(vects):
        x, y = vects
        ss = ops.sum(ops.square(x - y), axis=1, keepdims=True)
        return ops.sqrt(ops.maximum(ss, api.backend.epsilon()))

    def loss(margin=1):
        def contrastive_loss(y_true, y_pred):
            sq = ops.square(y_pred)
            msq = ops.square(ops.maximum(margin - y_pred, 0))
            return ops.mean((1 - y_true) * sq + y_true * msq)

        return contrastive_loss

    inp = api.Input((4,))
    x = api.layers.BatchNormalization()(inp)
    x = api.layers.Dense(6, activation="tanh")(x)
    emb = api.Model(inp, x)
    a, b = api.Input((4,)), api.Input((4,))
    d = api.layers.Lambda(euclid, output_shape=(1,))([emb(a), emb(b)])
    n = api.layers.BatchNormalization()(d)
    o = api.layers.Dense(1, activation="sigmoid")(n)
    m = api.Model([a, b], o)
    begin(m)
    m.set_weights([np.abs(w) for w in m.get_weights()])
    m.compile(loss=loss(), optimizer="RMSprop", metrics=["accuracy"])
    return run(m, [X[:, :4], X[:, 4:]], YB[:, None])


@script
def quantile(api: Any, folder: Path) -> Any:
    ops = api.ops
    q = 0.9
    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "relu"), api.layers.Dense(1)])
    begin(m)
    m.compile(
        api.optimizers.Adam(0.01), lambda y, f: ops.mean(ops.maximum(q * (y - f), (q - 1) * (y - f)), axis=-1)
    )
    return run(m)


@script
def multi_quantile(api: Any, folder: Path) -> Any:
    ops = api.ops

    class QL(api.losses.Loss):
        def __init__(self, qs, name="ql"):
            super().__init__(name=name)
            self.qs = qs

        def call(self, y_true, y_pred):
            total = 0.0
            for i, q in enumerate(self.qs):
                e = y_true[:, 0] - y_pred[:, i]
                total += ops.mean(ops.maximum(q * e, (q - 1) * e))
            return total

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "relu"), api.layers.Dense(3)])
    return run(compiled(begin(m), api.optimizers.Adam(0.01), QL([0.1, 0.5, 0.9])))


@script
def ntxent(api: Any, folder: Path) -> Any:
    ops = api.ops

    class NTXent(api.losses.Loss):
        def __init__(self, t=0.5):
            super().__init__(name="ntxent")
            self.t = t

        def call(self, y_true, y_pred):
            z = ops.normalize(y_pred, axis=1)
            a, b = ops.split(z, 2, axis=1)
            a, b = ops.normalize(a, axis=1), ops.normalize(b, axis=1)
            sim = ops.matmul(a, ops.transpose(b)) / self.t
            n = ops.shape(sim)[0]
            labels = ops.arange(n)
            l1 = api.losses.sparse_categorical_crossentropy(labels, sim, from_logits=True)
            l2 = api.losses.sparse_categorical_crossentropy(labels, ops.transpose(sim), from_logits=True)
            return (l1 + l2) / 2

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "tanh"), api.layers.Dense(4)])
    return run(compiled(begin(m), api.optimizers.SGD(0.1), NTXent()), X, np.zeros((96, 1), "float32"))


@script
def ntxent2(api: Any, folder: Path) -> Any:
    ops = api.ops

    def nt_xent(y_true, y_pred):
        z = ops.normalize(y_pred, axis=-1)
        sim = ops.matmul(z, ops.transpose(z)) / 0.5
        n = ops.shape(z)[0]
        mask = ops.eye(n)
        sim = sim - 1e9 * mask
        same = ops.cast(ops.equal(y_true, ops.transpose(y_true)), "float32") * (1 - mask)
        logp = sim - ops.logsumexp(sim, axis=1, keepdims=True)
        return -ops.sum(same * logp, axis=1) / ops.maximum(ops.sum(same, axis=1), 1.0)

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "tanh"), api.layers.Dense(4)])
    return run(compiled(begin(m), api.optimizers.SGD(0.1), nt_xent), X, YC[:, None].astype("float32"))


@script
def centre(api: Any, folder: Path) -> Any:
    ops = api.ops

    class Center(api.layers.Layer):
        def __init__(self, n, d, **kw):
            super().__init__(**kw)
            self.n, self.d = n, d

        def build(self, s):
            self.centers = self.add_weight(
                name="centers", shape=(self.n, self.d), initializer="uniform", trainable=True
            )

        def call(self, inputs):
            f, lab = inputs
            c = ops.take(self.centers, ops.cast(ops.squeeze(lab, axis=-1), "int32"), axis=0)
            self.add_loss(0.1 * ops.mean(ops.sum(ops.square(f - c), axis=1)))
            return f

    i = api.Input((8,))
    labels = api.Input((1,), dtype="int32")
    f = api.layers.Dense(4, activation="tanh")(i)
    c = Center(3, 4)([f, labels])
    o = api.layers.Dense(3, activation="softmax")(c)
    m = api.Model([i, labels], o)
    begin(m)
    m.compile(api.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return run(m, [X, YC[:, None]], YC)


@script
def weighted_mse(api: Any, folder: Path) -> Any:
    ops = api.ops
    w = np.array([1.0, 2.0, 0.5], "float32")

    def wmse(y, p):
        return ops.mean(ops.convert_to_tensor(w) * ops.square(y - p), axis=-1)

    def rmse(y, p):
        return ops.sqrt(ops.mean(ops.square(y - p)))

    def r2(y, p):
        ss = ops.sum(ops.square(y - p))
        st = ops.sum(ops.square(y - ops.mean(y)))
        return 1 - ss / (st + 1e-7)

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "relu"), api.layers.Dense(3)])
    return run(compiled(begin(m), api.optimizers.Adam(0.01), wmse, metrics=[rmse, r2]), X, YH)


@script
def huber_where(api: Any, folder: Path) -> Any:
    ops = api.ops

    def huber(y_true, y_pred, delta=1.0):
        e = y_true - y_pred
        return ops.where(ops.abs(e) <= delta, 0.5 * ops.square(e), delta * (ops.abs(e) - 0.5 * delta))

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "relu"), api.layers.Dense(1)])
    begin(m)
    m.compile(api.optimizers.Adam(0.01), huber, metrics=["mae", api.metrics.RootMeanSquaredError()])
    return run(m)


@script
def nested_lists(api: Any, folder: Path) -> Any:
    class Block(api.layers.Layer):
        def __init__(self, u):
            super().__init__()
            self.ls = [[api.layers.Dense(u, "relu"), api.layers.BatchNormalization()] for _ in range(2)]

        def call(self, x, training=False):
            for d, bn in self.ls:
                x = bn(d(x), training=training)
            return x

    class M(api.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Block(4), Block(3)]
            self.heads = {"a": api.layers.Dense(1)}

        def call(self, x, training=False):
            for b in self.blocks:
                x = b(x, training=training)
            return self.heads["a"](x)

    m = M()
    begin(m, X[:2])
    m.set_weights([np.abs(w) for w in m.get_weights()])
    return run(compiled(m, api.optimizers.SGD(0.01), "mse"))


@script
def fn_metrics_sparse(api: Any, folder: Path) -> Any:
    ops = api.ops

    def acc(y_true, y_pred):
        return ops.cast(
            ops.equal(
                ops.cast(ops.squeeze(y_true, -1) if len(y_true.shape) > 1 else y_true, "int32"),
                ops.cast(ops.argmax(y_pred, axis=-1), "int32"),
            ),
            "float32",
        )

    def topk(y_true, y_pred):
        return api.metrics.sparse_top_k_categorical_accuracy(y_true, y_pred, k=2)

    def entropy(y_true, y_pred):
        return -ops.sum(y_pred * ops.log(y_pred + 1e-7), axis=-1)

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6, "relu"), api.layers.Dense(3, "softmax")])
    begin(m)
    m.compile(api.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=[acc, topk, entropy])
    return run(m, X, YC, validation_data=(X[:30], YC[:30])) + run(m, X, YC[:, None])


@script
def regularizer_fn(api: Any, folder: Path) -> Any:
    ops = api.ops

    def l1_reg(w):
        return 0.01 * ops.sum(ops.absolute(w))

    class L2(api.regularizers.Regularizer):
        def __init__(self, s):
            self.s = s

        def __call__(self, x):
            return self.s * ops.sum(ops.square(x))

        def get_config(self):
            return {"s": self.s}

    def clipc(w):
        return ops.clip(w, -0.3, 0.3)

    class Center(api.constraints.Constraint):
        def __init__(self, r):
            self.r = r

        def __call__(self, w):
            return w - ops.mean(w) + self.r

    m = api.Sequential(
        [
            api.Input((8,)),
            api.layers.Dense(
                6, "relu", kernel_regularizer=l1_reg, bias_regularizer=L2(0.1), kernel_constraint=clipc
            ),
            api.layers.Dense(3, activity_regularizer=L2(0.01), kernel_constraint=Center(0.1)),
            api.layers.Dense(1),
        ]
    )
    return run(compiled(begin(m), api.optimizers.Adam(0.01), "mse"))


@script
def custom_grad(api: Any, folder: Path) -> Any:
    ops = api.ops

    @ops.custom_gradient
    def log1pexp(x):
        e = ops.exp(x)

        def grad(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            return ops.multiply(upstream, 1.0 - 1.0 / ops.add(1, e))

        return ops.log(1 + e), grad

    m = api.Sequential(
        [
            api.Input((8,)),
            api.layers.Dense(6),
            api.layers.Lambda(log1pexp, output_shape=(6,)),
            api.layers.Dense(1),
        ]
    )
    return run(compiled(begin(m), api.optimizers.SGD(0.01), "mse"))


@script
def ste(api: Any, folder: Path) -> Any:
    ops = api.ops

    class Binarize(api.layers.Layer):
        def call(self, x):
            h = ops.sign(x)
            return x + ops.stop_gradient(h - x)

    m = api.Sequential([api.Input((8,)), api.layers.Dense(6), Binarize(), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.SGD(0.01), "mse"))


@script
def frozen_bn(api: Any, folder: Path) -> Any:
    class M(api.Model):
        def __init__(self):
            super().__init__()
            self.d = api.layers.Dense(4)
            self.bn = api.layers.BatchNormalization()
            self.o = api.layers.Dense(1)

        def call(self, x, training=None):
            return self.o(self.bn(self.d(x), training=False))

    m = M()
    begin(m, X[:2])
    m.set_weights([np.abs(w) for w in m.get_weights()])
    return run(compiled(m, api.optimizers.SGD(0.01), "mse"))


@script
def frozen_bn_func(api: Any, folder: Path) -> Any:
    base = api.Sequential([api.Input((8,)), api.layers.Dense(4), api.layers.BatchNormalization()])
    begin(base)
    base.set_weights([np.abs(w) for w in base.get_weights()])
    base.trainable = False
    i = api.Input((8,))
    x = base(i, training=False)
    o = api.layers.Dense(1)(x)
    m = api.Model(i, o)
    m.layers[-1].set_weights([np.full((4, 1), 0.1, "float32"), np.zeros(1, "float32")])
    m.compile(api.optimizers.SGD(0.01), "mse")
    return [*run(m), base.get_weights()]


@script
def add_loss_model(api: Any, folder: Path) -> Any:
    ops = api.ops

    class AE(api.Model):
        def __init__(self):
            super().__init__()
            self.e = api.layers.Dense(3, "relu")
            self.d = api.layers.Dense(8)

        def call(self, x):
            z = self.e(x)
            r = self.d(z)
            self.add_loss(ops.mean(ops.abs(z)) * 0.1)
            return r

    m = AE()
    return run(compiled(begin(m, X[:2]), api.optimizers.Adam(0.01), "mse"), X, X)


@script
def add_loss_only(api: Any, folder: Path) -> Any:
    ops = api.ops

    class Rec(api.layers.Layer):
        def call(self, i):
            x, r = i
            self.add_loss(ops.mean(ops.square(x - r)))
            return r

    i = api.Input((8,))
    z = api.layers.Dense(3, "relu")(i)
    r = api.layers.Dense(8)(z)
    o = Rec()([i, r])
    m = api.Model(i, o)
    begin(m)
    m.compile(api.optimizers.Adam(0.01))
    h = m.fit(X, epochs=2, batch_size=32, verbose=0, shuffle=False)
    return [h.history]


@script
def multiply_mask(api: Any, folder: Path) -> Any:
    layers = api.layers
    ids = np.random.default_rng(1).integers(0, 5, (96, 4))
    a = api.Input((4,))
    b = api.Input((4,))
    ea = layers.Embedding(5, 3, mask_zero=True)(a)
    eb = layers.Embedding(5, 3, mask_zero=True)(b)
    o = layers.GlobalAveragePooling1D()(layers.Multiply()([ea, eb]))
    m = api.Model([a, b], layers.Dense(1)(o))
    begin(m)
    m.compile(api.optimizers.SGD(0.1), "mse")
    return run(m, [ids.astype("float32"), ids[::-1].astype("float32")])


@script
def own_mask(api: Any, folder: Path) -> Any:
    ops = api.ops
    layers = api.layers
    ids = np.random.default_rng(1).integers(0, 5, (96, 4)).astype("float32")

    class MaskedMean(layers.Layer):
        def __init__(self, **kw):
            super().__init__(**kw)
            self.supports_masking = True

        def call(self, x, mask=None):
            if mask is None:
                return ops.mean(x, axis=1)
            mk = ops.expand_dims(ops.cast(mask, "float32"), -1)
            return ops.sum(x * mk, axis=1) / ops.maximum(ops.sum(mk, axis=1), 1.0)

        def compute_mask(self, inputs, mask=None):
            return None

    class OwnEmb(layers.Layer):
        def build(self, s):
            self.e = self.add_weight(shape=(5, 3), name="e")

        def call(self, x):
            return ops.take(self.e, ops.cast(x, "int32"), axis=0)

        def compute_mask(self, x, mask=None):
            return ops.not_equal(x, 0)

    i = api.Input((4,))
    m = api.Model(i, layers.Dense(1)(MaskedMean()(OwnEmb()(i))))
    return run(compiled(begin(m), api.optimizers.SGD(0.1), "mse"), ids)


@script
def explicit_mask(api: Any, folder: Path) -> Any:
    ops = api.ops
    layers = api.layers
    ids = np.random.default_rng(1).integers(0, 5, (96, 4)).astype("float32")
    i = api.Input((4,))
    e = layers.Embedding(5, 3)(i)
    mk = ops.not_equal(i, 0)
    o = layers.GlobalAveragePooling1D()(e, mask=mk)
    m = api.Model(i, layers.Dense(1)(o))
    return run(compiled(begin(m), api.optimizers.SGD(0.1), "mse"), ids)


@script
def batch_slices(api: Any, folder: Path) -> Any:
    ops = api.ops

    class Roll(api.layers.Layer):
        def call(self, x):
            return x - 0.1 * ops.concatenate([x[1:], x[:1]], axis=0)

    m = api.Sequential([api.Input((8,)), Roll(), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.SGD(0.01), "mse"))


@script
def first_sample(api: Any, folder: Path) -> Any:
    class First(api.layers.Layer):
        def call(self, x):
            return x - 0.1 * x[-1] + 0.05 * api.ops.mean(x[::2], axis=0)

    m = api.Sequential([api.Input((8,)), First(), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.SGD(0.01), "mse"), X[:80], YR[:80])


@script
def penalties_in_branch(api: Any, folder: Path) -> Any:
    class B(api.layers.Layer):
        def __init__(self, **kw):
            super().__init__(**kw)
            self.d = api.layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2")

        def build(self, s):
            self.d.build(s)
            self.built = True

        def call(self, x, training=False):
            if training:
                return self.d(x * 0.9)
            return self.d(x)

    m = api.Sequential([api.Input((8,)), B(), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.SGD(0.01), "mse"))


@script
def vae(api: Any, folder: Path) -> Any:
    ops = api.ops
    layers = api.layers

    class Sampling(layers.Layer):
        def __init__(self, **kw):
            super().__init__(**kw)
            self.seed_generator = api.random.SeedGenerator(1337)

        def call(self, inputs):
            mu, lv = inputs
            eps = api.random.normal(shape=ops.shape(mu), seed=self.seed_generator) * 0.0
            return mu + ops.exp(0.5 * lv) * eps

    class KL(layers.Layer):
        def call(self, inputs):
            mu, lv = inputs
            self.add_loss(-0.5 * ops.mean(ops.sum(1 + lv - ops.square(mu) - ops.exp(lv), axis=1)))
            return inputs

    i = api.Input((8,))
    h = layers.Dense(6, "relu")(i)
    mu = layers.Dense(2)(h)
    lv = layers.Dense(2)(h)
    mu, lv = KL()([mu, lv])
    z = Sampling()([mu, lv])
    o = layers.Dense(8)(layers.Dense(6, "relu")(z))
    m = api.Model(i, o)
    return run(compiled(begin(m), api.optimizers.Adam(0.01), "mse"), X, X)


@script
def cross_layer(api: Any, folder: Path) -> Any:
    class Cross(api.layers.Layer):
        def build(self, s):
            self.d = s[-1]
            self.ws = [self.add_weight(shape=(self.d, 1), name=f"w{i}") for i in range(2)]
            self.bs = [self.add_weight(shape=(self.d,), initializer="zeros", name=f"b{i}") for i in range(2)]

        def call(self, x0):
            x = x0
            for w, b in zip(self.ws, self.bs, strict=True):
                x = x0 * (x @ w) + b + x
            return x

    m = api.Sequential([api.Input((8,)), Cross(), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.SGD(0.001), "mse"))


@script
def rbf(api: Any, folder: Path) -> Any:
    ops = api.ops

    class RBF(api.layers.Layer):
        def __init__(self, units, gamma):
            super().__init__()
            self.units = units
            self.gamma = ops.cast(gamma, "float32")

        def build(self, s):
            self.mu = self.add_weight(
                name="mu", shape=(int(s[1]), self.units), initializer="uniform", trainable=True
            )
            super().build(s)

        def call(self, inputs):
            diff = ops.expand_dims(inputs, -1) - self.mu
            return ops.exp(-1 * self.gamma * ops.sum(ops.power(diff, 2), axis=1))

        def compute_output_shape(self, s):
            return (s[0], self.units)

    m = api.Sequential([api.Input((8,)), RBF(5, 0.3), api.layers.Dense(1)])
    return run(compiled(begin(m), api.optimizers.Adam(0.01), "mse"))


@script
def ntk_multi_out(api: Any, folder: Path) -> Any:
    i = api.Input((8,))
    h = api.layers.Dense(5, activation="swish")(i)
    a = api.layers.Dense(1, name="a")(h)
    b = api.layers.Dense(3, activation="softmax", name="b")(h)
    m = api.Model(i, {"a": a, "b": b})
    begin(m)

    def mm(y, p):
        return api.ops.mean(api.ops.abs(y - p), axis=-1)

    m.compile(
        api.optimizers.Adam(0.01),
        {"a": lambda y, p: api.ops.mean(api.ops.square(y - p), axis=-1), "b": "categorical_crossentropy"},
        metrics={"a": [mm], "b": [mm, "accuracy"]},
        loss_weights={"a": 0.5, "b": 1.0},
    )
    return run(m, X, {"a": YR, "b": YH})


@script
def mc_dropout(api: Any, folder: Path) -> Any:
    class MC(api.layers.Dropout):
        def call(self, inputs):
            return super().call(inputs, training=True)

    i = api.Input((8,))
    o = api.layers.Dense(1)(MC(0.5)(i))
    m = api.Model(i, o)
    p = [m.predict(X, verbose=0) for _ in range(2)]
    return [bool(np.any(p[0] != p[1]))]


@script
def mc_dropout2(api: Any, folder: Path) -> Any:
    class M(api.Model):
        def __init__(self):
            super().__init__()
            self.dr = api.layers.Dropout(0.5)
            self.d = api.layers.Dense(1)

        def call(self, x):
            return self.d(self.dr(x, training=True))

    m = M()
    p = [m.predict(X, verbose=0) for _ in range(2)]
    return [bool(np.any(p[0] != p[1]))]
