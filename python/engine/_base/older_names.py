"""Names and arguments that older versions of Keras had: each works as its successor does, with a deprecation warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Container, Mapping, MutableMapping, Sequence
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def older_argument(options: MutableMapping[str, Any], old: str, new: str, value: Any) -> Any:
    """Removes the argument `old` from `options` and returns its value; without it, returns `value`.

    Args:
        options: the arguments that a function got by names that it does not list.
        old: the name in an older version of Keras.
        new: the present name.
        value: the value that the function got under the present name; None if it got none.

    Raises:
        TypeError: if both names were given.
    """
    if old not in options:
        return value
    if value is not None:
        msg = f"give `{new}` or `{old}`, its older name, but not both"
        raise TypeError(msg)
    warn_of_older(f"the argument `{old}`", f"`{new}`", stacklevel=4)
    return options.pop(old)


def older_arguments(names: Mapping[str, str]) -> Callable[[F], F]:
    """Decorates a function so that it takes arguments by the names that older versions of Keras had, and warns.

    Args:
        names: the present name of each of these.
    """

    def decorated(function: F) -> F:
        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            for old in options.keys() & names.keys():
                new = names[old]
                if new in options:
                    msg = f"give `{new}` or `{old}`, its older name, but not both"
                    raise TypeError(msg)
                warn_of_older(f"the argument `{old}`", f"`{new}`")
                options[new] = options.pop(old)
            return function(*args, **options)

        return called  # type: ignore[return-value] # it takes the arguments of `function`

    return decorated


def name_first(method: F) -> F:
    """Decorates a method that creates a weight so that it takes its name as the first argument, as in Keras 2, and warns."""

    @functools.wraps(method)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        if args and isinstance(args[0], str) and "name" not in options:
            warn_of_older(f"the name {args[0]!r} as the first argument", "`name`")
            options["name"], args = args[0], args[1:]
        return method(self, *args, **options)

    return called  # type: ignore[return-value] # it takes the arguments of `method`


def warn_of_older(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warns that `old`, a name of an older version of Keras, has the successor `new`."""
    warnings.warn(
        f"{old} is of an older version of Keras: use {new}", DeprecationWarning, stacklevel=stacklevel
    )


# Names that Keras 2.0 to 2.2 gave to values in logs, each with the names that they have now: an accuracy was `acc`, and a
# metric that `compile` got by a short name had its full name.
_NAMES_IN_LOGS: Mapping[str, Sequence[str]] = {
    "acc": ("accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"),
    "binary_crossentropy": ("bce",),
    "categorical_crossentropy": ("cce",),
    "cosine_proximity": ("cosine", "cosine_similarity"),
    "kullback_leibler_divergence": ("kld", "kl_divergence"),
    "lr": ("learning_rate",),
    "mean_absolute_error": ("mae",),
    "mean_absolute_percentage_error": ("mape",),
    "mean_squared_error": ("mse",),
    "mean_squared_logarithmic_error": ("msle",),
}


def name_in_logs(name: object, names: Container[str]) -> str | None:
    """Returns the one of `names` that a name in the logs of an older version of Keras has now; None if there is none.

    `val_` and the names of outputs may stand before it, as in `val_acc`.
    """
    words = name.split("_") if isinstance(name, str) else []
    for start in range(len(words)):
        before = "".join(f"{word}_" for word in words[:start])
        for present in _NAMES_IN_LOGS.get("_".join(words[start:]), ()):
            for spelling in (before + present, before + present.upper()):
                if spelling in names:
                    return spelling
    return None


# The suffixes of files of weights in scripts for TensorFlow, which writes several files with longer ones.
_OF_CHECKPOINTS = ("", ".ckpt", ".tf")


def is_checkpoint(path: str) -> bool:
    """Returns whether a file of weights has a name as TensorFlow's checkpoints have, such as "model" or "model.ckpt"."""
    from pathlib import Path  # on first use, since few programs need it

    return bool(Path(path).name) and Path(path).suffix in _OF_CHECKPOINTS


# What modules had before Keras 2.2 alone, each with what scripts call in its place.
_REPLACED: Mapping[str, Mapping[str, str]] = {
    "layers": {"Merge": "Concatenate, Multiply, Add, Average or Dot, on a list of outputs"},
}


def replaced_by(module: str, name: str) -> str | None:
    """Returns what replaces a name that a module of Keras had before version 2.2 alone; None for other names.

    Args:
        module: the `__name__` of the module here, such as "engine.layers".
        name: the name.
    """
    return _REPLACED.get(module.partition(".")[2], {}).get(name)


class NamedValues(dict[str, Any]):
    """A dict of logs, or of a history. It also finds a value by the name that older versions of Keras gave it, and warns.

    Such names are no keys of it: `in`, `keys()` and the length are those of a dict. Copies and pickles are plain dicts.
    """

    def __missing__(self, name: str) -> Any:
        found = name_in_logs(name, self)
        if found is None:
            raise KeyError(name)
        warn_of_older(f"the name {name!r} in logs", repr(found))
        return self[found]

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the value of `name`, or `default` if there is none."""
        found = name if name in self else name_in_logs(name, self)
        if found is None:
            return default
        if found != name:
            warn_of_older(f"the name {name!r} in logs", repr(found))
        return self[found]

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        return dict, (dict(self),)
