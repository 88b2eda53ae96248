"""The `__getattr__` of modules (PEP 562): names that are imported on first use, and a suggestion for unknown ones."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from engine._base.checks import suggestion

# Held during these imports. fork() waits for it: CPython's own lock of a module that another thread is importing stays
# locked in the child for ever.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


def on_first_use(package: str, note: str = "", /, **homes: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module.

    Args:
        package: its `__name__`.
        note: what messages about unknown names add.
        **homes: of each name that is imported on first use the submodule that it is in, or that it is.
    """

    def getattr_(name: str) -> Any:
        if name not in homes:
            raise no_attribute(package, name, note, homes)
        import importlib

        with _importing:
            found: Any = importlib.import_module(f"{package}.{homes[name]}")
        if name != homes[name]:
            found = getattr(found, name)
        setattr(sys.modules[package], name, found)
        return found

    return getattr_


def no_attribute(module: str, name: str, note: str = "", more: Iterable[str] = ()) -> AttributeError:
    """The error for a `name` that a module lacks, with the nearest of those that it has.

    Args:
        module: its `__name__`.
        name: what was asked for.
        note: what the message adds.
        more: names that it has besides those in its `__all__`.
    """
    from engine._base.left_out import reason_of

    owner = sys.modules[module]
    reason = reason_of(module, name)
    if reason is not None:
        msg = f"module {module!r} has no attribute {name!r}. Keras has it, but {reason}"
        return AttributeError(msg, name=name, obj=owner)
    known = {*getattr(owner, "__all__", ()), *more}
    near = None if name.startswith("_") else suggestion(name, sorted(known))
    end = f"; did you mean {near!r}?" if near else ""
    if note:
        end += f" {note[0].upper()}{note[1:]}" if near else f": {note}"
    return AttributeError(f"module {module!r} has no attribute {name!r}{end}", name=name, obj=owner)
