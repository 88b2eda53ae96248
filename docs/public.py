"""Finds the public modules and names of the package, and writes the pages of the reference."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import engine

# Modules without a page: one is run and not imported, another implements `Sequential.export`, and `tensorflow` has the names and
# arguments of TensorFlow, which describes them.
_NOT_FOR_IMPORT = {"cli", "export", "tensorflow"}

# Methods of every estimator, which scikit-learn describes.
INTERNAL = {
    "set_fit_request",
    "set_inverse_transform_request",
    "set_partial_fit_request",
    "set_score_request",
}

# `fit` makes a CallbackList from the callbacks. Its name is that of Keras, and only `fit` calls its methods.
_WITHOUT_MEMBERS = {"CallbackList"}


def public_modules() -> list[ModuleType]:
    """Returns the package, its modules, and modules that are among the public names of these."""
    tops = sorted(info.name for info in pkgutil.iter_modules(engine.__path__))
    public = [name for name in tops if not name.startswith("_") and name not in _NOT_FOR_IMPORT]
    return [engine, *(each for name in public for each in _family(importlib.import_module(f"engine.{name}")))]


def names_of(module: ModuleType) -> list[str]:
    """Returns the public names of `module`, without names of modules."""
    listed = getattr(module, "__all__", None)
    if listed is None:
        listed = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    return sorted(name for name in listed if not inspect.ismodule(getattr(module, name)))


def _family(module: ModuleType) -> Iterator[ModuleType]:
    yield module
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if inspect.ismodule(value):
            yield from _family(value)


def _places() -> dict[Any, str]:
    """Returns the public name of each class and function.

    If an object has several names, it is that of its definition, in the module where the object is defined.
    """
    places: dict[Any, tuple[bool, bool, str]] = {}
    for module in public_modules():
        for name in names_of(module):
            value = getattr(module, name)
            if callable(value):
                home = value.__module__.startswith(module.__name__) and module is not engine
                place = (home, name == value.__name__, f"{module.__name__}.{name}")
                if value not in places or place[:2] > places[value][:2]:
                    places[value] = place
    return {value: name for value, (*_, name) in places.items()}


PLACES = _places()


def _described_elsewhere(cls: type) -> str:
    """Returns the classes whose members the entry of `cls` leaves out.

    These are its public bases, bases from other libraries, and classes that only override members of such bases.
    """
    public = [base for base in cls.__mro__[1:] if base in PLACES]
    above = {base for one in public for base in one.__mro__}
    above |= {base for base in cls.__mro__ if base.__module__.partition(".")[0] != "engine"}
    known = {name for base in above for name in vars(base)} | INTERNAL
    above |= {base for base in cls.__mro__[1:] if all(name in known or name[0] == "_" for name in vars(base))}
    return ", ".join(sorted(base.__name__ for base in above))


def write_pages(folder: Path) -> None:
    """Writes a page of the reference for each module, and a table of the modules, into `folder`."""
    names = [module.__name__ for module in public_modules()[1:]]
    pages = {f"{module.__name__}.rst": _page(module) for module in public_modules()[1:]}
    pages["modules.txt"] = _table("", names)
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        # Sphinx reads a page again if its file is newer.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(module: ModuleType) -> str:
    name = module.__name__
    values = {each: getattr(module, each) for each in names_of(module)}
    types = {each: value for each, value in values.items() if isinstance(value, type)}
    aliases = {each: value for each, value in types.items() if PLACES[value] != f"{name}.{each}"}
    classes = {each: value for each, value in types.items() if each not in aliases}
    functions = [each for each, value in values.items() if callable(value) and each not in types]
    return "\n".join(
        [
            f"{name}\n{'=' * len(name)}\n",
            f".. automodule:: {name}\n   :no-members:\n",
            f".. currentmodule:: {name}\n",
            _table("Classes", classes),
            _table("Functions", functions),
            *(_class(each, value) for each, value in classes.items()),
            *(f".. autofunction:: {each}\n" for each in functions),
            ".. rubric:: Other names\n" if aliases else "",
            *(
                f".. py:class:: {each}\n\n   Another name of :py:class:`~{PLACES[value]}`.\n"
                for each, value in aliases.items()
            ),
        ]
    )


def _class(name: str, cls: type) -> str:
    """Returns the entry of a class. It names the bases if one of them is public."""
    if name in _WITHOUT_MEMBERS:
        return f".. autoclass:: {name}\n   :no-members:\n"
    bases = "   :show-inheritance:\n" if any(base in PLACES for base in cls.__mro__[1:]) else ""
    return f".. autoclass:: {name}\n   :inherited-members: {_described_elsewhere(cls)}\n{bases}"


def _table(title: str, names: Collection[str]) -> str:
    """Returns a table of names, linked to their entries, and first sentences."""
    if not names:
        return ""
    heading = f".. rubric:: {title}\n\n" if title else ""
    return f"{heading}.. autosummary::\n\n" + "".join(f"   {name}\n" for name in names)
