"""Tests of PyTorch's state dicts with NumPy arrays: keys, shapes, errors."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from conftest import same_weights
from exported import CASES
from random_graphs import RandomGraph

import engine as keras
from engine import layers as k


def model(*layers: k.Layer, shape: tuple[int, ...] = (4,)) -> keras.Sequential:
    return keras.Sequential([keras.Input(shape), *layers])


def mlp() -> keras.Sequential:
    return model(
        k.Flatten(), k.Dense(3, "relu", name="first"), k.Dropout(0.5), k.Dense(2, "softmax", name="second")
    )


def shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {key: value.shape for key, value in state.items()}


def test_keys_are_those_of_a_sequential_with_activations_of_their_own() -> None:
    state = mlp().to_torch_state_dict(numpy=True)
    assert shapes(state) == {"1.weight": (3, 4), "1.bias": (3,), "4.weight": (2, 3), "4.bias": (2,)}


def test_kernels_are_transposed_copies() -> None:
    network = mlp()
    state = network.to_torch_state_dict(numpy=True)
    np.testing.assert_array_equal(state["1.weight"], network.layers[1].get_weights()[0].T)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in state.values())
    before = network.get_weights()[0].copy()
    state["1.weight"][:] = 7
    np.testing.assert_array_equal(network.get_weights()[0], before)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (k.Dense(3, use_bias=False), (4,), {"weight": (3, 4)}),
        (k.Embedding(5, 3), (4,), {"weight": (5, 3)}),
        (k.LayerNormalization(), (4,), {"weight": (4,), "bias": (4,)}),
        (k.LayerNormalization(center=False), (4,), {"weight": (4,)}),
        (k.LayerNormalization(scale=False), (4,), {"weight": (4,), "bias": (4,)}),
        (k.LayerNormalization(axis=[1, 2]), (4, 3), {"weight": (4, 3), "bias": (4, 3)}),
        (k.LayerNormalization(center=False, scale=False), (4,), {}),
        (k.GroupNormalization(2, center=False), (4,), {"weight": (4,), "bias": (4,)}),
        (k.RMSNormalization(), (4,), {"weight": (4,)}),
        (k.PReLU(), (4,), {"weight": (4,)}),
        (k.PReLU(shared_axes=[1]), (3, 4), {"weight": (4,)}),
        (k.PReLU(shared_axes=[1, 2]), (3, 4), {"weight": (1,)}),
        (k.Normalization(), (4,), {"running_mean": (4,), "running_var": (4,), "num_batches_tracked": ()}),
        (
            k.BatchNormalization(),
            (4,),
            {"weight": (4,), "bias": (4,), "running_mean": (4,), "running_var": (4,), "num_batches_tracked": ()},
        ),
        (
            k.BatchNormalization(center=False, scale=False),
            (4,),
            {"running_mean": (4,), "running_var": (4,), "num_batches_tracked": ()},
        ),
    ],
)  # fmt: skip
def test_modules_have_the_entries_that_they_have_in_torch(
    layer: k.Layer, shape: tuple[int, ...], expected: dict[str, tuple[int, ...]]
) -> None:
    network = model(type(layer).from_config(layer.get_config()), shape=shape)
    state = network.to_torch_state_dict(["m"] if expected else [], numpy=True)
    assert shapes(state) == {f"m.{key}": size for key, size in expected.items()}


@pytest.mark.parametrize("name", sorted({*CASES} - {"prelu_shared"}))
def test_weights_come_back(name: str) -> None:
    network, other = CASES[name].model(), CASES[name].model()
    other.set_weights([np.zeros_like(array) for array in other.weights])
    other.from_torch_state_dict(network.to_torch_state_dict(numpy=True))
    counts = [np.zeros_like(array) if array.shape == () else array for array in network.get_weights()]
    network.set_weights(counts)  # counts of a Normalization layer, which PyTorch does not have
    assert same_weights(network, other)


def test_graphs_have_an_attribute_for_each_layer() -> None:
    x, y = keras.Input((4,)), keras.Input((4,))
    encoder = keras.Sequential([keras.Input((4,)), k.Dense(3, "relu"), k.Dense(2)], name="encoder")
    a, b = keras.Input((2,)), keras.Input((2,))
    inner = keras.Model([a, b], k.Add()([k.Dense(2, name="left.1")(a), b]), name="inner")
    same = k.Dense(2, use_bias=False, name="same")
    both = k.Concatenate()([same(inner([encoder(x), encoder(y)])), same(encoder(x))])
    network = keras.Model(
        [x, y], [k.Dense(1, "sigmoid", name="left.1")(both), k.BatchNormalization(name="left_1")(both)]
    )
    state = network.to_torch_state_dict(numpy=True)
    assert shapes(state) == {
        "encoder.0.weight": (3, 4), "encoder.0.bias": (3,), "encoder.2.weight": (2, 3), "encoder.2.bias": (2,),
        "inner.left_1.weight": (2, 2), "inner.left_1.bias": (2,), "same.weight": (2, 2),
        "left_1.weight": (1, 4), "left_1.bias": (1,),
        "left_1_1.weight": (4,), "left_1_1.bias": (4,), "left_1_1.running_mean": (4,), "left_1_1.running_var": (4,),
        "left_1_1.num_batches_tracked": (),
    }  # fmt: skip
    fresh = keras.models.clone_model(network)
    assert not same_weights(network, fresh)
    fresh.from_torch_state_dict(state)
    assert same_weights(network, fresh)


@pytest.mark.parametrize("seed", range(20))
def test_weights_of_random_graphs_come_back(seed: int) -> None:
    network = RandomGraph(keras, seed).model
    other = keras.models.clone_model(network)
    other.from_torch_state_dict(network.to_torch_state_dict(numpy=True))
    assert same_weights(network, other)


def test_names_of_modules() -> None:
    network = mlp()
    state = network.to_torch_state_dict(["fc1", "net.out"], numpy=True)
    assert list(state) == ["fc1.weight", "fc1.bias", "net.out.weight", "net.out.bias"]
    other = mlp()
    other.from_torch_state_dict(state, modules=("fc1", "net.out"))
    assert same_weights(network, other)


class Scale(k.Layer):
    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((input_shape[-1], 2), name="factor")

    def call(self, inputs: Any) -> Any:
        return inputs @ np.asarray(self.factor)


def test_layers_of_the_users_have_their_own_names() -> None:
    network = model(Scale(), k.Dense(1))
    state = network.to_torch_state_dict(numpy=True)
    assert shapes(state) == {"0.factor": (4, 2), "1.weight": (1, 2), "1.bias": (1,)}
    network.from_torch_state_dict(state | {"0.factor": np.full((4, 2), 3.0)})
    assert (network.get_weights()[0] == 3).all()


class Block(k.Layer):
    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = k.Dense(units, activation="tanh")
        self.norm = k.LayerNormalization(epsilon=1e-5)

    def build(self, input_shape: Any) -> None:
        self.gain = self.add_weight(shape=(self.hidden.units,), initializer="random_normal", name="gain")

    def call(self, x: Any) -> Any:
        return self.norm(self.hidden(x)) * self.gain


class Net(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Block(3), Block(5)]
        self.heads = {"kind": k.Dense(2), "size": k.Dense(1, use_bias=False)}
        self.first = self.blocks[0]  # which has its key already
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return {name: head(x) * self.scale for name, head in self.heads.items()}


def net() -> Net:
    found = Net()
    found(np.zeros((1, 4), np.float32))
    return found


BLOCKS = {
    f"blocks.{number}.{name}": shape
    for number, (inputs, units) in enumerate([(4, 3), (3, 5)])
    for name, shape in {
        "gain": (units,), "hidden.weight": (units, inputs), "hidden.bias": (units,), "norm.weight": (units,),
        "norm.bias": (units,),
    }.items()
}  # fmt: skip


def test_models_with_a_call_have_the_names_of_their_attributes() -> None:
    state = net().to_torch_state_dict(numpy=True)
    assert shapes(state) == {
        "scale": (), **BLOCKS, "heads.kind.weight": (2, 5), "heads.kind.bias": (2,), "heads.size.weight": (1, 5)
    }  # fmt: skip


def test_weights_of_models_with_a_call_come_back() -> None:
    keras.utils.set_random_seed(0)
    one, other = net(), net()
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert not np.array_equal(one.predict(x, verbose=0)["kind"], other.predict(x, verbose=0)["kind"])
    other.from_torch_state_dict(one.to_torch_state_dict(numpy=True))
    for key, found in one.predict(x, verbose=0).items():
        np.testing.assert_array_equal(found, other.predict(x, verbose=0)[key])
    with pytest.raises(ValueError, match=r"Missing: blocks.0.gain \(3,\)"):
        other.from_torch_state_dict(
            {
                key: value
                for key, value in one.to_torch_state_dict(numpy=True).items()
                if key != "blocks.0.gain"
            }
        )


def test_the_same_modules_in_torch_compute_the_same() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class TorchBlock(nn.Module):  # type: ignore[misc, name-defined] # untyped
        def __init__(self, inputs: int, units: int) -> None:
            super().__init__()
            self.hidden, self.norm = nn.Linear(inputs, units), nn.LayerNorm(units)
            self.gain = nn.Parameter(torch.zeros(units))

        def forward(self, x: Any) -> Any:
            return self.norm(torch.tanh(self.hidden(x))) * self.gain

    class TorchNet(nn.Module):  # type: ignore[misc, name-defined] # untyped
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([TorchBlock(4, 3), TorchBlock(3, 5)])
            self.heads = nn.ModuleDict({"kind": nn.Linear(5, 2), "size": nn.Linear(5, 1, bias=False)})
            self.scale = nn.Parameter(torch.zeros(()))

        def forward(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x)
            return {name: head(x) * self.scale for name, head in self.heads.items()}

    keras.utils.set_random_seed(0)
    ours, theirs = net(), TorchNet()
    theirs.load_state_dict(ours.to_torch_state_dict())
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with torch.no_grad():
        wanted = {name: array.numpy() for name, array in theirs(torch.from_numpy(x)).items()}
    for name, found in ours.predict(x, verbose=0).items():
        np.testing.assert_allclose(found, wanted[name], rtol=1e-5, atol=1e-5)


def test_layers_within_a_layer_and_operations_on_symbols() -> None:
    inputs = keras.Input((4,))
    chain = keras.Model(inputs, k.Dense(2, name="last")(Block(3, name="block")(inputs * 2.0)))
    assert [*chain.to_torch_state_dict(numpy=True)] == [
        "block.gain", "block.hidden.weight", "block.hidden.bias", "block.norm.weight", "block.norm.bias",
        "last.weight", "last.bias",
    ]  # fmt: skip
    stack = model(Block(3), k.Lambda(lambda x: x + 1), k.Dense(2))
    assert [key for key in stack.to_torch_state_dict(numpy=True) if "norm" not in key] == [
        "0.gain", "0.hidden.weight", "0.hidden.bias", "2.weight", "2.bias"
    ]  # fmt: skip


def test_a_count_of_batches_may_be_anything_and_may_lack() -> None:
    network = model(k.BatchNormalization())
    state = network.to_torch_state_dict(numpy=True)
    assert state["0.num_batches_tracked"].dtype == np.int64
    network.from_torch_state_dict(state | {"0.num_batches_tracked": np.array(7)})
    del state["0.num_batches_tracked"]
    network.from_torch_state_dict(state)


def refused(
    network: keras.Sequential, state: Any, error: type[Exception], message: str, **options: Any
) -> None:
    before = network.get_weights()
    with pytest.raises(error, match=message):
        network.from_torch_state_dict(state, **options)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))


def test_everything_that_does_not_fit_is_named() -> None:
    state = mlp().to_torch_state_dict(numpy=True)
    state["1.weight"] = state["1.weight"].T
    state["4.bias"] = state["4.bias"][:1]
    state["5.weight"], state["5.bias"] = state.pop("4.weight"), state.pop("1.bias")
    refused(
        mlp(),
        state,
        ValueError,
        r"Missing: 1.bias \(3,\), 4.weight \(2, 3\); unexpected: 5.weight \(2, 3\), 5.bias \(3,\); of another shape: "
        r"1.weight is \(4, 3\) instead of \(3, 4\), 4.bias is \(1,\) instead of \(2,\).$",
    )


def test_other_names_are_suggested() -> None:
    state = mlp().to_torch_state_dict(["fc1", "fc2"], numpy=True)
    refused(mlp(), state, ValueError, r"If its modules .*, pass modules=\['fc1', 'fc2'\]")


def test_what_torch_alone_has_must_do_nothing() -> None:
    network = model(k.BatchNormalization(center=False))
    state = network.to_torch_state_dict(numpy=True)
    np.testing.assert_array_equal(state["0.bias"], np.zeros(4))
    refused(
        network, state | {"0.bias": np.ones(4)}, ValueError, "Of another value: 0.bias must be 0 throughout"
    )


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ([1], TypeError, "`state` must be a state dict, .* got a list$"),
        ({"1.weight": np.array(["a"])}, TypeError, r"`state\['1.weight'\]` .* real numbers, got dtype <U1"),
        ({"1.weight": np.ones((3, 4), complex)}, TypeError, "dtype complex128"),
        ({}, ValueError, "Missing: 1.weight .*, 1.bias .*, 4.weight .*, 4.bias"),
    ],
)
def test_what_is_no_state_dict(state: Any, error: type[Exception], message: str) -> None:
    refused(mlp(), state, error, message)


@pytest.mark.parametrize(
    ("modules", "error", "message"),
    [
        (["fc1"], ValueError, r"`modules` must hold 2 names, .*\(first, second\), got \['fc1'\]"),
        (["fc1", "fc1"], ValueError, "must hold 2 names"),
        ("ab", TypeError, "must be a list of modules' names"),
        ([1, 2], TypeError, "must be a list of modules' names"),
        (3, TypeError, "must be a list of modules' names"),
    ],
)
def test_wrong_names_of_modules(modules: Any, error: type[Exception], message: str) -> None:
    refused(mlp(), {}, error, message, modules=modules)
    with pytest.raises(error, match=message):
        mlp().to_torch_state_dict(modules, numpy=True)


def test_a_model_without_weights_says_what_to_do() -> None:
    unbuilt = keras.Sequential([k.Dense(2)])
    with pytest.raises(ValueError, match=r"has no weights yet, so no to_torch_state_dict\(\)"):
        unbuilt.to_torch_state_dict(numpy=True)
    with pytest.raises(ValueError, match=r"has no weights yet, so no from_torch_state_dict\(\)"):
        unbuilt.from_torch_state_dict({})


def test_slopes_along_several_axes_have_no_twin() -> None:
    with pytest.raises(ValueError, match=r"slopes of shape \(3, 4\), but torch.nn.PReLU .* one axis"):
        model(k.PReLU(), shape=(3, 4)).to_torch_state_dict(numpy=True)


def test_without_torch_arrays_do() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import engine as k\n"
        "m = k.Sequential([k.Input((2,)), k.layers.Dense(1)])\n"
        "m.from_torch_state_dict(m.to_torch_state_dict(numpy=True))\n"
        "print('well')\n"
        "m.to_torch_state_dict()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "well\n"
    assert "ImportError: a state dict of tensors, unless `numpy=True`, needs torch" in result.stderr
    assert "pip install torch" in result.stderr
