"""Compares dtype policies with Keras. The engine has one, "float32"."""

from __future__ import annotations

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
    with pytest.raises(ValueError, match=r"policy|must be 'float32'|Cannot"):
        api.config.set_dtype_policy(wrong)
    if isinstance(wrong, str):
        with pytest.raises(ValueError, match=r"policy|must be 'float32'|Cannot"):
            api.DTypePolicy(wrong)


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_has_no_effect(name: str) -> None:
    """Scripts ask for it to be quick on a GPU. They run in float32, and are told so."""
    with pytest.warns(
        UserWarning, match=f"computes in float32, so that the dtype policy '{name}' has no effect"
    ):
        engine.mixed_precision.set_global_policy(name)
    assert engine.config.dtype_policy().name == "float32"
    with pytest.warns(UserWarning, match="has no effect"):
        assert engine.DTypePolicy(name).compute_dtype == "float32"
    assert engine.layers.Dense(2)(np.ones((1, 2))).dtype == np.float32


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16", "int32"])
def test_policies_of_other_dtypes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="`dtype` must be 'float32', in which the engine computes"):
        engine.config.set_dtype_policy(name)
