"""Each kind of layer, called on symbols, on arrays and while a gradient tape records: the same numbers for the same mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, ops

X = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
MASK = np.array([[True, True, False], [True, False, False], [True, True, True], [False, True, True]])
# A row of zeros is one that `Masking` leaves out.
MASKED = np.where(MASK[..., np.newaxis], X, np.float32(0))


class Kept(layers.Layer):
    """Sums the timesteps that the mask keeps; `call` is recorded."""

    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs if mask is None else inputs * ops.cast(ops.expand_dims(mask, -1), "float32")


class KeptByValues(Kept):
    """The same, but `call` needs numbers, so that it isn't recorded."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        float(np.asarray(inputs).sum())
        return super().call(inputs, mask)


class KeptWithGradient(Kept):
    """The same, with a gradient that is written by hand."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs if mask is None else inputs * np.asarray(mask, "float32")[..., np.newaxis]

    def gradient(self, inputs: Any, upstream: Any, mask: Any = None) -> Any:
        return self.call(upstream, mask)


def library() -> layers.Layer:
    return layers.GlobalAveragePooling1D()


KINDS = [library, Kept, KeptByValues, KeptWithGradient]


def expected(layer: layers.Layer) -> Any:
    if isinstance(layer, Kept):
        return MASKED
    return MASKED.sum(axis=1) / MASK.sum(axis=1, keepdims=True)


def on_symbols(layer: layers.Layer, x: Any, mask: Any) -> Any:
    if mask is None:
        inputs = keras.Input((3, 2))
        return keras.Model(inputs, layer(layers.Masking()(inputs))).predict(x, verbose=0)
    inputs = keras.Input((3, 2)), keras.Input((3,), dtype="bool")
    return keras.Model(inputs, layer(inputs[0], mask=inputs[1])).predict((x, mask), verbose=0)


def on_arrays(layer: layers.Layer, x: Any, mask: Any) -> Any:
    return layer(layers.Masking()(x)) if mask is None else layer(x, mask=mask)


def while_recording(layer: layers.Layer, x: Any, mask: Any) -> Any:
    with keras.GradientTape():
        return np.asarray(on_arrays(layer, x, mask))


@pytest.mark.parametrize("way", [on_symbols, on_arrays, while_recording])
@pytest.mark.parametrize("kind", KINDS)
def test_the_argument_mask(kind: Callable[[], layers.Layer], way: Callable[..., Any]) -> None:
    if kind is KeptByValues and way is on_symbols:  # only a recorded `call` has several symbols
        return
    layer = kind()
    np.testing.assert_allclose(way(layer, X, MASK), expected(layer), rtol=1e-6)


@pytest.mark.parametrize("way", [on_symbols, on_arrays, while_recording])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_of_the_inputs(kind: Callable[[], layers.Layer], way: Callable[..., Any]) -> None:
    seen: list[Any] = []

    class Watched(KeptByValues):
        def call(self, inputs: Any, mask: Any = None) -> Any:
            seen.append(None if mask is None else np.asarray(mask).astype(bool))
            return super().call(inputs, mask)

    layer = Watched() if kind is KeptByValues else kind()
    np.testing.assert_allclose(way(layer, MASKED, None), expected(layer), rtol=1e-6)
    if kind is KeptByValues:
        np.testing.assert_array_equal(seen[-1], MASK)


class Joined(layers.Layer):
    """Adds what the masks of its inputs keep; `call` is recorded."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        named = isinstance(inputs, dict)
        values = inputs.values() if named else inputs
        masks = [None] * len(inputs) if mask is None else mask.values() if named else mask
        kept = [
            each if kept is None else each * ops.cast(ops.expand_dims(kept, -1), "float32")
            for each, kept in zip(values, masks, strict=True)
        ]
        return kept[0] + 2 * kept[1]


class JoinedWithLoss(Joined):
    """The same, but `call` runs with the arrays while a tape records, as it adds to the loss."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        outputs = super().call(inputs, mask)
        self.add_loss(ops.mean(outputs))
        return outputs


class JoinedByMasks(Joined):
    """The same, but `call` needs the masks, so that it can't be recorded without them."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            raise ValueError("no masks")
        return super().call(inputs, mask)


