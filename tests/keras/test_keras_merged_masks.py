"""Compares layers that merge inputs with different masks, and masks given in calls of the functional API, with Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close

import engine

RNG = np.random.default_rng(0)
ONE, OTHER = (RNG.normal(size=(5, 4, 2)).astype("float32") for _ in range(2))
ONE[:, 2:] = 0
OTHER[1:, 1:3] = 0


def merged(api: Any, merge: Any, which: tuple[bool, bool], ends: Any) -> Any:
    inputs = [api.Input((4, 2)) for _ in range(2)]
    masked = [api.layers.Masking()(x) if mask else x for x, mask in zip(inputs, which, strict=True)]
    return api.Model(inputs, ends(api)(merge(api)(masked)))


@pytest.mark.parametrize("which", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(
    "merge",
    [
        lambda api: api.layers.Add(),
        lambda api: api.layers.Average(),
        lambda api: api.layers.Multiply(),
        lambda api: api.layers.Maximum(),
        lambda api: api.layers.Minimum(),
        lambda api: api.layers.Concatenate(),
        lambda api: api.layers.Concatenate(axis=1),
    ],
    ids=["add", "average", "multiply", "maximum", "minimum", "concatenate", "concatenate_steps"],
)
@pytest.mark.parametrize(
    "ends",
    [lambda api: api.layers.Activation("linear"), lambda api: api.layers.GlobalAveragePooling1D()],
    ids=["values", "means"],
)
def test_merging_by_masks(merge: Any, which: tuple[bool, bool], ends: Any) -> None:
    theirs, ours = (
        merged(api, merge, which, ends).predict([ONE, OTHER], verbose=0) for api in (keras, engine)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize(
    "name", ["Add", "Average", "Subtract", "Multiply", "Maximum", "Minimum", "Concatenate"]
)
def test_merging_arrays_by_masks(name: str, which: tuple[bool, bool]) -> None:
    found = []
    for api in (keras, engine):
        pairs = zip((ONE, OTHER), which, strict=True)
        masked = [api.layers.Masking()(x) if mask else api.ops.convert_to_tensor(x) for x, mask in pairs]
        outputs = getattr(api.layers, name)()(masked)
        found.append((np.asarray(outputs), getattr(outputs, "_keras_mask", None)))
    (theirs, their_mask), (ours, our_mask) = found
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert (our_mask is None) == (their_mask is None)
    if our_mask is not None:
        np.testing.assert_array_equal(our_mask, their_mask)


def test_concatenated_steps_of_arrays() -> None:
    found = []
    for api in (keras, engine):
        outputs = api.layers.Concatenate(axis=1)([api.layers.Masking()(ONE), api.layers.Masking()(OTHER)])
        found.append(np.asarray(outputs._keras_mask))
    np.testing.assert_array_equal(*found)


def given(api: Any) -> Any:
    ids = api.Input((4,), dtype="int32")
    embedding = api.layers.Embedding(5, 3, embeddings_initializer="ones")
    vectors = embedding(ids)
    mean = api.layers.GlobalAveragePooling1D()(vectors * 2.0, mask=api.ops.not_equal(ids, 0))
    plain = api.layers.GlobalAveragePooling1D()(vectors)  # without the mask
    return api.Model(ids, [mean, plain])


def test_masks_in_calls() -> None:
    ids = np.array([[0, 1, 2, 3], [4, 4, 0, 2], [2, 0, 0, 0]])
    assert_all_close(given(engine).predict(ids, verbose=0), given(keras).predict(ids, verbose=0), rtol=1e-5)


def within(api: Any) -> Any:
    class Pooled(api.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = api.layers.Embedding(5, 3, mask_zero=True, embeddings_initializer="ones")
            self.pool = api.layers.GlobalAveragePooling1D()

        def call(self, ids: Any) -> Any:
            mask = self.embedding.compute_mask(ids)
            vectors = self.embedding(ids) * api.ops.cast(ids, "float32")[..., None] + 1.0
            return self.pool(vectors, mask=mask)

    return Pooled()


def test_masks_in_calls_within_models() -> None:
    ids = np.array([[0, 1, 2, 3], [4, 4, 0, 2], [2, 0, 0, 0]])
    theirs, ours = (within(api).predict(ids, verbose=0) for api in (keras, engine))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_mask_of_another_shape_is_refused() -> None:
    x, mask = engine.Input((4, 2)), engine.Input((3,))
    with pytest.raises(ValueError, match=r"`mask` must have shape \(n, 4\)"):
        engine.layers.GlobalAveragePooling1D()(x, mask=mask)


@pytest.mark.parametrize("name", ["Add", "Multiply", "Average", "Maximum", "Concatenate"])
@pytest.mark.parametrize(
    ("inputs", "mask", "message"),
    [
        ("both", "array", "`mask` should be a list"),
        ("one", "list", "`inputs` should be a list"),
        ("both", "short", "should have the same length"),
    ],
)
def test_mistakes_in_compute_mask(name: str, inputs: str, mask: str, message: str) -> None:
    masks = {"array": np.ones((2, 4), bool), "list": [None, None], "short": [np.ones((2, 4), bool)]}
    for api in (keras, engine):
        symbols = [api.Input((4, 5)), api.Input((4, 5))]
        layer = getattr(api.layers, name)()
        with pytest.raises(ValueError, match=message):
            layer.compute_mask(symbols if inputs == "both" else symbols[0], masks[mask])
