"""Names of a package whose modules are imported when somebody asks for them (PEP 562), as few programs do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def on_first_use(package: str, **homes: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package.

    Args:
        package: its `__name__`.
        **homes: of each name the submodule that it is in, or that it is.
    """

    def getattr_(name: str) -> Any:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        import importlib

        found: Any = importlib.import_module(f"{package}.{homes[name]}")
        if name != homes[name]:
            found = getattr(found, name)
        setattr(sys.modules[package], name, found)
        return found

    return getattr_
