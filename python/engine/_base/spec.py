"""Objects that a script gives by name, as an object or as a config dict: layers, losses, optimizers, initializers ...

`Spec` is the base of all their classes: it makes a config from the arguments of `__init__`, and refuses unknown arguments
with a suggestion. A `Registry` holds the classes of one kind, and its `get` turns whatever the user gave into an object.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Container, Iterator, Mapping
from itertools import chain, count
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, WrongTypeError, checked_config, listing, nearest
from engine._base.left_out import SaysWhatIsLeftOut
from engine._base.registered_objects import (
    custom_object_scope,
    get_registered_name,
    instance_from_config,
    is_of_engine,
    registered_by,
    registered_or_built_in,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_numbers: dict[str, Iterator[int]] = {}  # counts the automatic names, by their base such as "dense"
_POSITIONALS, _KEYWORD = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY
_OPTIONS = inspect.Parameter.VAR_KEYWORD


def snake_case(name: str) -> str:
    """Returns the snake_case form of a class name, as Keras makes it.

    `MeanSquaredError` becomes `mean_squared_error`, `SGD` becomes `sgd`, and `Dropout1D` becomes `dropout1d`.
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^_])(?=[A-Z][a-z])", "_", name).lower()


def auto_name(base: str) -> str:
    """Returns the next automatic name: `dense`, then `dense_1`, `dense_2` and so on."""
    # Both calls are atomic, so no two threads get the same number.
    number = next(_numbers.setdefault(base, count()))
    return f"{base}_{number}" if number else base


def free_name(base: str, used: Container[str], first: int = 1) -> str:
    """Returns `base`, or the first of `base_1`, `base_2` and so on that is not taken.

    Args:
        base: the name without a number.
        used: the names that are in use.
        first: the first number.
    """
    numbered = (f"{base}_{number}" for number in count(first))
    return next(name for name in chain([base], numbered) if name not in used)


def clear_session(free_memory: bool = True) -> None:
    """Restarts the numbers in the automatic names of layers and models: the next dense layer is `dense` again.

    Args:
        free_memory: ignored. Memory is freed as soon as nothing refers to it.
    """
    del free_memory
    _numbers.clear()


def argument_names(cls: type) -> Iterator[str]:
    """Yields the names of the arguments of `cls`, including those that `**options` passes on to base classes."""
    for owner in cls.__mro__:
        code = getattr(inspect.unwrap(vars(owner).get("__init__", object.__init__)), "__code__", None)
        if code is not None:
            yield from code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
            if not code.co_flags & inspect.CO_VARKEYWORDS:
                return


class _Signature:
    """The `__signature__` of a class, which `help` and editors show: its `__init__` with `**options` spelled out."""

    def __get__(self, instance: object, owner: type[Spec]) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")  # an object is called with other arguments than its class
        shown: dict[str, inspect.Parameter] = {}
        hidden = {_POSITIONALS} if owner._takes_any_argument else {_POSITIONALS, _OPTIONS}
        by_name = False  # whether the arguments of the next base class can be passed by name only
        for init in (vars(cls)["__init__"] for cls in owner.__mro__[:-1] if "__init__" in vars(cls)):
            _, *parameters = inspect.signature(init).parameters.values()
            for parameter in parameters:
                if parameter.kind not in hidden and parameter.name not in shown:
                    shown[parameter.name] = (
                        parameter.replace(kind=_KEYWORD)
                        if by_name and parameter.kind < _KEYWORD
                        else parameter
                    )
            kinds = {parameter.kind for parameter in parameters}
            by_name = by_name or _POSITIONALS not in kinds
            if _OPTIONS not in kinds or owner._takes_any_argument:
                break
        return inspect.Signature(sorted(shown.values(), key=lambda parameter: parameter.kind))


