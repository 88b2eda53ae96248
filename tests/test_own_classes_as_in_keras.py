"""Classes of users as Keras makes, builds, calls and saves them: layers without a config, `build` with several shapes, losses that are called."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from common import compiled

import engine as keras
from engine import layers, ops


class Twice(layers.Layer):
    """A layer that stores its argument under no name."""

    def __init__(self, units: int, scale: Any = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.dense = layers.Dense(units)
        self.factor = scale

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs) * self.factor


def test_a_layer_without_get_config_is_made_again_from_the_arguments_of_its_constructor(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Twice(3, scale=5.0, name="twice")(inputs))
    assert model.layers[1].get_config() == {
        "name": "twice", "trainable": True, "dtype": "float32", "units": 3, "scale": 5.0,
    }  # fmt: skip
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Twice": Twice})
    x = np.arange(8, dtype="float32").reshape(2, 4)
    np.testing.assert_array_equal(again(x), model(x))
    assert keras.models.clone_model(model).layers[1].factor == 5.0


def test_an_argument_that_no_config_holds_is_an_error_before_a_file_is_written(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Twice(3, scale=np.ones(3))(inputs))
    with pytest.raises(NotImplementedError, match=r"Twice has .* a config can't hold, scale: .* get_config"):
        model.save(tmp_path / "model.keras")
    assert not [*tmp_path.iterdir()]

    class Known(Twice):
        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": 3, "scale": float(self.factor)}

    assert Known(3, scale=np.ones(())).get_config()["scale"] == 1.0


def test_arguments_of_a_class_that_derives_from_a_layer_of_the_library_stay_its_own():
    class Noisy(layers.Dropout):
        def __init__(self, rate: float, function: Any, **options: Any) -> None:
            super().__init__(rate, **options)
            self.function = function

        def call(self, inputs: Any, training: bool | None = None) -> Any:
            return self.function(super().call(inputs, training=training))

    np.testing.assert_array_equal(Noisy(0.5, ops.negative)(np.ones((1, 2))), [[-1, -1]])


class Sum(layers.Layer):
    """A layer whose `build` gets the shapes of two arguments."""

    def build(self, first_shape: Any, second_shape: Any = None) -> None:
        self.shapes = first_shape, second_shape
        self.kernel = self.add_weight(shape=(first_shape[-1], second_shape[-1]), initializer="ones")

    def call(self, first: Any, second: Any) -> Any:
        return ops.matmul(first, self.kernel) + second


A, B = np.ones((2, 3), "float32"), np.full((2, 4), 2.0, "float32")


@pytest.mark.parametrize(
    ("call", "samples"),
    [
        (lambda layer: layer(A, B), 2),
        (lambda layer: layer(A, second=B), 2),
        (lambda layer: layer.build((None, 3), (None, 4)), None),
        (lambda layer: layer.build(second_shape=(None, 4), first_shape=(None, 3)), None),
        (lambda layer: layer(keras.Input((3,)), second=keras.Input((4,))), None),
    ],
)
def test_build_gets_the_shapes_of_the_arguments_by_name(call, samples):
    layer = Sum()
    call(layer)
    assert layer.shapes == ((samples, 3), (samples, 4))
    np.testing.assert_array_equal(layer(A, B), np.full((2, 4), 5.0))
    assert len(layer.weights) == 1


def test_a_layer_with_shapes_by_name_is_trained_and_loaded(tmp_path):
    inputs = [keras.Input((3,)), keras.Input((4,))]
    model = compiled(keras.Model(inputs, Sum()(inputs[0], second=inputs[1])), "sgd", "mse")
    model.fit([A, B], B, verbose=0)
    assert (model.get_weights()[0] != 1).all()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Sum": Sum})
    np.testing.assert_array_equal(again([A, B]), model([A, B]))


def test_a_parameter_of_build_with_another_name_is_an_error():
    class Other(Sum):
        def build(self, first_shape: Any, third_shape: Any = None) -> None:
            pass

    for call in (lambda layer: layer(A, B), lambda layer: layer(keras.Input((3,)), keras.Input((4,)))):
        with pytest.raises(ValueError, match=r"'third_shape', but .* such as 'first_shape'"):
            call(Other())


def test_build_gets_a_list_of_shapes_as_it_is_given():
    class First(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight(shape=(input_shape[1][-1],))

        def call(self, inputs: Any) -> Any:
            return inputs[1] * self.kernel

    layer = First()
    layer.build([(None, 3), (None, 4)])
    assert layer.weights[0].shape == (4,)
    assert layer([A, B]).shape == (2, 4)


def test_build_without_a_shape_serves_inputs_of_every_shape():
    class Scale(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.given = input_shape
            self.factor = self.add_weight(shape=(), initializer="ones")

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

    layer = Scale()
    layer.build(None)
    assert layer.given is None
    for x in (A, np.ones((2, 3, 5))):
        np.testing.assert_array_equal(layer(x), x)
    assert len(layer.weights) == 1
    with pytest.raises(TypeError, match="needs `input_shape`"):
        Scale().build()
    with pytest.raises(TypeError, match="needs `input_shape`"):
        layers.Dense(2).build(None)


def test_weights_that_are_made_before_the_constructor_of_the_base_class_are_trained():
    class Early(layers.Layer):
        def __init__(self) -> None:
            self.factor = keras.Variable(np.ones(2))
            self.dense = layers.Dense(2)
            super().__init__()

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs) * self.factor

    layer = Early()
    model = keras.Sequential([keras.Input((3,)), layer])
    assert len(layer.weights) == len(model.trainable_weights) == 3
    model.compile("sgd", "mse")
    model.fit(A, np.zeros((2, 2)), verbose=0)
    assert (np.asarray(layer.factor) != 1).any()


def test_a_layer_without_call_is_an_error_and_not_the_identity():
    class Misspelled(layers.Layer):
        def forward(self, inputs: Any) -> Any:
            return inputs * 2

    for inputs in (A, keras.Input((3,)), None):
        with pytest.raises(NotImplementedError, match="Misspelled has no `call`"):
            Misspelled()(inputs)
    with pytest.raises(NotImplementedError, match="neither `call` nor `compute_output_shape`"):
        Misspelled().compute_output_shape((None, 3))

    class Named(layers.Identity):
        pass

    np.testing.assert_array_equal(Named()(A), A)


def test_the_penalty_on_the_outputs_of_no_sample_is_zero():
    class Same(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    for layer in (Same(activity_regularizer="l2"), layers.Dense(2, activity_regularizer="l2")):
        layer(np.ones((0, 3), "float32"))
        assert layer.losses == [0.0]


def test_compute_output_shape_keeps_the_number_of_samples():
    assert layers.Dense(4).compute_output_shape((7, 3)) == (7, 4)
    assert layers.Concatenate().compute_output_shape([(None, 3), (7, 3)]) == (7, 6)
    assert keras.Sequential([layers.Dense(4), layers.Dense(8)]).compute_output_shape((1, 2)) == (1, 8)
    assert keras.Sequential([keras.Input((2,)), layers.Dense(8)]).compute_output_shape((None, 2)) == (None, 8)


class Tenfold(keras.losses.MeanSquaredError):
    """A loss that overrides `__call__`, and counts weights in a way of its own."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        loss = 10 * super().__call__(y_true, y_pred)
        return loss if sample_weight is None else loss + ops.sum(sample_weight)