@pytest.mark.parametrize("kind", [Joined, JoinedWithLoss, JoinedByMasks])
@pytest.mark.parametrize("second", [MASK[::-1], None], ids=["both", "one"])
@pytest.mark.parametrize("form", [list, tuple, lambda each: dict(zip("ab", each, strict=True))])
def test_masks_of_several_inputs(kind: Any, second: Any, form: Any) -> None:
    others = X[::-1].copy()
    kept = np.ones_like(MASK) if second is None else second
    wanted = X * MASK[..., np.newaxis] + 2 * others * kept[..., np.newaxis]
    masks = form([MASK, second])
    np.testing.assert_allclose(kind()(form([X, others]), mask=masks), wanted, rtol=1e-6)
    variable = keras.Variable(X)
    with keras.GradientTape() as tape:
        outputs = kind()(form([variable * 1.0, others]), mask=masks)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-6)
    np.testing.assert_array_equal(
        tape.gradient(outputs, variable), np.broadcast_to(MASK[..., np.newaxis], X.shape)
    )
    with keras.GradientTape() as tape:
        flags = (
            None if second is None else ops.convert_to_tensor(variable) * 0 + second[..., np.newaxis] > 0.5
        )
        outputs = kind()(
            form([variable * 1.0, others]), mask=form([MASK, None if flags is None else flags[..., 0]])
        )
    np.testing.assert_allclose(outputs, wanted, rtol=1e-6)


def test_training_that_is_true_by_default() -> None:
    class Recorded(layers.Layer):
        def call(self, inputs: Any, training: bool = True) -> Any:
            return inputs * (3 if training else 2)

    class ByValues(Recorded):
        def call(self, inputs: Any, training: bool = True) -> Any:
            float(np.asarray(inputs).sum())
            return super().call(inputs, training)

    class WithGradient(Recorded):
        def gradient(self, inputs: Any, upstream: Any, training: bool = True) -> Any:
            return upstream * (3 if training else 2)

    for kind in (Recorded, ByValues, WithGradient):
        for given, factor in (({}, 3), ({"training": True}, 3), ({"training": False}, 2)):
            np.testing.assert_array_equal(kind()(X, **given), X * factor)
            with keras.GradientTape() as tape:
                x = ops.convert_to_tensor(X)
                tape.watch(x)
                outputs = kind()(x, **given)
            np.testing.assert_array_equal(outputs, X * factor)
            np.testing.assert_array_equal(tape.gradient(outputs, x), np.full_like(X, factor))
        inputs = keras.Input((3, 2))
        model = keras.Model(inputs, kind()(inputs))
        np.testing.assert_array_equal(model(X), X * 3)
        np.testing.assert_array_equal(model.predict(X, verbose=0), X * 2)


@pytest.mark.parametrize("kind", [library, Kept, KeptWithGradient])
@pytest.mark.parametrize("before", [layers.Dropout, layers.ReLU, None])
def test_a_symbolic_mask_of_a_model_that_is_called(kind: Callable[[], layers.Layer], before: Any) -> None:
    inputs = keras.Input((3, 2)), keras.Input((3,), dtype="bool")
    layer = kind()
    if before is None:
        outputs = layer(inputs[0], mask=inputs[1])
    elif before is layers.Dropout:  # the mask passes through it
        outputs = layer(layers.Dropout(0.5)(inputs[0], mask=inputs[1]))
    else:
        outputs = layer(before(negative_slope=1.0)(inputs[0]), mask=inputs[1])
    model = keras.Model(inputs, outputs)
    np.testing.assert_allclose(model([X, MASK]), expected(layer), rtol=1e-6)
    np.testing.assert_allclose(model.predict([X, MASK], verbose=0), expected(layer), rtol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch([X, MASK]), expected(layer), rtol=1e-6)
    with keras.GradientTape():
        np.testing.assert_allclose(model([X, MASK]), expected(layer), rtol=1e-6)