class Spec(SaysWhatIsLeftOut):
    """The base of classes whose objects a script gives by name, as an object or as a config dict.

    A subclass stores every argument of its `__init__` in an attribute of the same name. The config, the `repr` and the
    message for an unknown argument are made from that.
    """

    _unsaved_arguments: ClassVar[tuple[str, ...]] = ()
    """Arguments that are left out of the config."""
    _takes_any_argument: ClassVar[bool] = False
    """Whether arguments of any other name are accepted, since they are passed on to a function of the user's."""
    _unknown_argument_error: ClassVar[type[Exception]] = TypeError
    """The error for an unknown argument; which class it is depends on the kind of object, as in Keras."""
    _fixed_arguments: ClassVar[Mapping[str, Any]] = {}
    """Arguments that only Keras has, with the one value that a config may have for them here."""
    _older_arguments: ClassVar[frozenset[str]] = frozenset()
    """Names of arguments of older versions of Keras. What takes them is added to `__init__` (`engine/_keras2`)."""
    _config_may_lack_arguments: ClassVar[bool] = False
    """Whether a subclass may store arguments under other names. Then its own `get_config` has to add them."""
    __signature__ = _Signature()

    def __new__(cls, *_: Any, **options: Any) -> Self:
        accepted = list(argument_names(cls)) if options and not cls._takes_any_argument else list(options)
        for option in options:
            if option not in accepted and option not in cls._older_arguments:
                names = listing(dict.fromkeys(accepted))
                msg = (
                    f"{cls.__name__} has no argument `{option}`{nearest(option, accepted)} It takes: {names}"
                )
                raise cls._unknown_argument_error(msg)
        return super().__new__(cls)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments from which `from_config` makes an equal object, as plain Python values."""
        names = [name for name in argument_names(type(self)) if name not in self._unsaved_arguments]
        if self._config_may_lack_arguments:
            names = [name for name in names if hasattr(self, name)]
        for name in names:
            if not hasattr(self, name):
                msg = (
                    f"{type(self).__name__} can't be saved, as no attribute has the value of its argument `{name}`: assign "
                    f"self.{name} in __init__(), or write a get_config() that returns the arguments"
                )
                raise AttributeError(msg, name=name, obj=self)
        return {name: _plain(getattr(self, name)) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Makes an object from a config that `get_config` returned, here or in Keras."""
        accepted = set(argument_names(cls))
        return cls(
            **{
                name: value
                for name, value in checked_config(config).items()
                if name in accepted or value not in (None, cls._fixed_arguments.get(name))
            }
        )

    def _serialized(self) -> dict[str, Any]:
        """Returns the class and config, from which `Registry.get` makes an equal object."""
        return described(type(self), type(self).__name__, self.get_config())

    def __repr__(self) -> str:
        config = self.get_config()
        shown = {name: getattr(self, name, None) for name in config}
        arguments = (
            f"{name}={shown[name] if isinstance(shown[name], Spec) else value!r}"
            for name, value in config.items()
        )
        return f"{type(self).__name__}({', '.join(arguments)})"


def serialize(spec: Spec | Callable[..., Any]) -> dict[str, Any]:
    """Returns the class and config of `spec`, from which `Registry.get` makes an equal object; the name of a function."""
    if isinstance(spec, Spec):
        return spec._serialized()
    return described(spec, "function", getattr(spec, "__name__", ""))


# Classes that Keras lacks. Files name their module as `engine...`, that of all other classes as `keras...`.
_NOT_IN_KERAS = {"ConfusionMatrix", "RandomElastic"}


def described(owner: Any, class_name: str, config: Any) -> dict[str, Any]:
    """Returns the dict by which Keras' files describe an object or a function: module, class name, config.

    Args:
        owner: the class of the object, or the function.
        class_name: the name of the class, or "function".
        config: the arguments of the object, or the name of the function.
    """
    if class_name == "function":
        name = get_registered_name(owner) if not is_of_engine(owner) else config
        return {"module": "builtins", "class_name": class_name, "config": name, "registered_name": class_name}
    package, *path = str(owner.__module__).split(".")
    if package != "engine":
        module = None if package == "__main__" else owner.__module__
        registered = get_registered_name(owner)
        return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}
    folders = path[: 2 if path[1:2] == ["schedules"] else 1]
    library = "engine" if class_name in _NOT_IN_KERAS else "keras"
    # Keras writes keras.Sequential.
    module = ".".join([library, *(part for part in folders if part != "models")])
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def array_of_config(config: Mapping[str, Any]) -> NDArray[Any]:
    """Returns the array that a config of Keras describes by `value`, nested lists, and `dtype`."""
    dtype = np.dtype(str(config["dtype"]))
    if dtype.kind not in REAL:
        msg = f"an array in a config must hold real numbers, got dtype {dtype}"
        raise ValueError(msg)
    return np.asarray(config["value"], dtype)


def registered_or_same(identifier: object, is_built_in: Callable[[str], bool] = lambda _: False) -> object:
    """Returns the user's function or class that a name, or the config of a function, refers to.

    Args:
        identifier: anything. A name that the user has not registered is returned as it is, and so is every other
            object; for the config of a function that is not registered its name is returned.
        is_built_in: as for `registered_by`.
    """
    if isinstance(identifier, Mapping) and identifier.get("class_name") == "function":
        name = str(identifier.get("config"))
        registered = registered_by({**identifier, "registered_name": None}, name, is_built_in)
        return name if registered is None else registered
    registered = registered_or_built_in(identifier, is_built_in) if isinstance(identifier, str) else None
    return identifier if registered is None else registered


def serialize_any(value: Any) -> dict[str, Any] | str:
    """Returns the class and config of an object, or the name of a function; `deserialize_any` reads both."""
    return serialize(value) if isinstance(value, Spec) else str(value.__name__)


def deserialize_any(
    get: Callable[[Any], Any],
    config: Mapping[str, Any] | str,
    custom_objects: Mapping[str, Any] | None,
) -> Any:
    """Returns the object or function that `serialize_any` described.

    Args:
        get: returns the object of this kind for a name or a config.
        config: what `serialize_any` returned.
        custom_objects: classes and functions of your own, by name.
    """
    if custom_objects and isinstance(config, str) and config in custom_objects:
        return custom_objects[config]
    with custom_object_scope(custom_objects):
        return get(config)


