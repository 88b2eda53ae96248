"""What layers, losses, optimizers and the like share: config dicts, names, and messages for wrong ones."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, WrongTypeError, config_of, listing, nearest
from engine._base.left_out import SaysWhatIsLeftOut
from engine._base.registered_objects import (
    custom_object_scope,
    get_registered_name,
    get_registered_object,
    registered_by,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_numbers: dict[str, Iterator[int]] = {}  # by name
_POSITIONALS, _KEYWORD = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY
_OPTIONS = inspect.Parameter.VAR_KEYWORD


def snake_case(name: str) -> str:
    """`MeanSquaredError` -> `mean_squared_error`, `SGD` -> `sgd`, `Dropout1D` -> `dropout1d`, as in Keras."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^_])(?=[A-Z][a-z])", "_", name).lower()


def auto_name(base: str) -> str:
    """`dense`, then `dense_1`, `dense_2`, ..."""
    number = next(_numbers.setdefault(base, count()))  # both are atomic: no two threads get the same
    return f"{base}_{number}" if number else base


def clear_session(free_memory: bool = True) -> None:
    """Begin anew with the names that layers and models get by themselves: `dense`, then `dense_1`.

    Args:
        free_memory: of no account: what nobody refers to is freed at once.
    """
    del free_memory
    _numbers.clear()


def _arguments(cls: type) -> Iterator[str]:
    """Names of the arguments of `cls`, following `**options` to the base class that takes them."""
    for owner in cls.__mro__:
        code = getattr(vars(owner).get("__init__"), "__code__", None)
        if code is not None:
            yield from code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
            if not code.co_flags & inspect.CO_VARKEYWORDS:
                return


class _Signature:
    """What `help` and editors show of a class: its `__init__`, with the arguments that `**options` stands for."""

    def __get__(self, instance: object, owner: type[Spec]) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")  # calling an object is another matter
        shown: dict[str, inspect.Parameter] = {}
        hidden = {_POSITIONALS} if owner._takes_any_argument else {_POSITIONALS, _OPTIONS}
        by_name = False  # whether a base class' arguments can't be passed by position
        for init in (vars(cls)["__init__"] for cls in owner.__mro__[:-1] if "__init__" in vars(cls)):
            _, *own = inspect.signature(init).parameters.values()
            for one in own:
                if one.kind not in hidden and one.name not in shown:
                    shown[one.name] = one.replace(kind=_KEYWORD) if by_name and one.kind < _KEYWORD else one
            kinds = {one.kind for one in own}
            by_name = by_name or _POSITIONALS not in kinds
            if _OPTIONS not in kinds or owner._takes_any_argument:
                break
        return inspect.Signature(sorted(shown.values(), key=lambda one: one.kind))


class Spec(SaysWhatIsLeftOut):
    """Something that a script gives by name, object or config dict.

    A subclass stores every argument of its `__init__` under the argument's own name; its config, its
    representation and the message for an unknown argument follow from that.
    """

    _unsaved_arguments: ClassVar[tuple[str, ...]] = ()
    """Arguments that the config does without."""
    _takes_any_argument: ClassVar[bool] = False
    """Whether arguments of any other name go to a function of the user's, which judges them."""
    _unknown_argument_error: ClassVar[type[Exception]] = TypeError
    """What an argument of another name raises, as in Keras."""
    _fixed_arguments: ClassVar[Mapping[str, Any]] = {}
    """Arguments that Keras has beside, and their only value here."""
    _config_may_lack_arguments: ClassVar[bool] = False
    """Whether a subclass of the user's may keep arguments under other names: its own get_config then adds them."""
    __signature__ = _Signature()

    def __new__(cls, *_: Any, **options: Any) -> Self:
        known = list(_arguments(cls)) if options and not cls._takes_any_argument else list(options)
        for option in options:
            if option not in known:
                names = listing(dict.fromkeys(known))
                msg = f"{cls.__name__} has no argument `{option}`{nearest(option, known)} It takes: {names}"
                raise cls._unknown_argument_error(msg)
        return super().__new__(cls)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this object again, as plain Python values."""
        names = [name for name in _arguments(type(self)) if name not in self._unsaved_arguments]
        if self._config_may_lack_arguments:
            names = [name for name in names if hasattr(self, name)]
        return {name: _plain(getattr(self, name)) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an object from `config`, what `get_config` returned, or Keras' for its class."""
        known = set(_arguments(cls))
        return cls(
            **{
                name: value
                for name, value in config_of(config).items()
                if name in known or value not in (None, cls._fixed_arguments.get(name))
            }
        )

    def _serialized(self) -> dict[str, Any]:
        """The class and config, from which `get` makes this object again."""
        return described(type(self), type(self).__name__, self.get_config())

    def __repr__(self) -> str:
        config = self.get_config()
        shown = {name: getattr(self, name, None) for name in config}
        arguments = (
            f"{name}={shown[name] if isinstance(shown[name], Spec) else value!r}"
            for name, value in config.items()
        )
        return f"{type(self).__name__}({', '.join(arguments)})"


def serialize(spec: Spec) -> dict[str, Any]:
    """The class and config of `spec`, from which `get` makes it again."""
    return spec._serialized()


# What Keras hasn't got: files name it by where it is.
_OWN = {"ConfusionMatrix", "RandomElastic"}


