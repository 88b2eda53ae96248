"""Names and arguments that older versions of Keras had: each works as its successor does, with a deprecation warning."""

from __future__ import annotations

import warnings
from collections.abc import MutableMapping
from typing import Any


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


def warn_of_older(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warns that `old`, a name of an older version of Keras, has the successor `new`."""
    warnings.warn(
        f"{old} is of an older version of Keras: use {new}", DeprecationWarning, stacklevel=stacklevel
    )