def test_a_constant_mask_of_symbols_is_refused() -> None:
    for kind in (library, KeptWithGradient):
        layer = kind()
        with pytest.raises(
            TypeError, match=rf"`mask` of layer '{layer.name}' must be symbolic .* make it an Input"
        ):
            layer(keras.Input((3, 2)), mask=MASK[:1])


@pytest.mark.parametrize("axis", [-1, 1, (1, 2)])
@pytest.mark.parametrize("kept", [X > 0, (X > 0).astype("float32"), MASK[..., np.newaxis], X[:1] > 0])
def test_a_softmax_of_what_a_mask_keeps(axis: Any, kept: Any) -> None:
    flags = np.broadcast_to(kept != 0, X.shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    exponentials = np.where(flags, np.exp(X.astype(float)), 0)
    sums = exponentials.sum(axes, keepdims=True)
    wanted = exponentials / np.where(sums == 0, 1, sums)
    layer = layers.Softmax(axis)
    np.testing.assert_allclose(layer(X, mask=kept), wanted, rtol=1e-5)
    variable = keras.Variable(X)
    with keras.GradientTape() as tape:
        outputs = layer(variable * 1.0, mask=kept)
        loss = ops.sum(outputs * X)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-5)
    slope = wanted * (X - (wanted * X).sum(axes, keepdims=True))
    np.testing.assert_allclose(tape.gradient(loss, variable), slope, rtol=1e-4, atol=1e-6)
    if len(kept) == len(X):
        inputs = keras.Input((3, 2)), keras.Input(kept.shape[1:], dtype=kept.dtype.name)
        model = keras.Model(inputs, layer(inputs[0], mask=inputs[1]))
        np.testing.assert_allclose(model([X, kept]), wanted, rtol=1e-5)
        np.testing.assert_allclose(model.predict([X, kept], verbose=0), wanted, rtol=1e-5)


@pytest.mark.parametrize("wrong", [(X > 0)[np.newaxis], MASK], ids=["more axes", "timesteps"])
def test_a_mask_that_does_not_fit_a_softmax(wrong: Any) -> None:
    message = (
        r"`mask` must have a shape that can be broadcast to that of the inputs, \(4, 3, 2\), got \("
        + str(wrong.shape)[1:-1]
    )
    with pytest.raises(ValueError, match=message):
        layers.Softmax()(X, mask=wrong)
    with keras.GradientTape(), pytest.raises(ValueError, match=message):
        layers.Softmax()(keras.Variable(X) * 1.0, mask=wrong)


def test_a_softmax_with_a_mask_penalizes_what_it_returns() -> None:
    layer = layers.Softmax(activity_regularizer=keras.regularizers.L1(1.0))
    kept = np.array([[True, False], [True, True]])
    outputs = layer(np.zeros((2, 2), "float32"), mask=kept)
    np.testing.assert_allclose(outputs, [[1.0, 0.0], [0.5, 0.5]])
    np.testing.assert_allclose(layer.losses, [1.0])
    layer.activity_regularizer = keras.regularizers.L2(1.0)
    layer(np.zeros((2, 2), "float32"), mask=kept)
    np.testing.assert_allclose(layer.losses, [(1.0 + 0.5) / 2])


@pytest.mark.parametrize("kind", KINDS)
def test_several_inputs_are_refused_by_layers_with_one(kind: Callable[[], layers.Layer]) -> None:
    if kind in (Kept, KeptByValues):  # whose `call` decides
        return
    with pytest.raises(ValueError, match="takes one input, got a list of 2"):
        kind()([keras.Input((3, 2)), keras.Input((3, 2))])
    with pytest.raises(ValueError, match="takes one input, got a list of 2"):
        kind()([keras.Input((3, 2)), X])


def test_a_layer_with_a_gradient_by_hand_takes_no_symbols_as_further_arguments() -> None:
    class Scaled(layers.Layer):
        def call(self, inputs: Any, by: Any) -> Any:
            return inputs * by

        def gradient(self, inputs: Any, upstream: Any, by: Any) -> Any:
            return upstream * by

    for inputs in (X, keras.Input((3, 2))):
        with pytest.raises(ValueError, match=r"`by` of layer .* stands for what will come out of a model"):
            Scaled()(inputs, by=keras.Input((3, 2)))


