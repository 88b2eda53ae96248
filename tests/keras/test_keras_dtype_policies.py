"""Compares dtype policies with Keras."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import engine

APIS = pytest.mark.parametrize("api", [keras, engine], ids=lambda api: api.__name__)


@APIS
def test_the_policy_of_float32(api: Any) -> None:
    policy = api.DTypePolicy("float32")
    assert (policy.name, policy.compute_dtype, policy.variable_dtype) == ("float32",) * 3
    assert policy.quantization_mode is None
    assert repr(policy) == '<DTypePolicy "float32">'
    assert policy == api.DTypePolicy.from_config(policy.get_config())
    assert policy != "float32"
    config = api.dtype_policies.serialize(policy)
    assert config == keras.dtype_policies.serialize(keras.DTypePolicy("float32"))
    assert api.dtype_policies.deserialize(config) == policy
    for given in (None, "float32", policy, config):
        assert api.dtype_policies.get(given).name == "float32"


@APIS
def test_a_policy_as_the_dtype_of_an_object(api: Any) -> None:
    policy = api.DTypePolicy("float32")
    layer = api.layers.Dense(2, dtype=policy)
    assert (layer.dtype, layer.dtype_policy.name) == ("float32", "float32")
    assert api.losses.Huber(dtype=policy).dtype == "float32"
    assert api.metrics.AUC(dtype=policy).dtype == "float32"
    assert api.Sequential([layer]).dtype_policy.name == "float32"


@APIS
def test_the_policy_of_all_layers(api: Any) -> None:
    api.config.set_dtype_policy("float32")
    assert api.config.dtype_policy().name == "float32"
    api.mixed_precision.set_global_policy(api.mixed_precision.Policy("float32"))
    assert api.mixed_precision.dtype_policy().name == "float32"


@APIS
@pytest.mark.parametrize("wrong", ["nonsense", 3])
def test_what_is_no_policy(api: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"policy|must be 'float32'|Cannot|`dtype` must be"):
        api.config.set_dtype_policy(wrong)
    if isinstance(wrong, str):
        with pytest.raises(ValueError, match=r"policy|must be 'float32'|Cannot|`dtype` must be"):
            api.DTypePolicy(wrong)


@pytest.fixture(autouse=True)
def _float32_again() -> Iterator[None]:
    yield
    for api in (keras, engine):
        api.config.set_dtype_policy("float32")


MIXED = pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])


@APIS
@MIXED
def test_policies_of_mixed_precision(api: Any, name: str) -> None:
    policy = api.DTypePolicy(name)
    assert (policy.name, policy.compute_dtype, policy.variable_dtype) == (name, name[6:], "float32")
    assert repr(policy) == f'<DTypePolicy "{name}">'
    assert policy == api.DTypePolicy.from_config(policy.get_config()) != api.DTypePolicy("float32")
    config = api.dtype_policies.serialize(policy)
    assert config == keras.dtype_policies.serialize(keras.DTypePolicy(name))
    for given in (name, policy, config):
        assert api.dtype_policies.get(given).name == name


@APIS
@MIXED
def test_layers_are_made_with_the_policy_of_then(api: Any, name: str) -> None:
    before = api.layers.Dense(2)
    api.mixed_precision.set_global_policy(name)
    assert (
        api.config.dtype_policy().name == api.DTypePolicy().name == api.dtype_policies.get(None).name == name
    )
    layer, exact = api.layers.Dense(2), api.layers.Dense(2, dtype="float32")
    model = api.Sequential([api.Input((3,)), layer, exact])
    api.config.set_dtype_policy("float32")
    assert [each.dtype_policy.name for each in (before, layer, exact, model)] == [
        "float32",
        name,
        "float32",
        name,
    ]
    assert (layer.dtype, layer.compute_dtype, layer.variable_dtype, layer.input_dtype) == (
        "float32", name[6:], "float32", name[6:],
    )  # fmt: skip
    assert model.inputs[0].dtype == "float32"
    assert [weight.dtype for weight in layer.get_weights()] == [np.float32, np.float32]
    layer.dtype_policy = "float32"
    assert layer.compute_dtype == "float32"


@APIS
@MIXED
def test_configs_hold_the_policy(api: Any, name: str) -> None:
    model = api.Sequential(
        [api.Input((3,)), api.layers.Dense(2, dtype=name), api.layers.Dropout(0.1, dtype="float32")]
    )
    dense, dropout = model.layers
    assert dense.get_config()["dtype"] == keras.dtype_policies.serialize(keras.DTypePolicy(name))
    for copy in (api.Sequential.from_config(model.get_config()), api.models.clone_model(model)):
        assert [each.dtype_policy.name for each in copy.layers] == [name, "float32"]
    assert type(dense).from_config(dense.get_config()).compute_dtype == name[6:]
    inputs = api.Input((3,))
    functional = api.Model(inputs, api.layers.Dense(2, dtype=name)(inputs))
    assert api.Model.from_config(functional.get_config()).layers[-1].dtype_policy.name == name
    assert dropout.compute_dtype == "float32"


def a_model(api: Any, functional: bool = False) -> Any:
    inputs = api.Input((3,))
    stack = [api.layers.Dense(4, activation="relu"), api.layers.Dense(2, dtype="float32")]
    return api.Model(inputs, stack[1](stack[0](inputs))) if functional else api.Sequential([inputs, *stack])


@pytest.mark.filterwarnings("ignore:the CPU computes in float32")
@MIXED
@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_keep_the_policy(name: str, suffix: str, functional: bool, tmp_path: Any, rng: Any) -> None:
    """In both directions. Keras puts a LossScaleOptimizer around the optimizer of its model for "mixed_float16", whose files the
    engine reads."""
    x, y = rng.standard_normal((16, 3)).astype("float32"), rng.standard_normal((16, 2)).astype("float32")
    for source, target in ((keras, engine), (engine, keras)):
        source.config.set_dtype_policy(name)
        model = a_model(source, functional)
        source.config.set_dtype_policy("float32")
        model.compile("adam", "mse")
        model.fit(x, y, batch_size=4, verbose=0)
        model.save(tmp_path / f"model{suffix}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*absl.*|.*HDF5.*|.*compiled metrics.*")
            loaded = target.saving.load_model(tmp_path / f"model{suffix}")
        assert [each.dtype_policy.name for each in loaded.layers[-2:]] == [name, "float32"]
        unit = {"mixed_float16": 2.0**-11, "mixed_bfloat16": 2.0**-8}[name]
        ours, theirs = (np.asarray(each.predict(x, verbose=0), np.float32) for each in (model, loaded))
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=20 * unit)
        if suffix == ".keras":
            assert int(loaded.optimizer.iterations) == 4
            loaded.fit(x, y, batch_size=4, verbose=0)


def test_predictions_are_float32() -> None:
    """In Keras they have the dtype in which the last layer computes, such as float16."""
    engine.config.set_dtype_policy("mixed_float16")
    layer = engine.layers.Dense(2)
    assert layer(np.ones((1, 2))).dtype == np.float32
    assert (
        engine.Sequential([engine.Input((2,)), layer]).predict(np.ones((1, 2)), verbose=0).dtype == np.float32
    )


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16", "int32"])
def test_policies_of_other_dtypes_are_refused(name: str) -> None:
    advice = f"take 'mixed_{name}'" if name in {"float16", "bfloat16"} else "computes in float32"
    message = f"`dtype` must be 'float32', 'mixed_bfloat16', 'mixed_float16' or a DTypePolicy, got '{name}': .*{advice}"
    config = keras.dtype_policies.serialize(keras.DTypePolicy(name))
    for make in (engine.config.set_dtype_policy, engine.DTypePolicy, engine.dtype_policies.get, a_layer):
        with pytest.raises(ValueError, match=message):
            make(name)
    with pytest.raises(ValueError, match=message):
        a_layer(config)
    assert engine.config.dtype_policy().name == "float32"


def a_layer(dtype: Any) -> engine.layers.Layer:
    return engine.layers.Dense(2, dtype=dtype)


def test_policies_of_keras_are_taken() -> None:
    assert a_layer(keras.DTypePolicy("mixed_bfloat16")).dtype_policy == engine.DTypePolicy("mixed_bfloat16")


@APIS
def test_loss_scale_optimizer(api: Any) -> None:
    optimizer = api.mixed_precision.LossScaleOptimizer(
        api.optimizers.SGD(0.5, momentum=0.9), initial_scale=4.0
    )
    assert isinstance(optimizer, api.optimizers.LossScaleOptimizer)
    assert isinstance(optimizer.inner_optimizer, api.optimizers.SGD)
    assert (optimizer.initial_scale, optimizer.dynamic_growth_steps) == (4.0, 2000)
    optimizer.learning_rate = 0.25
    assert float(optimizer.inner_optimizer.learning_rate) == float(optimizer.learning_rate) == 0.25
    config = optimizer.get_config()
    assert list(config) == ["name", "inner_optimizer", "initial_scale", "dynamic_growth_steps"]
    copy = type(optimizer).from_config(config)
    assert (float(copy.learning_rate), copy.initial_scale) == (0.25, 4.0)
    assert api.optimizers.deserialize(api.optimizers.serialize(optimizer)).initial_scale == 4.0
    with pytest.raises(ValueError, match="clipnorm"):
        api.optimizers.LossScaleOptimizer(api.optimizers.SGD(), clipnorm=1.0)
    with pytest.raises(ValueError, match="dynamic"):
        api.optimizers.LossScaleOptimizer(api.optimizers.SGD(), dynamic=False)


def test_loss_scale_optimizer_takes_the_steps_of_keras(tmp_path: Any, rng: Any) -> None:
    """Its factors are powers of two, which change no bit of a gradient."""
    x, y = rng.standard_normal((16, 3)).astype("float32"), rng.standard_normal((16, 2)).astype("float32")
    theirs, ours = a_model(keras), a_model(engine)
    ours.set_weights(theirs.get_weights())
    for api, model in ((keras, theirs), (engine, ours)):
        model.compile(api.optimizers.LossScaleOptimizer(api.optimizers.Adam(0.01)), "mse")
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert [each.shape for each in ours.optimizer.variables] == [
        each.shape for each in theirs.optimizer.variables
    ]
    for model, target in ((theirs, engine), (ours, keras)):
        model.save(tmp_path / "model.keras")
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Skipping variable loading"
            )  # Keras looks for the state in a second place
            loaded = target.saving.load_model(tmp_path / "model.keras")
        for one, other in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6)
