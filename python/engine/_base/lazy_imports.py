"""The `__getattr__` of the package's modules (PEP 562).

It imports what few programs need on first use, so that `import engine` is quick. For an unknown name it raises an error
that suggests the nearest name. What Keras has and the engine leaves out is a `LeftOut`, which says why when it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from engine._base.checks import suggestion
from engine._base.locks import IMPORTING

# Functions of a module and a name that it lacks, which return what the name was in an older version of Keras, or None.
# `engine/_keras2` adds one.
finders_of_names: list[Callable[[str, str], Any]] = []


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
            for find in finders_of_names:
                attribute = find(package, name)
                if attribute is not None:
                    return attribute
            return absent(package, name, note, homes)
        import importlib

        with IMPORTING:
            attribute = importlib.import_module(f"{package}.{homes[name]}")
        if name != homes[name]:
            attribute = getattr(attribute, name)
        setattr(sys.modules[package], name, attribute)
        return attribute

    return getattr_


class LeftOut:
    """Stands for a name that Keras has and the engine leaves out. Each use raises the error that says why.

    So a script may import names that it doesn't use. Nothing is an instance of it.

    Args:
        module: the full name of the module that leaves it out.
        name: its name there.
        reason: why the engine leaves it out.
    """

    def __init__(self, module: str, name: str, reason: str) -> None:
        self._module, self._name, self._reason = module, name, reason

    def __getattr__(self, name: str) -> LeftOut:
        if name.startswith("_"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise self._error()

    def __mro_entries__(self, bases: object) -> Any:
        raise self._error()

    def __instancecheck__(self, instance: object) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<{self._module}.{self._name}, which is left out>"

    def _error(self) -> AttributeError:
        msg = f"module {self._module!r} has no attribute {self._name!r}. Keras has it, but {self._reason}"
        return AttributeError(msg, name=self._name, obj=sys.modules[self._module])


def absent(module: str, name: str, note: str = "", more: Iterable[str] = ()) -> LeftOut:
    """Returns what stands for a `name` of Keras that a module leaves out.

    Args:
        module: the `__name__` of the module.
        name: a name that it lacks.
        note: a sentence for the end of messages.
        more: names of the module that are not in its `__all__`.

    Raises:
        AttributeError: for any other name. The message suggests the nearest name.
    """
    from engine._base.left_out import reason_of

    reason = reason_of(module, name)
    if reason is not None:
        return LeftOut(module, name, reason)
    raise _no_attribute(module, name, note, more)


def _no_attribute(module: str, name: str, note: str, more: Iterable[str]) -> AttributeError:
    owner = sys.modules[module]
    names = {*vars(owner).get("__all__", ()), *more}
    near = None if name.startswith("_") else suggestion(name, sorted(names))
    end = f"; did you mean {near!r}?" if near else ""
    if note:
        end += f" {note[0].upper()}{note[1:]}" if near else f": {note}"
    # Without `obj`, so that Python adds no suggestion of its own.
    return AttributeError(f"module {module!r} has no attribute {name!r}{end}", name=name)