def test_penalties_on_outputs_of_a_layer_that_a_nested_model_uses_twice_come_twice() -> None:
    layer = layers.Activation("linear", activity_regularizer=keras.regularizers.L1(1.0))
    inputs = keras.Input((2,))
    inner = keras.Model(inputs, layer(layer(inputs)))
    outer = keras.Model(inputs, inner(inputs))
    for model in (inner, outer):
        model(np.ones((1, 2), "float32"))
        assert model.losses == [2.0, 2.0]


MERGING = [
    layers.Add(),
    layers.Subtract(),
    layers.Multiply(),
    layers.Average(),
    layers.Maximum(),
    layers.Minimum(),
    layers.Concatenate(),
    layers.Dot(axes=1),
]


@pytest.mark.parametrize("layer", MERGING, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("beside", ["array", "variable", "watched", "computed"])
def test_merging_layers_on_a_tape_pass_gradients_on_beside_any_input(layer: Any, beside: str) -> None:
    draw = np.random.default_rng(5)
    x, other, factors = (draw.normal(size=(4, 3)).astype(np.float32) for _ in range(3))
    weight = keras.Variable(x)
    with keras.GradientTape() as tape:
        total = keras.ops.sum(layer([weight * 1.0, keras.Variable(other) * 1.0]) * factors[:, :1])
    expected = tape.gradient(total, weight)
    with keras.GradientTape() as tape:
        tape.watch(other)
        one = {"array": x, "variable": weight, "watched": x, "computed": weight * 1.0}[beside]
        if beside in ("array", "watched"):
            tape.watch(x)
        total = keras.ops.sum(layer([one, other if beside == "watched" else other.tolist()]) * factors[:, :1])
    found = tape.gradient(total, x if beside in ("array", "watched") else weight)
    assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()


def test_merging_layers_read_what_a_tape_has_recorded_beside_arrays_after_its_block() -> None:
    weight = keras.Variable(np.ones((4, 3), np.float32))
    with keras.GradientTape(persistent=True) as tape:
        recorded = weight * 2.0
    joined = layers.Add()([np.ones((4, 3), np.float32), recorded])
    assert np.asarray(joined).tolist() == [[3.0] * 3] * 4
    assert np.asarray(tape.gradient(recorded, weight)).tolist() == [[2.0] * 3] * 4


def test_a_merging_layer_on_a_tape_adds_its_penalty_on_outputs_to_the_losses() -> None:
    first, second = keras.Input((3,)), keras.Input((3,))
    kernel = layers.Dense(3)
    join = layers.Add(activity_regularizer=keras.regularizers.L2(0.5))
    model = keras.Model([first, second], join([kernel(first), second]))
    x = np.random.default_rng(6).normal(size=(2, 4, 3)).astype(np.float32)
    outputs = np.asarray(model([x[0], x[1]]))
    with keras.GradientTape() as tape:
        model([x[0], x[1]], training=True)
        loss = keras.ops.sum(model.losses)
    penalty = 0.5 * np.square(outputs.astype(np.float64)).sum() / 4
    np.testing.assert_allclose(float(loss), penalty, rtol=1e-6)
    expected = x[0].astype(np.float64).T @ outputs / 4
    np.testing.assert_allclose(np.asarray(tape.gradient(loss, kernel.kernel)), expected, rtol=1e-5, atol=1e-6)
    with keras.GradientTape():
        join([x[0], x[1]])
    np.testing.assert_allclose(float(join.losses[0]), 0.5 * np.square(x.sum(axis=0)).sum() / 4, rtol=1e-6)


def test_merging_layers_on_a_tape_refuse_inputs_of_different_numbers_of_samples() -> None:
    with keras.GradientTape(), pytest.raises(ValueError, match="number of samples"):
        layers.Add()([np.ones((2, 3)), np.ones((4, 3))])
