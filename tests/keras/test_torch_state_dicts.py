"""Exchanges state dicts with real PyTorch in both directions: the same network made of torch.nn must predict the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import engine
from engine import layers as k

torch.set_num_threads(1)  # the networks are too small for a second thread
ROWS = 7
# Tolerance: the two libraries sum in different orders.
TOLERANCE = 1e-6
EPSILON = 1e-3  # that of the engine's layers; the default in torch is 1e-5


class Twin(NamedTuple):
    """The same network in both libraries, with the shape of samples, which are indices below `tokens` if that is given."""

    shape: tuple[int, ...]
    ours: Callable[[], list[Any]]
    theirs: Callable[[], list[nn.Module]]
    tokens: int | None = None

    def models(self) -> tuple[engine.Sequential, nn.Sequential]:
        """Returns both models, with different random weights."""
        rng = np.random.default_rng(1)
        model = engine.Sequential([k.Input(self.shape), *self.ours()])
        model.set_weights([rng.uniform(0.3, 1.2, array.shape) for array in model.weights])
        torch.manual_seed(2)
        network = nn.Sequential(*self.theirs()).eval()
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(3)
            else:
                tensor.uniform_(0.3, 1.2)
        return model, network

    def inputs(self) -> NDArray[Any]:
        rng = np.random.default_rng(3)
        if self.tokens is not None:
            return rng.integers(0, self.tokens, (ROWS, *self.shape))
        return rng.normal(0.0, 1.5, (ROWS, *self.shape)).astype(np.float32)


class Swapped(nn.Module):
    """Applies a module that works along the second axis to the last axis."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.weight = inner.weight
        self.inner = [inner]

    def forward(self, x: Any) -> Any:
        return self.inner[0](x.transpose(1, -1)).transpose(1, -1)


TWINS = {
    "mlp": Twin(
        (4, 3),
        lambda: [k.Flatten(), k.Dense(6, "relu"), k.Dropout(0.5), k.Dense(3, "softmax")],
        lambda: [nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3), nn.Softmax(-1)],
    ),
    "nested": Twin(
        (5,),
        lambda: [
            engine.Sequential([k.Dense(4, "relu", name="same"), engine.Sequential([k.BatchNormalization()])]),
            k.Dense(2, name="same"),
        ],
        lambda: [
            nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Sequential(nn.BatchNorm1d(4, eps=EPSILON))),
            nn.Linear(4, 2),
        ],
    ),
    "dense": Twin(
        (5, 3),
        lambda: [k.Dense(4, use_bias=False), k.Activation("tanh"), k.Dense(2, k.LeakyReLU(0.2))],
        lambda: [nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2), nn.LeakyReLU(0.2)],
    ),
    "batch_normalization": Twin(
        (5,),
        lambda: [k.Dense(4), k.BatchNormalization(), k.ReLU(), k.Dense(2)],
        lambda: [nn.Linear(5, 4), nn.BatchNorm1d(4, eps=EPSILON), nn.ReLU(), nn.Linear(4, 2)],
    ),
    "batch_normalization_bare": Twin(
        (5,),
        lambda: [k.BatchNormalization(center=False, scale=False), k.Dense(2)],
        lambda: [nn.BatchNorm1d(5, eps=EPSILON, affine=False), nn.Linear(5, 2)],
    ),
    "batch_normalization_of_channels": Twin(
        (3, 5), lambda: [k.BatchNormalization(axis=1)], lambda: [nn.BatchNorm1d(3, eps=EPSILON)]
    ),
    "normalization": Twin(
        (5,), lambda: [k.Normalization()], lambda: [nn.BatchNorm1d(5, eps=0.0, affine=False)]
    ),
    "layer_normalization": Twin(
        (5,),
        lambda: [k.Dense(4), k.LayerNormalization(), k.Dense(2)],
        lambda: [nn.Linear(5, 4), nn.LayerNorm(4, eps=EPSILON), nn.Linear(4, 2)],
    ),
    "layer_normalization_of_axes": Twin(
        (3, 5),
        lambda: [k.LayerNormalization(axis=[1, 2]), k.LayerNormalization(center=False)],
        lambda: [nn.LayerNorm((3, 5), eps=EPSILON), nn.LayerNorm(5, eps=EPSILON, bias=False)],
    ),
    "layer_normalization_bare": Twin(
        (5,),
        lambda: [k.LayerNormalization(center=False, scale=False), k.Dense(2)],
        lambda: [nn.LayerNorm(5, eps=EPSILON, elementwise_affine=False), nn.Linear(5, 2)],
    ),
    "group_normalization": Twin(
        (6,), lambda: [k.GroupNormalization(2)], lambda: [nn.GroupNorm(2, 6, eps=EPSILON)]
    ),
    "rms_normalization": Twin((6,), lambda: [k.RMSNormalization()], lambda: [nn.RMSNorm(6, eps=1e-6)]),
    "embedding": Twin(
        (4,),
        lambda: [k.Embedding(9, 3), k.Flatten(), k.Dense(2, "sigmoid")],
        lambda: [nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 2), nn.Sigmoid()],
        9,
    ),
    "prelu": Twin(
        (5,),
        lambda: [k.Dense(4), k.PReLU(), k.Dense(2)],
        lambda: [nn.Linear(5, 4), nn.PReLU(4), nn.Linear(4, 2)],
    ),
    "prelu_shared": Twin((3, 5), lambda: [k.PReLU(shared_axes=2)], lambda: [nn.PReLU(3)]),
    "prelu_of_all": Twin((3, 5), lambda: [k.PReLU(shared_axes=[1, 2])], lambda: [nn.PReLU(1)]),
    "prelu_of_the_last_axis": Twin((3, 5), lambda: [k.PReLU(shared_axes=1)], lambda: [Swapped(nn.PReLU(5))]),
}


