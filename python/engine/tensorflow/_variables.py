"""`tf.Variable`, `tf.Module` and `tf.function`."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from engine import tree
from engine.layers import Layer
from engine.layers.variable import Variable as EngineVariable
from engine.models import Model
from engine.models.compiled_functions import CompiledFunction
from engine.tensorflow._tensor import Reference, Tensor, TensorShape, constant, tensors


class _Kind(ABCMeta):
    """Lets the weights of layers pass for variables of TensorFlow."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or (
            cls is Variable and isinstance(instance, EngineVariable)
        )


class Variable(EngineVariable, metaclass=_Kind):
    """An array that can be assigned, with the arguments of TensorFlow's.

    Args:
        initial_value: a number, an array, nested lists, or a function without arguments that returns one.
        trainable: whether tapes watch it and optimizers may step it.
        validate_shape: without effect.
        caching_device: without effect.
        name: of the variable.
        variable_def: without effect.
        dtype: of the numbers; by default that of `tf.constant`.
        import_scope: without effect.
        constraint: function of the value that the optimizer applies after each step.
        synchronization: without effect.
        aggregation: without effect.
        shape: without effect.
    """

    def __init__(  # TensorFlow's signature
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        import_scope: Any = None,
        constraint: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> None:
        if initial_value is None:
            msg = "`initial_value` is missing: a variable has numbers from the beginning"
            raise ValueError(msg)
        value = constant(initial_value() if callable(initial_value) else initial_value, dtype)
        super().__init__(
            np.asarray(value),
            dtype=value.dtype.name,
            trainable=trainable is not False,
            name=None if name is None else str(name).partition(":")[0].replace("/", "_"),
            constraint=constraint,
        )

    @property
    def shape(self) -> TensorShape:
        """The shape."""
        return TensorShape(super().shape)

    def get_shape(self) -> TensorShape:
        """Returns the shape."""
        return self.shape

    def read_value(self) -> Any:
        """Returns the value as a tensor."""
        return tensors(np.array(self))

    def numpy(self) -> Any:
        """Returns a copy of the value as an array of NumPy, or a scalar of NumPy if there are no axes."""
        return super().numpy()[()]

    def ref(self) -> Reference:
        """Returns a key for dicts and sets."""
        return Reference(self)

    def assign(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Sets the value, and returns the variable. The other arguments are without effect."""
        return super().assign(value)

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Adds to the value, and returns the variable. The other arguments are without effect."""
        return super().assign_add(delta)

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Subtracts from the value, and returns the variable. The other arguments are without effect."""
        return super().assign_sub(delta)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Sets entries or rows at places."""
        from engine.tensorflow import _arrays

        return self.assign(_arrays.tensor_scatter_nd_update(self, indices, updates))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return tensors(super().__array_ufunc__(ufunc, method, *inputs, **options))

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if not isinstance(part, (np.ndarray, np.generic)):
            return part
        entries: Any = np.asarray(part).view(VariablePart)
        entries.variable, entries.key = self, key
        return entries


class VariablePart(Tensor):
    """Entries of a variable, which can be assigned to it."""

    variable: Any = None
    key: Any = None

    def assign(self, value: Any) -> Any:
        """Sets these entries of the variable, and returns it."""
        values = np.array(self.variable)
        values[self.key] = value
        return self.variable.assign(values)


class Module:
    """Base class of what has variables: its attributes, those of modules and layers in them, and what lists and dicts hold.

    Args:
        name: of the module; by default that of its class in small letters.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = type(self).__name__.lower() if name is None else str(name)

    @property
    def name(self) -> str:
        """The name."""
        return getattr(self, "_name", type(self).__name__.lower())

    @property
    def variables(self) -> tuple[Any, ...]:
        """All variables, those of attributes in the order of their names."""
        return tuple({id(each): each for each in _variables_of(self, set())}.values())

    @property
    def trainable_variables(self) -> tuple[Any, ...]:
        """The variables that are trainable."""
        return tuple(each for each in self.variables if each.trainable)

    @property
    def non_trainable_variables(self) -> tuple[Any, ...]:
        """The variables that are not trainable."""
        return tuple(each for each in self.variables if not each.trainable)

    @property
    def submodules(self) -> tuple[Any, ...]:
        """The modules and layers among the attributes, and theirs."""
        found = dict[int, Any]()
        waiting = list(_members(self))
        while waiting:
            each = waiting.pop(0)
            if isinstance(each, (Module, Layer, Model)) and id(each) not in found:
                found[id(each)] = each
                waiting += _members(each)
        return tuple(found.values())

    @classmethod
    def with_name_scope(cls, method: Callable[..., Any]) -> Callable[..., Any]:
        """Decorates a method, without effect."""
        return method

    @property
    def name_scope(self) -> Any:
        """A context without effect."""
        from engine.tensorflow._arrays import no_effect

        return no_effect()


def _members(owner: Any) -> Iterator[Any]:
    for name in sorted(vars(owner)):
        yield from tree.flatten(vars(owner)[name])


def _variables_of(owner: Any, seen: set[int]) -> Iterator[Any]:
    seen.add(id(owner))
    for each in _members(owner):
        if isinstance(each, EngineVariable):
            yield each
        elif isinstance(each, (Layer, Model)):
            yield from each.variables
        elif isinstance(each, Module) and id(each) not in seen:
            yield from _variables_of(each, seen)


class Function(CompiledFunction):
    """A function that `function` has compiled. Its results are tensors."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        result = tensors(super().__call__(*args, **kwargs))
        return tree.map_structure(
            lambda leaf: constant(leaf) if isinstance(leaf, (int, float)) else leaf, result
        )

    def get_concrete_function(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the function itself, which is compiled for each form of its arguments when it is called."""
        return self


def function(
    func: Callable[..., Any] | None = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = False,
    **others: Any,
) -> Any:
    """Compiles a function, as a decorator. Loops and conditions that need numbers make it run as it is written.

    Args:
        func: the function.
        input_signature: descriptions of its arguments, with None for lengths that vary.
        autograph: without effect.
        jit_compile: without effect.
        reduce_retracing: whether lengths that vary are compiled once; true if `input_signature` has a length None.
        **others: older arguments, without effect.
    """
    varies = any(
        getattr(spec, "shape", None) is not None and None in spec.shape
        for spec in tree.flatten(input_signature)
    )

    def decorated(python_function: Callable[..., Any]) -> Any:
        return Function(python_function, bool(reduce_retracing) or varies)

    return decorated if func is None else decorated(func)