def test_training_calls_a_loss_that_overrides_its_call():
    x, y = np.arange(12, dtype="float32").reshape(4, 3) / 10, np.ones((4, 2), "float32")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.01), Tenfold(), metrics=["mae"])
    errors = x.astype(float) @ np.ones((3, 2)) - y
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(10 * np.mean(errors**2), rel=1e-6)
    assert logs["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-6)
    weighted = model.evaluate(x, y, sample_weight=np.array([1, 2, 3, 4]), verbose=0, return_dict=True)
    assert weighted["loss"] == pytest.approx(10 * np.mean(errors**2) + 10, rel=1e-6)
    model.fit(x, y, verbose=0)
    np.testing.assert_allclose(
        model.get_weights()[0], 1 - 0.01 * 10 * 2 * x.T @ errors / errors.size, rtol=1e-5
    )


def test_a_loss_that_overrides_its_call_needs_no_losses_of_samples():
    class Total(keras.losses.Loss):
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return ops.sum(y_pred)

    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_initializer="ones")])
    model.compile("sgd", Total())
    assert model.fit(A, B[:, :2], verbose=0).history["loss"] == [12.0]
    np.testing.assert_allclose(model.get_weights()[0], np.full((3, 2), 1 - 0.01 * 2), rtol=1e-6)