def described(owner: Any, class_name: str, config: Any) -> dict[str, Any]:
    """Keras' description of an object or a function.

    Args:
        owner: its class, or the function.
        class_name: the name of the class, or "function".
        config: the arguments, or the name of the function.
    """
    if class_name == "function":  # wherever it is
        name = get_registered_name(owner) if not owner.__module__.startswith("engine.") else config
        return {"module": "builtins", "class_name": class_name, "config": name, "registered_name": class_name}
    package, *path = str(owner.__module__).split(".")
    if package != "engine":
        module = None if package == "__main__" else owner.__module__
        registered = get_registered_name(owner)
        return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}
    place = path[: 2 if path[1:2] == ["schedules"] else 1]
    library = "engine" if class_name in _OWN else "keras"
    module = ".".join([library, *(part for part in place if part != "models")])  # keras.Sequential
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def numbers_of(config: Mapping[str, Any]) -> NDArray[Any]:
    """The array that Keras describes by its `value`, nested lists, and `dtype`."""
    dtype = np.dtype(str(config["dtype"]))
    if dtype.kind not in REAL:
        msg = f"an array in a config must hold real numbers, got dtype {dtype}"
        raise ValueError(msg)
    return np.asarray(config["value"], dtype)


def meant(identifier: object) -> object:
    """What a name or a config dict of a function stands for: one's own function or class, else the name.

    Args:
        identifier: anything; what is neither is returned as it is.
    """
    if isinstance(identifier, Mapping) and identifier.get("class_name") == "function":
        name = str(identifier.get("config"))
        own = registered_by(identifier, name)
        return name if own is None else own
    own = get_registered_object(identifier) if isinstance(identifier, str) else None
    return identifier if own is None else own


def serialize_any(given: Any) -> dict[str, Any] | str:
    """What `deserialize_any` makes `given` from again: class and config of an object, the name of a function."""
    return serialize(given) if isinstance(given, Spec) else str(given.__name__)


def deserialize_any(
    get: Callable[[Any], Any],
    config: Mapping[str, Any] | str,
    custom_objects: Mapping[str, Any] | None,
) -> Any:
    """What `serialize_any` was given, where functions count as well as classes.

    Args:
        get: of the kind in question.
        config: what `serialize_any` returned.
        custom_objects: classes and functions of your own, by name.
    """
    if custom_objects and isinstance(config, str) and config in custom_objects:
        return custom_objects[config]
    with custom_object_scope(custom_objects):
        return get(config)


def _plain(value: object) -> object:
    if isinstance(value, Spec):
        return serialize(value)
    if not inspect.isfunction(value):
        return value
    known = value.__module__.startswith("engine.")
    return value.__name__ if known else described(value, "function", value.__name__)


S = TypeVar("S", bound=Spec)


class Registry(Generic[S]):
    """The classes of one kind, by name. `Registry.of` has each by its kind, for what such classes are made from.

    Args:
        kind: what messages call them, such as "optimizer".
        base: the class that all of them derive from.
        joined: whether messages write names as one word, such as "rmsprop".
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
        """Decorator: make a class known by its name in both cases, by `aliases` and by its `function`."""

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
        """The object that a name, a class, a function, a config dict or an object of this kind stands for.

        Args:
            identifier: what it is called by, or itself; a class is called without arguments.

        Raises:
            ValueError: for an unknown name; the message suggests the nearest.
            TypeError: for anything that cannot stand for one.
        """
        if isinstance(identifier, type) and issubclass(identifier, self.base):
            identifier = identifier()
        if isinstance(identifier, self.base):
            found: S = identifier
            return found
        if isinstance(identifier, str):
            own = meant(identifier)
            return self._named(identifier)() if own is identifier else self.get(own)
        if isinstance(identifier, Mapping) and "class_name" in identifier:
            name = str(identifier["class_name"])
            own = registered_by(identifier, name)
            return (self._named(name, in_config=True) if own is None else own).from_config(
                identifier.get("config") or {}
            )
        if inspect.isfunction(identifier) and identifier in self._functions:
            return self._functions[identifier]()
        module = ".".join(self.base.__module__.split(".")[:2])
        msg = f"`{self._kind}` must be a name, an object of {module} or a config dict, got {identifier!r}"
        raise WrongTypeError(msg)

    def get_or_wrap(self, identifier: object, wrap: Callable[[Any], S]) -> S | None:
        """As `get`, but None stays None, and `wrap` makes an object from a function, or a class that makes one."""
        if (identifier := meant(identifier)) is None:
            return None
        kind = identifier if isinstance(identifier, type) else type(identifier)
        if callable(identifier) and not issubclass(kind, self.base):
            made = identifier() if isinstance(identifier, type) else identifier
            return wrap(made) if callable(made) else self.get(made)
        return self.get(identifier)

    def deserialize(self, config: object, custom_objects: Mapping[str, Any] | None = None) -> S:
        """The object that `serialize` described.

        Args:
            config: a name, or `{"class_name": ..., "config": {...}}`.
            custom_objects: classes of your own by name.

        Raises:
            ValueError: for a name that is neither there nor in `custom_objects`.
        """
        with custom_object_scope(custom_objects):
            return self.get(config)

    def _named(self, name: str, in_config: bool = False) -> type[S]:
        """The class of that name; `in_config` says that a config has it, which may mean a class of the user's."""
        found = self._classes.get(name.lower())
        if found is None:
            known = ", ".join(sorted(set(self._names)))
            end = nearest(name, self._names)
            if in_config:
                end += (
                    f" If it is a class of your own, pass custom_objects={{{name!r}: {name}}}, or decorate the class with "
                    "@register_keras_serializable()."
                )
            msg = f"unknown `{self._kind}` {name!r}{end} Known: {known}"
            raise ValueError(msg)
        return found
