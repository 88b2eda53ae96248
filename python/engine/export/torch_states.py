"""State dicts of PyTorch: the weights of a model as those of the same network made of torch.nn.

A chain of layers is a `torch.nn.Sequential` with one module for each layer, and another one for the activation of a Dense
layer: `Dense(8, activation="relu")` corresponds to `Linear(..., 8), ReLU()`. Keys begin with the number of the module. The
weights of a layer that is used several times have several keys.

A graph, or a chain with operations on symbols in it, is a module with an attribute for each layer, which has the layer's name; its `forward` applies the activations.
Keys begin with that name. A model within is a module of its own, in a chain as well as in a graph.

A layer or a model with a `call` of its own is a module whose attributes have the names that they have here: the layers in a
list are those of a `ModuleList`, and in a dict those of a `ModuleDict`. Its own weights have their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL
from engine._base.extras import extra
from engine._base.spec import free_name
from engine._core_interface.cpp import Float32
from engine._data.array_conversion import as_float32
from engine.activations import linear
from engine.layers import (
    BatchNormalization,
    Dense,
    Embedding,
    GroupNormalization,
    InputLayer,
    Layer,
    LayerNormalization,
    Normalization,
    PReLU,
    RMSNormalization,
)
from engine.layers.operation import OperationPart
from engine.layers.part import Part
from engine.layers.recorded_calls import NO_PARTS

Array = NDArray[Any]


class Entry(NamedTuple):
    """One entry of a module's state dict.

    Args:
        key: the part of the key after the module's name.
        value: the array in the form of torch.
        weight: index among the layer's weights; None where torch has something that the layer does without.
        exported: whether `to_torch_state_dict` returns it; `from_torch_state_dict` accepts it in any case.
        ignored_on_load: whether it may have any value when it is loaded, as the layer has no such weight.
    """

    key: str
    value: Array
    weight: int | None
    exported: bool = True
    ignored_on_load: bool = False


def _dense(layer: Dense) -> list[Entry]:
    kernel, *bias = layer._values()
    return [Entry("weight", kernel.T, 0), *(Entry("bias", array, 1) for array in bias)]


def _one(layer: Layer) -> list[Entry]:
    return [Entry("weight", layer._values()[0], 0)]


def _affine(layer: Any) -> list[Entry]:
    """Yields gamma and beta. If torch needs one that the layer lacks, it is a constant, 1 or 0."""
    shape = layer.weights[-1].shape if layer.weights else ()
    entries, weights = [], iter(enumerate(layer._values()))
    bias_may_lack = isinstance(layer, LayerNormalization)
    for key, used, constant, exported in (
        ("weight", layer.scale, 1.0, layer.center),
        ("bias", layer.center, 0.0, layer.scale and not bias_may_lack),
    ):
        if used:
            index, array = next(weights)
            entries.append(Entry(key, array, index))
        else:
            entries.append(Entry(key, np.full(shape, constant, np.float32), None, exported))
    return entries


def _batch_normalization(layer: BatchNormalization) -> list[Entry]:
    return [*_affine(layer), *_running(layer, len(layer.weights) - 2)]


def _running(layer: Layer, first: int = 0) -> list[Entry]:
    mean, variance = layer._values()[first : first + 2]
    count = np.array(0, np.int64)
    return [
        Entry("running_mean", mean, first),
        Entry("running_var", variance, first + 1),
        Entry("num_batches_tracked", count, None, ignored_on_load=True),
    ]


def _prelu(layer: PReLU) -> list[Entry]:
    (alpha,) = layer._values()
    if max(alpha.shape, default=1) != alpha.size:
        msg = (
            f"layer {layer.name!r} has slopes of shape {alpha.shape}, but torch.nn.PReLU has them along one axis: give "
            "`shared_axes` for the others"
        )
        raise ValueError(msg)
    return [Entry("weight", alpha.reshape(-1), 0)]


# The entries of the layers whose module in torch stores its weights in another form. The weights of all other layers have
# their own names as keys, and are not changed.
TWINS: dict[type[Layer], Callable[[Any], list[Entry]]] = {
    Dense: _dense,  # Linear
    Embedding: _one,
    BatchNormalization: _batch_normalization,
    LayerNormalization: _affine,
    GroupNormalization: _affine,
    RMSNormalization: _one,
    PReLU: _prelu,
    Normalization: _running,  # BatchNorm1d(affine=False, eps=0)
}


class Module(NamedTuple):
    """A layer with weights: its name in the state dict, and its entries."""

    prefix: str
    layer: Layer
    entries: list[Entry]

    def key(self, entry: Entry) -> str:
        """The keys in the whole state dict."""
        return f"{self.prefix}.{entry.key}" if self.prefix else entry.key


def to_torch_state_dict(model: Part, modules: object, numpy: bool) -> dict[str, Any]:
    """Returns the result of `Model.to_torch_state_dict` for a built model."""
    torch = None if numpy else extra("torch", "torch", "a state dict of tensors, unless `numpy=True`,")
    state: dict[str, Any] = {}
    for module in _modules(model, modules):
        for entry in module.entries:
            if entry.exported:
                value = np.array(entry.value, order="C")
                state[module.key(entry)] = value if torch is None else torch.from_numpy(value)
    return state


def from_torch_state_dict(model: Part, state: object, modules: object) -> dict[Layer, list[Float32]]:
    """Returns the weights of each layer from a state dict. `Model.from_torch_state_dict` then sets them."""
    if not isinstance(state, Mapping):
        hint = ": pass its state_dict()" if hasattr(state, "state_dict") else ""
        msg = f"`state` must be a state dict, tensors or arrays by key, got a {type(state).__name__}{hint}"
        raise TypeError(msg)
    listed = _modules(model, modules)
    arrays = {str(key): _array(str(key), value) for key, value in state.items()}
    entries = {module.key(entry): entry for module in listed for entry in module.entries}
    _require_fit(arrays, entries, listed)
    weights: dict[Layer, list[Float32]] = {}
    for module in listed:
        arrays_of_layer = list(module.layer._own_values)
        for entry in module.entries:
            if entry.weight is not None:
                array = arrays[module.key(entry)]
                array = array.T if isinstance(module.layer, Dense) else array
                arrays_of_layer[entry.weight] = as_float32(array.reshape(arrays_of_layer[entry.weight].shape))
        first = weights.setdefault(module.layer, arrays_of_layer)
        if not all(map(np.array_equal, first, arrays_of_layer)):
            msg = f"`state` has other values for {module.prefix!r} than before for the same layer, {module.layer.name!r}"
            raise ValueError(msg)
    return weights


def _modules_of(model: Part, root: str = "") -> Iterator[Module]:
    """Yields the modules of a model with weights; `root` is the beginning of their names."""
    if model._attributes_of_user is not None:
        yield from _modules_in_attributes(model, root)
        return
    used, number = set[str](), 0
    named = model._is_graph or any(isinstance(part, OperationPart) for part in model._parts_in_order)
    for part in model._parts_in_order:
        if isinstance(part, (InputLayer, OperationPart)):
            continue
        name = str(number)
        if named:  # torch allows no dots in the name of a module
            name = free_name(part.name.replace(".", "_"), used)
            used.add(name)
        yield from _modules_of_part(part, f"{root}{name}.")
        number += 1 + (isinstance(part, Dense) and part.activation is not linear)


def _modules_of_part(part: Part, root: str) -> Iterator[Module]:
    """Yields the modules of a layer or a model within another one."""
    if not isinstance(part, Layer):
        yield from _modules_of(part, root)
    elif part._is_by_call:
        yield from _modules_in_attributes(part, root)
    elif part.weights:
        yield Module(root[:-1], part, _entries(part))


def _modules_in_attributes(part: Part, root: str) -> Iterator[Module]:
    """Yields the modules of a layer or model with a `call` of its own: itself, and what its attributes hold."""
    owner = (
        part
        if isinstance(part, Layer)
        else next((layer for layer in part._parts() if isinstance(layer, Layer)), None)
    )
    if owner is not None and owner._own_values:
        yield Module(root[:-1], owner, _entries(owner))
    for name, inner in _named_parts(part._attributes_of_user or {}):
        yield from _modules_of_part(inner, f"{root}{name}.")


def _named_parts(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Part]]:
    """Yields the layers and models in attributes, in lists and dicts, too, each once, with the names that torch gives them."""
    visited = set[int]()

    def search(name: str, value: Any) -> Iterator[tuple[str, Part]]:
        if isinstance(value, Part):
            if id(value) not in visited:
                visited.add(id(value))
                yield name, value
        elif isinstance(value, Mapping):
            for key, item in value.items():
                yield from search(f"{name}.{key}", item)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                yield from search(f"{name}.{index}", item)

    for name, value in dict(attributes).items():
        if name not in NO_PARTS:
            yield from search(name, value)


def _modules(model: Part, names: object) -> list[Module]:
    listed = list(_modules_of(model))
    if names is None:
        return listed
    listed = list({module.layer: module for module in listed}.values())
    if (
        isinstance(names, str)
        or not isinstance(names, Sequence)
        or not all(isinstance(name, str) for name in names)
    ):
        msg = f"`modules` must be a list of modules' names, such as ['fc1', 'fc2'], got {names!r}"
        raise TypeError(msg)
    if len(set(names)) != len(names) or len(names) != len(listed):
        with_weights = ", ".join(module.layer.name for module in listed)
        msg = (
            f"`modules` must hold {len(listed)} names, one for each layer with weights ({with_weights}), got "
            f"{list(names)}"
        )
        raise ValueError(msg)
    return [module._replace(prefix=name) for module, name in zip(listed, names, strict=True)]


def _entries(layer: Layer) -> list[Entry]:
    twin = next((TWINS[cls] for cls in type(layer).__mro__ if cls in TWINS), None)
    if twin is not None and not layer._is_by_call:
        return twin(layer)
    return [
        Entry(name, array, index)
        for index, (name, array) in enumerate(zip(layer._weight_names, layer._own_values, strict=True))
    ]


def _array(key: str, value: Any) -> Array:
    if hasattr(value, "detach"):  # a tensor, perhaps of a dtype that NumPy lacks
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    array: Array = np.asarray(value)
    if array.dtype.kind not in REAL:
        msg = f"`state[{key!r}]` must hold real numbers, got dtype {array.dtype}"
        raise TypeError(msg)
    return array


def _require_fit(
    arrays: Mapping[str, Array], entries: Mapping[str, Entry], modules: Sequence[Module]
) -> None:
    """Raises ValueError with all differences between `arrays` and `entries`."""
    missing = [
        f"{key} {entry.value.shape}"
        for key, entry in entries.items()
        if entry.weight is not None and key not in arrays
    ]
    unexpected = [f"{key} {array.shape}" for key, array in arrays.items() if key not in entries]
    matched = [(key, entry, arrays[key]) for key, entry in entries.items() if key in arrays]
    shapes = [
        f"{key} is {array.shape} instead of {entry.value.shape}"
        for key, entry, array in matched
        if array.shape != entry.value.shape
    ]
    values = [
        f"{key} must be {entry.value.flat[0]:g} throughout, as the layer has no such weight"
        for key, entry, array in matched
        if entry.weight is None
        and not entry.ignored_on_load
        and entry.value.size
        and not np.all(array == entry.value.flat[0])
    ]
    named = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": shapes,
        "of another value": values,
    }
    problems = "; ".join(f"{problem}: {', '.join(keys)}" for problem, keys in named.items() if keys)
    if problems:
        msg = f"`state` doesn't fit the model. {problems[0].upper()}{problems[1:]}.{_hint(arrays, modules)}"
        raise ValueError(msg)


def _hint(arrays: Mapping[str, Array], modules: Sequence[Module]) -> str:
    """Returns the advice for a state dict in which only the names differ."""
    names = list(dict.fromkeys(key.rpartition(".")[0] for key in arrays))
    if len(names) != len(modules) or names == [module.prefix for module in modules]:
        return ""
    return f" If its modules are those of the layers in order, pass modules={names}"