def test_a_subclass_of_functional_models_is_made_again_with_its_arguments(tmp_path):
    class Tagged(keras.Model):
        def __init__(self, *args: Any, tag: int = 1, **options: Any) -> None:
            super().__init__(*args, **options)
            self.tag = tag

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "tag": self.tag}

    inputs = keras.Input((3,))
    model = Tagged(inputs=inputs, outputs=layers.Dense(2)(inputs), tag=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Tagged": Tagged})
    for again in (loaded, Tagged.from_config(model.get_config()), keras.models.clone_model(model)):
        assert isinstance(again, Tagged)
        assert again.tag == 3
    np.testing.assert_array_equal(loaded(A), model(A))


def test_one_array_in_a_list_is_one_of_several_inputs():
    inputs = [keras.Input((3,)), keras.Input((4,))]
    model = keras.Model(inputs, [inputs[0] + 1, inputs[1] * 2])
    for outputs in (model(([A], B)), model.predict(([A], B), verbose=0)):
        np.testing.assert_array_equal(outputs[0], A + 1)
        np.testing.assert_array_equal(outputs[1], B * 2)


def test_errors_that_keras_raises_as_value_errors_are_these_too():
    inputs = {name: keras.Input((3,), name=name) for name in ("a", "b")}
    model = keras.Model(inputs, inputs["a"] + inputs["b"])
    for call in (
        lambda: model(A),
        lambda: model({"a": A, "b": None}),
        lambda: keras.Model({"a": "a"}, inputs["a"]),
        lambda: keras.Sequential().add({}),
        lambda: layers.HashedCrossing(3)((np.array([1.0]), np.array([1.0]))),
    ):
        with pytest.raises(ValueError, match=r"must|made of"):
            call()
        with pytest.raises(TypeError, match=r"must|made of"):
            call()


def test_get_config_of_a_model_adds_to_that_of_its_base_class(tmp_path):
    class Around(keras.Model):
        def __init__(self, inner: Any, **options: Any) -> None:
            super().__init__(**options)
            self.inner = inner

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

        @classmethod
        def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
            inner = keras.saving.deserialize_keras_object(config["inner"])
            return cls(**{**config, "inner": inner})

    model = Around(keras.Sequential([layers.Dense(2)]))
    outputs = model(A)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Around": Around})
    np.testing.assert_array_equal(again(A), outputs)


def test_a_layer_without_call_holds_layers_and_weights():
    class Inner(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.factor = self.add_weight(shape=(2,), name="factor")

    class Outer(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

    layer = Outer()
    layer.build(None)
    assert [weight.shape for weight in layer.weights] == [(2,)]


def test_layers_of_single_numbers_are_built_for_a_batch_of_them():
    table = layers.Embedding(4, 3)
    table.build((2,))
    assert table(np.array([1, 2])).shape == (2, 3)
    crossing = layers.HashedCrossing(3)
    crossing.build(((2,), (2,)))
    assert crossing.built
    with pytest.raises(ValueError, match="must start with the batch axis"):
        layers.Dense(2).build((2,))


def test_a_config_holds_descriptions_of_what_get_config_returns():
    class Holder(Twice):
        def get_config(self) -> dict[str, Any]:
            return {"dense": self.dense, "functions": [ops.relu], "shape": (1, 2)}

    config = keras.saving.serialize_keras_object(Holder(3))["config"]
    assert config["dense"]["config"]["units"] == 3
    assert config["functions"][0]["config"] == "relu"
    assert config["shape"] == (1, 2)


def test_bytes_slices_and_the_ellipsis_are_serialized():
    for value in (b"hello", ..., slice(None, 20, 1), (1, (2, b"3"))):
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(value)))
        assert keras.saving.deserialize_keras_object(config) == value


def test_the_spec_of_outputs_is_what_a_layer_of_users_says_of_their_shapes():
    class Told(layers.Layer):
        def __init__(self, shapes: Any) -> None:
            super().__init__()
            self.shapes = shapes

        def call(self, x: Any) -> Any:
            raise RuntimeError("nobody calls this")

        def compute_output_shape(self, input_shape: Any) -> Any:
            return self.shapes(input_shape)

    x = keras.KerasTensor((2, 3))
    assert Told(lambda s: [*s, 4]).compute_output_spec(x).shape == (2, 3, 4)
    one, (two, three) = Told(lambda s: (s, [s, (None, 5)])).compute_output_spec(x)
    assert (one.shape, two.shape, three.shape) == ((2, 3), (2, 3), (None, 5))
    assert one.dtype == "float32"
    assert Told(lambda s: {"a": s}).compute_output_spec(x)["a"].shape == (2, 3)
    assert Told(lambda shapes: shapes[1]).compute_output_spec([x, keras.KerasTensor((7,))]).shape == (7,)
    assert layers.Discretization([0.0, 1.0]).compute_output_spec(x).dtype == "int32"  # one of the library


def test_build_gets_the_number_of_samples_of_arrays_and_none_of_symbols():
    class Two(layers.Layer):
        def build(self, second_shape: Any, first_shape: Any) -> None:
            self.seen = first_shape, second_shape

        def call(self, first: Any, second: Any) -> Any:
            return first[:, 0] + second[:, 0]

    class One(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.seen = input_shape

        def call(self, inputs: Any) -> Any:
            return inputs

    x, y = np.ones((4, 1)), np.ones((4, 2))
    for layer, arrays, wanted in (
        (Two(), (x, y), ((4, 1), (4, 2))),
        (One(), (x,), (4, 1)),
        (One(), ([x, y],), [(4, 1), (4, 2)]),
        (Two(), (keras.Input((1,)), keras.Input((2,))), ((None, 1), (None, 2))),
        (One(), (keras.Input((1,)),), (None, 1)),
    ):
        layer(*arrays)
        assert layer.seen == wanted
    layer = One()
    layer(x)
    assert layer(np.ones((7, 1))).shape == (7, 1)
    assert layer.seen == (4, 1)


def test_a_registered_class_without_from_config_is_named(tmp_path):
    class Plain:
        def get_config(self) -> dict[str, Any]:
            return {}

    config = keras.saving.serialize_keras_object(Plain())
    with pytest.raises(TypeError, match="Plain'> has no `from_config`"):
        keras.saving.deserialize_keras_object(config, custom_objects={"Plain": Plain})

    class Twice(Plain):
        def __call__(self, x: Any) -> Any:
            return 2 * x

    x = keras.Input((3,))
    keras.Model(x, layers.Dense(2, activation=Twice())(x)).save(tmp_path / "m.keras")
    with pytest.raises(TypeError, match=r"m\.keras: .*Twice'> has no `from_config`"):
        keras.models.load_model(tmp_path / "m.keras", custom_objects={"Twice": Twice})


def test_an_error_in_a_users_class_is_no_damage_of_the_file(tmp_path):
    class Outer(layers.Layer):
        def __init__(self, inner: Any, **options: Any) -> None:
            super().__init__(**options)
            self.inner = inner

        def call(self, x: Any) -> Any:
            return self.inner(x)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "inner": self.inner}

    class Reading(Outer):
        def call(self, x: Any) -> Any:
            return x if callable(self.inner) else json.loads(self.inner)

    x = keras.Input((3,))
    for cls in (Outer, Reading):  # the error of the second one comes from a module of Python
        keras.Model(x, cls(layers.Dense(2))(x)).save(tmp_path / "m.keras")
        message = r"m\.keras can't be read: test_own_classes_as_in_keras\.py:\d+ raised TypeError: .*dict.*deserialize_keras"
        with pytest.raises(TypeError, match=message):
            keras.models.load_model(tmp_path / "m.keras", custom_objects={"Outer": Outer, "Reading": Reading})


def test_a_data_set_of_unknown_length_never_ends():
    class Endless(keras.utils.PyDataset):
        def __getitem__(self, index: int) -> int:
            return index

    assert [*itertools.islice(Endless(), 12)] == [*range(12)]
    with pytest.raises(NotImplementedError, match="must have `__len__`"):
        _ = Endless().num_batches


def test_operations_of_a_functional_model():
    inputs = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(inputs, layers.Dense(2)(inputs[0] + inputs[1]))
    assert len(model.operations) == 4
    assert [each for each in model.operations if each in model.layers] == model.layers
    with pytest.raises(AttributeError, match="made of symbols"):
        _ = keras.Sequential().operations


def test_a_model_is_loaded_whose_compile_has_arguments_of_its_own(tmp_path):
    class Compiled(keras.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense = layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

        def compile(self, how: Any, error: Any = None) -> None:
            super().compile(optimizer=how, loss=error)

    model = compiled(Compiled(), "sgd", "mse")
    model.fit(A, np.ones((2, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=r"isn't compiled, as the compile\(\) of Compiled has other"):
        again = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Compiled": Compiled})
    assert not again.compiled
    np.testing.assert_array_equal(again.predict(A, verbose=0), model.predict(A, verbose=0))


@pytest.mark.parametrize("join", [list, tuple, lambda arrays: dict(zip("ab", arrays, strict=True))])
def test_a_sequential_refuses_several_arrays_that_its_first_layer_would_read(join):
    class Own(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs[0] + inputs[1]

    for layer in (Own(), layers.Concatenate()):
        model = keras.Sequential([layer, layers.Dense(1)])
        with pytest.raises(ValueError, match=r"takes one array, .* Model\(\[a, b\], outputs\)"):
            model(join([A, A]))
    assert keras.Sequential([layers.Dense(1)])([A[0], A[1]]).shape == (2, 1)


def test_an_error_of_call_is_gone_with_its_cause() -> None:
    """What `call` reads may change where nobody sees it."""

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.settings = layers.Dense(1), {}

        def call(self, x: Any) -> Any:
            return self.dense(x) * self.settings["factor"]

    for use in (lambda model: model(A), lambda model: model.predict(A, verbose=0)):
        model = Own()
        with pytest.raises(KeyError, match="factor"):
            use(model)
        model.settings["factor"] = 2.0
        np.testing.assert_array_equal(use(model), 2 * model.dense(A))


def test_a_frozen_layer_has_no_trainable_weights_whatever_the_layers_within_say() -> None:
    class Outer(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    outer = Outer()
    model = keras.Sequential([keras.Input((3,)), outer])
    outer.trainable = False
    outer.inner.trainable = True
    assert (outer.trainable_weights, outer.trainable_variables) == ([], [])
    assert outer.non_trainable_weights == outer.weights
    assert len(outer.inner.trainable_weights) == 2
    assert len(model.trainable_weights) == 2  # as in Keras: what is within asks the weights alone