def _plain(value: object) -> object:
    """Returns an argument as it stands in a config: objects and functions by their descriptions."""
    if isinstance(value, Spec):
        return serialize(value)
    if not inspect.isfunction(value):
        return value
    built_in = is_of_engine(value)
    return value.__name__ if built_in else described(value, "function", value.__name__)


S = TypeVar("S", bound=Spec)


class Registry(Generic[S]):
    """The classes of one kind by name. The dict `Registry.of` holds all registries by their kind.

    Args:
        kind: what messages call the objects, such as "optimizer".
        base: the base class of all these classes.
        joined: whether messages write names as one word, such as "rmsprop", and not in snake_case.
    """

    of: ClassVar[dict[str, Registry[Any]]] = {}

    def __init__(self, kind: str, base: type[Any], joined: bool = False) -> None:
        self.of[kind] = self
        self._kind = kind
        self.base = base
        self._joined = joined
        self._names: list[str] = []
        self._classes: dict[str, type[S]] = {}
        self._functions: dict[Callable[..., Any], type[S]] = {}

    def register(
        self, *aliases: str, function: Callable[..., Any] | None = None
    ) -> Callable[[type[S]], type[S]]:
        """Decorates a class to be found by its name in lower case and snake_case, by `aliases` and by its `function`."""

        def add(cls: type[S]) -> type[S]:
            own_name = cls.__name__.lstrip("_")
            self._names += (own_name.lower() if self._joined else snake_case(own_name), *aliases)
            for name in (own_name.lower(), snake_case(own_name), *aliases):
                self._classes[name] = cls
            if function is not None:
                self._functions[function] = cls
            return cls

        return add

    def get(self, identifier: object) -> S:
        """Returns the object that a name, a class, a function or a config dict stands for.

        Args:
            identifier: one of these, or the object itself. A class is called without arguments.

        Raises:
            ValueError: for an unknown name; the message suggests the nearest.
            TypeError: for any other type.
        """
        if isinstance(identifier, type) and issubclass(identifier, self.base):
            identifier = identifier()
        if isinstance(identifier, self.base):
            instance: S = identifier
            return instance
        if isinstance(identifier, str):
            registered = registered_or_same(identifier, self.knows)
            return self._named(identifier)() if registered is identifier else self.get(registered)
        if isinstance(identifier, Mapping) and "class_name" in identifier:
            name = str(identifier["class_name"])
            registered = registered_by(identifier, name, self.knows)
            cls = self._named(name, in_config=True) if registered is None else registered
            configured: S = instance_from_config(cls, identifier.get("config") or {})
            return configured
        if inspect.isfunction(identifier) and identifier in self._functions:
            return self._functions[identifier]()
        module = ".".join(self.base.__module__.split(".")[:2])
        msg = f"`{self._kind}` must be a name, an object of {module} or a config dict, got {identifier!r}"
        raise WrongTypeError(msg)

    def knows(self, name: str) -> bool:
        """Returns whether a class of the library has this name."""
        return name.lower() in self._classes

    def get_or_wrap(self, identifier: object, wrap: Callable[[Any], S]) -> S | None:
        """Returns the same as `get`, except for None and for functions.

        Args:
            identifier: None is returned as it is. A function, or the function that a class of the user's returns, is
                passed to `wrap`.
            wrap: makes an object of this kind from a function.
        """
        if (identifier := registered_or_same(identifier, self.knows)) is None:
            return None
        kind = identifier if isinstance(identifier, type) else type(identifier)
        if callable(identifier) and not issubclass(kind, self.base):
            instance = identifier() if isinstance(identifier, type) else identifier
            return wrap(instance) if callable(instance) else self.get(instance)
        return self.get(identifier)

    def deserialize(self, config: object, custom_objects: Mapping[str, Any] | None = None) -> S:
        """Returns the object that `serialize` described.

        Args:
            config: a name, or `{"class_name": ..., "config": {...}}`.
            custom_objects: classes of your own by name.

        Raises:
            ValueError: for a name that is neither known nor in `custom_objects`.
        """
        with custom_object_scope(custom_objects):
            return self.get(config)

    def _named(self, name: str, in_config: bool = False) -> type[S]:
        """Returns the class of a name.

        Args:
            name: the name, in any case.
            in_config: whether the name is from a config. The error then says how to pass a class of the user's.
        """
        cls = self._classes.get(name.lower())
        if cls is None:
            names_text = ", ".join(sorted(set(self._names)))
            end = nearest(name, self._names)
            if in_config:
                end += (
                    f" If it is a class of your own, pass custom_objects={{{name!r}: {name}}}, or decorate the class with "
                    "@register_keras_serializable()."
                )
            msg = f"unknown `{self._kind}` {name!r}{end} Known: {names_text}"
            raise ValueError(msg)
        return cls
