"""Runs the code of README and the examples of docstrings, and checks that docstrings describe all arguments."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import engine

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from public import INTERNAL, PLACES, names_of, public_modules, write_pages  # noqa: E402 # the reference is made with the same functions

PUBLIC = [(module, name) for module in public_modules() for name in names_of(module)]
IGNORED = {"self", "cls", "args", "kwargs"}
# Their arguments are described once, for all of them.
HOOK = re.compile(r"on_(train|test|predict|epoch|batch)_|set_(model|params)$|__")


def modules() -> list[str]:
    found = pkgutil.walk_packages(engine.__path__, "engine.")
    return ["engine", *(info.name for info in found if not info.name.endswith(("__main__", "_core")))]


def test_readme_runs() -> None:
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(ROOT / "README.md")
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_in_docstrings() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert (
        sum(len(test.examples) for name in modules() for test in finder.find(importlib.import_module(name)))
        > 20
    )


def entries(page: str) -> dict[str, str]:
    """Returns the entries of classes on a page of the reference, by name."""
    return {each.split()[0]: each for each in re.split(r"\.\. (?:auto|py:)class:: ", page)[1:]}


def test_entries_of_classes_name_bases_and_other_names(tmp_path: Path) -> None:
    write_pages(tmp_path)
    page = (tmp_path / "engine.initializers.rst").read_text(encoding="utf-8")
    table = page.partition(".. rubric:: Functions")[0]
    assert "   GlorotUniform\n" in table
    assert "glorot_uniform" not in table  # it has no description, so its row would be empty
    found = entries(page)
    assert "Another name of :py:class:`~engine.initializers.GlorotUniform`" in found["glorot_uniform"]
    assert ":show-inheritance:" in found["GlorotUniform"]
    assert ":show-inheritance:" not in found["Initializer"]  # none of its bases is public


def test_the_reference_leaves_out_no_name_of_the_engine() -> None:
    """Names that are not for users must begin with an underscore."""
    for cls in PLACES:
        if inspect.isclass(cls):
            owners = [one.__module__ for one in cls.__mro__ if INTERNAL & set(vars(one))]
            estimators = ("engine.sklearn.", "engine.wrappers.")
            assert not [
                owner for owner in owners if owner.startswith("engine.") and not owner.startswith(estimators)
            ]


def callables(value: Any) -> Iterator[tuple[str, Any]]:
    """Returns `value` and the public methods that its class defines."""
    yield "", value
    if inspect.isclass(value):
        for name, member in vars(value).items():
            public = not name.startswith("_") and name not in INTERNAL
            if public and callable(getattr(value, name)) and not inspect.isclass(member):
                yield f".{name}", getattr(value, name)


def undescribed(value: Any, doc: str) -> list[str]:
    """Returns the arguments that a docstring neither lists nor mentions in a sentence."""
    try:
        parameters = inspect.signature(value).parameters
    except (TypeError, ValueError):
        return []
    return [
        name
        for name in parameters
        if name not in IGNORED
        and not re.search(rf"^ *\*{{0,2}}{name}:|`[^`]*\b{name}\b[^`]*`", doc, re.MULTILINE)
    ]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda value: getattr(value, "__name__", value))
def test_public_names_are_documented(module: ModuleType, name: str) -> None:
    value = getattr(module, name)
    if not callable(value):
        return
    for suffix, each in callables(value):
        assert inspect.getdoc(each), f"{name}{suffix} has no docstring"
        # Arguments of the bases, which the reference names, are not described again.
        classes = each.__mro__ if inspect.isclass(each) else [each]
        doc = "\n".join(inspect.getdoc(one) or "" for one in classes)
        if not HOOK.match(suffix[1:]):
            assert not undescribed(each, doc), f"{name}{suffix} doesn't describe all of its arguments"


def test_files_of_the_source_that_pages_name_exist() -> None:
    sources = {path for room in ("csrc", "python", "tests", "bench") for path in (ROOT / room).rglob("*.*")}
    named = [
        (page.name, name)
        for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"]
        for name in re.findall(r"`([a-z0-9_/]+\.(?:h|cpp|cu|py))`", page.read_text("utf-8"))
        if name != "math.h"  # that of C
    ]
    assert len(named) > 30
    missing = [
        (page, name)
        for page, name in named
        if not (ROOT / name).exists() and not any(str(path).endswith(f"/{name}") for path in sources)
    ]
    assert not missing
