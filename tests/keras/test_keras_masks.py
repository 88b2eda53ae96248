"""Compares masked padding with Keras: outputs, losses, metrics and training."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from padded import BITS, COUNTS, NUMBERS, RNG, STEPS, TARGETS, TOKENS, WEIGHINGS, assert_twins, steps
from twins import assert_same_histories, twins

import engine

STACKS: dict[str, tuple[Any, Any]] = {
    "embedding": (TOKENS, lambda k: [k.Embedding(20, 18, mask_zero=True), k.GlobalAveragePooling1D()]),
    "embedding_and_more": (
        TOKENS,
        lambda k: [
            k.Embedding(20, 5, mask_zero=True),
            k.Dropout(0.0),
            k.Dense(4, "tanh"),
            k.LayerNormalization(),
            k.LeakyReLU(),
            k.GlobalAveragePooling1D(keepdims=True),
            k.Flatten(),
        ],
    ),
    "masking": (STEPS, lambda k: [k.Masking(), k.Dense(4, "relu"), k.GlobalAveragePooling1D()]),
    "normalized_over_the_batch": (
        TOKENS,
        lambda k: [
            k.Embedding(20, 18, mask_zero=True),
            k.BatchNormalization(momentum=0.8),
            k.Dense(4, "tanh"),
            k.BatchNormalization(
                momentum=0.5, renorm=True, renorm_clipping={"rmax": 1.1, "rmin": 0.9, "dmax": 0.1}
            ),
            k.BatchNormalization(trainable=False),
            k.GlobalAveragePooling1D(),
        ],
    ),
    "masking_by_another_number": (
        np.where(COUNTS[..., np.newaxis], STEPS, -1.0).astype(np.float32),
        lambda k: [k.Rescaling(1.0), k.Masking(-1.0), k.Dense(4), k.GlobalAveragePooling1D()],
    ),
    "masking_after_a_layer": (
        STEPS,
        lambda k: [k.Dense(4, "relu", use_bias=False), k.Masking(), k.Dense(2), k.GlobalAveragePooling1D()],
    ),
    "the_later_of_two": (
        TOKENS,
        lambda k: [
            k.Embedding(20, 3, mask_zero=True, embeddings_constraint="non_neg"),
            k.Activation("relu"),
            k.Masking(),
            k.GlobalAveragePooling1D(),
        ],
    ),
}


@pytest.mark.parametrize("name", STACKS)
def test_masked_means(name: str) -> None:
    x, stack = STACKS[name]

    def make(api: Any) -> Any:
        model = api.Sequential([api.Input(x.shape[1:]), *stack(api.layers), api.layers.Dense(2)])
        return compiled(model, api.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])

    pair = twins(make)
    pair.assert_same_outputs(x)
    assert_same_histories(*pair.fit(x, TARGETS, batch_size=16, epochs=3))
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


@WEIGHINGS
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_reductions_of_masked_losses(reduction: str, weights: Any) -> None:
    def make(api: Any) -> Any:
        model = steps(api, api.layers.Dense(4, "tanh"), api.layers.Dense(2))
        rate = 0.001 if reduction == "sum" else 0.1
        loss = api.losses.MeanSquaredError(reduction=reduction)
        return compiled(model, api.optimizers.SGD(rate, momentum=0.9), loss, weighted_metrics=["mae"])

    assert_twins(twins(make), STEPS, NUMBERS, weights)


@WEIGHINGS
def test_metrics_of_masked_outputs(weights: Any) -> None:
    """In evaluations, only metrics that are means over rows exclude masked rows."""

    def first(y_true: Any, y_pred: Any) -> Any:
        return abs(y_true - y_pred)[..., 0]

    def make(api: Any) -> Any:
        def rmse(name: str) -> Any:
            return api.metrics.RootMeanSquaredError(name=name)

        model = steps(api, api.layers.Dense(2, "sigmoid"))
        plain = ["mae", "accuracy", "binary_accuracy", first, rmse("r"), api.metrics.Precision(name="p")]
        weighted = [api.metrics.CosineSimilarity(name="c"), rmse("s"), api.metrics.AUC(name="a")]
        options = {
            "metrics": plain,
            "weighted_metrics": [*weighted, api.metrics.MeanMetricWrapper(first, "f")],
        }
        return compiled(model, api.optimizers.SGD(0.1), "binary_crossentropy", **options)

    assert_twins(twins(make), STEPS, BITS, weights)


@WEIGHINGS
def test_masked_class_indices(weights: Any) -> None:
    """Also with an ignored class: a row that both exclude is excluded once."""
    labels = RNG.integers(0, 4, (60, 7))

    def make(api: Any) -> Any:
        stack = [
            api.layers.Embedding(20, 5, mask_zero=True),
            api.layers.Dropout(0.0),
            api.layers.LayerNormalization(),
            api.layers.Dense(4, "softmax"),
        ]
        model = api.Sequential([api.Input((7,)), *stack])
        loss = api.losses.SparseCategoricalCrossentropy(ignore_class=3)
        metric = api.metrics.SparseCategoricalCrossentropy(name="m", ignore_class=3)
        return compiled(model, "adam", loss, metrics=["accuracy", metric])

    assert_twins(twins(make), TOKENS, labels, weights)


@WEIGHINGS
def test_masked_losses_of_ones_own(weights: Any) -> None:
    def make(api: Any) -> Any:
        def by_step(y_true: Any, y_pred: Any) -> Any:
            return ((y_pred - y_true) ** 2).sum(-1)

        by_step.gradient = lambda y_true, y_pred: 2 * (y_pred - y_true)  # type: ignore[attr-defined] # for us
        return compiled(steps(api, api.layers.Dense(2)), api.optimizers.SGD(0.1), by_step, metrics=["mae"])

    assert_twins(twins(make), STEPS, NUMBERS, weights)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_masked_losses_over_a_batch(reduction: str) -> None:
    def make(api: Any) -> Any:
        model = steps(api, api.layers.Dense(2, "sigmoid"))
        return compiled(model, api.optimizers.SGD(0.01), api.losses.Dice(reduction=reduction))

    assert_twins(twins(make), STEPS, BITS, batch_size=25)


def test_masks_of_whole_samples() -> None:
    """Masks of samples are tested in a nested model, with class weights, and with a batch that is masked completely."""

    def make(api: Any) -> Any:
        hidden = [api.layers.Dense(40, "relu"), api.layers.BatchNormalization()]
        inner = api.Sequential([api.Input((3,)), api.layers.Masking(), *hidden])
        model = api.Sequential([api.Input((3,)), inner, api.layers.Dense(1, "sigmoid")])
        return compiled(model, api.optimizers.SGD(0.1), "binary_crossentropy", metrics=["mae"])

    x, y = STEPS[:, 3].copy(), BITS[:, 3, :1]
    x[:16] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # models of Keras pass masks on, and warn that they do not
        assert_twins(twins(make), x, y, class_weight={0: 1.0, 1: 3.0})


def test_masked_batches_by_hand() -> None:
    def make(api: Any) -> Any:
        return compiled(steps(api, api.layers.Dense(2)), api.optimizers.SGD(0.1), "mse", metrics=["mae"])

    pair = twins(make)
    for verb in ("train_on_batch", "test_on_batch", "train_on_batch"):
        theirs, ours = (getattr(model, verb)(STEPS, NUMBERS) for model in pair)
        assert ours == pytest.approx([float(value) for value in theirs], rel=1e-4)
    pair.assert_same_weights()


def test_what_knows_no_masks_says_so() -> None:
    """Such layers warn and drop the mask."""

    def make(api: Any) -> Any:
        k = api.layers
        stack = [
            k.Embedding(20, 3, mask_zero=True),
            k.Flatten(),
            k.Reshape((7, 3)),
            k.Masking(1e9),
            k.Lambda(lambda x: x + 0.0),
            k.GlobalAveragePooling1D(),
        ]
        return api.Sequential([api.Input((7,)), *stack])

    messages = []
    for api in (keras, engine):
        api.utils.clear_session()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = make(api)
            model.set_weights([np.arange(60.0).reshape(20, 3)])
            outputs = model.predict(TOKENS, verbose=0)
        messages.append({str(warning.message) for warning in caught if "mask" in str(warning.message)})
        table = np.arange(60.0).reshape(20, 3)
        np.testing.assert_allclose(outputs, table[TOKENS].mean(axis=1), rtol=1e-5)
    assert messages[0] == messages[1]


def test_masks_by_themselves() -> None:
    for api in (keras, engine):
        embedding = api.layers.Embedding(20, 3, mask_zero=True)
        assert np.array_equal(np.asarray(embedding.compute_mask(TOKENS)), COUNTS)
        assert api.layers.Embedding(20, 3).compute_mask(TOKENS) is None
        assert np.array_equal(np.asarray(api.layers.Masking().compute_mask(STEPS)), COUNTS)
        assert embedding.supports_masking
        assert not api.layers.Embedding(20, 3).supports_masking
