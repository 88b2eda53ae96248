"""The `__getattr__` of the package's modules (PEP 562).

It imports what few programs need on first use, so that `import engine` is quick. For an unknown name it raises an error
that suggests the nearest name, or says why the engine leaves out what Keras has.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from engine._base.checks import suggestion
from engine._base.older_names import replaced_by

# Held during these imports, and during fork(), so that no fork happens in the middle of one: the lock that CPython keeps
# for a module that is being imported by another thread would stay locked in the child for ever.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


def on_first_use(package: str, note: str = "", /, **homes: str) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a module.

    Args:
        package: the `__name__` of the module.
        note: a sentence for the end of messages about unknown names.
        **homes: the submodule that defines each name, as `get_file="files"`. A submodule has its own name, as
            `tree="tree"`.
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


def from_package(module: str, names: str) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a module in which older versions of Keras had names that its package has now.

    Args:
        module: the `__name__` of the module.
        names: these names, with spaces between them.
    """
    package, known = module.rpartition(".")[0], frozenset(names.split())

    def getattr_(name: str) -> Any:
        if name in known:
            return getattr(sys.modules[package], name)
        raise no_attribute(module, name, more=known)

    return getattr_


def no_attribute(module: str, name: str, note: str = "", more: Iterable[str] = ()) -> AttributeError:
    """Returns the error for a `name` that a module lacks.

    Args:
        module: the `__name__` of the module.
        name: the unknown name.
        note: a sentence for the end of the message.
        more: names of the module that are not in its `__all__`.
    """
    from engine._base.left_out import reason_of

    owner = sys.modules[module]
    reason = reason_of(module, name)
    if reason is not None:
        msg = f"module {module!r} has no attribute {name!r}. Keras has it, but {reason}"
        return AttributeError(msg, name=name, obj=owner)
    successor = replaced_by(module, name)
    if successor is not None:
        msg = f"module {module!r} has no attribute {name!r}, which only older versions of Keras have: call {successor}"
        return AttributeError(msg, name=name, obj=owner)
    known = {*vars(owner).get("__all__", ()), *more}
    near = None if name.startswith("_") else suggestion(name, sorted(known))
    end = f"; did you mean {near!r}?" if near else ""
    if note:
        end += f" {note[0].upper()}{note[1:]}" if near else f": {note}"
    return AttributeError(f"module {module!r} has no attribute {name!r}{end}", name=name, obj=owner)