def predicted(network: nn.Module, x: NDArray[Any]) -> NDArray[Any]:
    with torch.no_grad():
        return network(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("name", TWINS)
def test_weights_go_to_torch(name: str) -> None:
    model, network = TWINS[name].models()
    x = TWINS[name].inputs()
    network.load_state_dict(model.to_torch_state_dict(), strict=True)
    np.testing.assert_allclose(predicted(network, x), model.predict(x), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("arrays", [False, True])
def test_weights_come_from_torch(name: str, arrays: bool) -> None:
    model, network = TWINS[name].models()
    x = TWINS[name].inputs()
    state = network.state_dict()
    model.from_torch_state_dict({key: value.numpy() for key, value in state.items()} if arrays else state)
    np.testing.assert_allclose(model.predict(x), predicted(network, x), rtol=TOLERANCE, atol=TOLERANCE)


class TwoTowers(nn.Module):
    """A module as people write graphs in torch: towers, one of which is called twice, and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6, eps=EPSILON))
        self.words = nn.Embedding(9, 6)
        self.hidden = nn.Linear(18, 5)
        self.norm = nn.BatchNorm1d(5, eps=EPSILON)
        self.kind, self.size = nn.Linear(5, 3), nn.Linear(6, 1, bias=False)

    def forward(self, left: Any, right: Any, word: Any) -> Any:
        a, b, c = self.tower(left), self.tower(right), self.words(word)
        hidden = self.norm(torch.relu(self.hidden(torch.cat([a, b, c], 1))))
        return torch.softmax(self.kind(hidden), 1), self.size(a + c)


def two_towers() -> engine.Model:
    left, right, word = engine.Input((4,)), engine.Input((4,)), engine.Input(())
    tower = engine.Sequential([engine.Input((4,)), k.Dense(6, "tanh"), k.LayerNormalization()], name="tower")
    a, b, c = tower(left), tower(right), k.Embedding(9, 6, name="words")(word)
    hidden = k.Dense(5, "relu", name="hidden")(k.Concatenate()([a, b, c]))
    kind = k.Dense(3, "softmax", name="kind")(k.BatchNormalization(name="norm")(hidden))
    size = k.Dense(1, use_bias=False, name="size")(k.Add()([a, c]))
    return engine.Model([left, right, word], [kind, size])


@pytest.mark.parametrize("to_torch", [True, False])
def test_a_graph_is_a_module_with_the_names_of_its_layers(to_torch: bool) -> None:
    torch.manual_seed(3)
    model, network = two_towers(), TwoTowers().eval()
    network.norm.running_mean.uniform_()
    if to_torch:
        network.load_state_dict(model.to_torch_state_dict(), strict=True)
    else:
        model.from_torch_state_dict(network.state_dict())
    rng = np.random.default_rng(1)
    x = [rng.normal(size=(ROWS, 4)).astype(np.float32) for _ in range(2)]
    word = rng.integers(0, 9, ROWS)
    with torch.no_grad():
        theirs = network(*map(torch.from_numpy, x), torch.from_numpy(word))
    for found, wanted in zip(model.predict([*x, word]), theirs, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


def test_a_network_with_modules_of_other_names() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.norm, self.fc2 = nn.Linear(4, 3), nn.LayerNorm(3, eps=EPSILON), nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.fc2(torch.relu(self.norm(self.fc1(x))))

    network = Net()
    model = engine.Sequential([k.Input((4,)), k.Dense(3), k.LayerNormalization(), k.ReLU(), k.Dense(2)])
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    with pytest.raises(ValueError, match=r"pass modules=\['fc1', 'norm', 'fc2'\]"):
        model.from_torch_state_dict(network.state_dict())
    model.from_torch_state_dict(network.state_dict(), modules=["fc1", "norm", "fc2"])
    np.testing.assert_allclose(model.predict(x), predicted(network, x), rtol=TOLERANCE, atol=TOLERANCE)
    network.load_state_dict(model.to_torch_state_dict(["fc1", "norm", "fc2"]))


def test_a_network_trained_there_predicts_here_and_back() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, eps=EPSILON), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(64, 4)
    y = x[:, :3].argmax(1)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    network.eval()
    model = engine.Sequential([k.Input((4,)), k.Dense(8), k.BatchNormalization(), k.ReLU(), k.Dense(3)])
    model.from_torch_state_dict(network.state_dict())
    np.testing.assert_allclose(
        model.predict(x.numpy()), predicted(network, x.numpy()), rtol=1e-5, atol=TOLERANCE
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_tensors_of_other_dtypes(dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.Linear(4, 2)).to(dtype)
    model = engine.Sequential([k.Input((4,)), k.Dense(2)])
    model.from_torch_state_dict(network.state_dict())
    np.testing.assert_array_equal(model.get_weights()[0], network[0].weight.detach().float().numpy().T)


def test_parameters_that_want_gradients() -> None:
    network = nn.Sequential(nn.Linear(4, 2))
    model = engine.Sequential([k.Input((4,)), k.Dense(2)])
    model.from_torch_state_dict(dict(network.named_parameters()))
    np.testing.assert_array_equal(model.get_weights()[1], network[0].bias.detach().numpy())


def test_the_module_itself_is_no_state_dict() -> None:
    model = engine.Sequential([k.Input((4,)), k.Dense(2)])
    with pytest.raises(TypeError, match=r"got a Sequential: pass its state_dict\(\)"):
        model.from_torch_state_dict(nn.Sequential(nn.Linear(4, 2)))  # type: ignore[arg-type] # it must raise TypeError
