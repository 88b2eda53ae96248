"""Padding that counts for nothing: the same outputs and the same training as in Keras."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from twins import assert_same_histories, twins

import engine

RNG = np.random.default_rng(5)
LENGTHS = RNG.integers(1, 8, 60)
COUNTS = np.arange(7) < LENGTHS[:, np.newaxis]
TOKENS = RNG.integers(1, 20, (60, 7)) * COUNTS
STEPS = (RNG.normal(size=(60, 7, 3)) * COUNTS[..., np.newaxis]).astype(np.float32)
TARGETS = RNG.normal(size=(60, 2)).astype(np.float32)

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
        model.compile(api.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
        return model

    pair = twins(make)
    pair.assert_same_outputs(x)
    assert_same_histories(*pair.fit(x, TARGETS, batch_size=16, epochs=3))
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def test_what_knows_no_masks_says_so() -> None:
    """And drops them."""

    def make(api: Any) -> Any:
        k = api.layers
        stack = [
            k.Embedding(20, 3, mask_zero=True),
            k.Flatten(),
            k.Reshape((7, 3)),
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
