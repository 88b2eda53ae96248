"""Activations, losses and optimizers have a row in every table that needs one; each failure names the file that lacks it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reference_activations
import reference_losses
import reference_optimizers

from engine import activations, layers, losses, optimizers
from engine._base.spec import Registry
from engine._tracing import custom_gradients
from engine._tracing.dispatch import operation_names
from engine.export import c_functions, onnx_format

CSRC = Path(__file__).parents[1] / "csrc"
KINDS = (CSRC / "formulas" / "kinds.h").read_text("utf-8")


def enumerators(kind: str) -> list[str]:
    """Returns the rows of an enum in `formulas/kinds.h`, as "kTanhShrink"."""
    body = re.search(rf"enum class {kind} {{(.*?)}};", KINDS, re.DOTALL)
    assert body is not None
    return re.findall(r"\bk\w+", re.sub("//.*", "", body[1]))


def rows(kind: str) -> list[tuple[str, str]]:
    """Returns enumerators and names in the table of `formulas/kinds.h` for an enum, in its order."""
    found = re.findall(rf'{{{kind}::(k\w+),\s+"(.*?)"', KINDS)
    assert [enumerator for enumerator, _ in found] == enumerators(kind), "csrc/formulas/kinds.h"
    return found


def structs(path: str, kind: str) -> set[str]:
    """Returns the enumerators whose formulas a header has."""
    return set(re.findall(rf"\b{kind}::(k\w+);", (CSRC / path).read_text("utf-8")))


def derived(cls: type[Any]) -> Iterator[type[Any]]:
    for each in cls.__subclasses__():
        if each.__module__.startswith("engine."):
            yield from (each, *derived(each))


# What the two activations that are no function of their own are, and those that work on rows.
FORMS = {"general_relu": "relu", "gelu_tanh": "gelu"}
ROWS = {activation.__name__ for activation in activations.BY_ROW}
ACTIVATIONS = [name for _, name in rows("Activation")]


def test_activations_of_the_core_are_functions() -> None:
    listed = [re.sub("(?<!^)([A-Z])", r"_\1", name[1:]).lower() for name in enumerators("Activation")]
    assert listed == ACTIVATIONS
    functions = {activation.__name__ for activation in activations.operations} | {"threshold"}
    assert {FORMS.get(name, name) for name in ACTIVATIONS} == functions, "engine/activations"
    assert functions <= {*activations.__all__}, "__all__ in engine/activations"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_rows(name: str) -> None:
    assert f"activations.{FORMS.get(name, name)}" in operation_names(), "engine/activations"
    if name in ROWS:
        assert name in c_functions.FUNCTIONS, "engine/export/c_functions.py"
        return
    assert name in reference_activations.FORMULAS, "tests/reference_activations.py"
    # One that has no form of its own in these is written by the formula of the core.
    assert {*c_functions.ACTIVATIONS} == {*onnx_format.ACTIVATIONS}, "engine/export"


def test_every_loss_has_its_rows() -> None:
    assert set(enumerators("Loss")) == structs("formulas/losses.h", "Loss"), "csrc/formulas/losses.h"
    # Crossentropies of logits are chosen from those of probabilities.
    listed = {name for _, name in rows("Loss") if "+" not in name}
    used = {cls._kind for cls in derived(losses.Loss) if hasattr(cls, "_kind")}
    assert listed | {"sparse_categorical_crossentropy"} == used, "engine/losses"
    in_reference = {"mean_squared_error", *(name for name in used if name.endswith("crossentropy"))}
    assert used - {*reference_losses.FORMULAS} <= in_reference, "tests/reference_losses.py"


def test_every_optimizer_has_its_rows() -> None:
    kinds = enumerators("Optimizer")
    formulas = (CSRC / "formulas" / "optimizers.h").read_text("utf-8")
    assert set(kinds) == set(re.findall(r"Optimizer::(k\w+)", formulas)), "csrc/formulas/optimizers.h"
    used = {cls._kind for cls in derived(optimizers.Optimizer) if hasattr(cls, "_kind")}
    assert {name for _, name in rows("Optimizer")} == used, "engine/optimizers"
    assert {*reference_optimizers.RULES} == used, "tests/reference_optimizers.py"


def test_every_optimizer_names_its_slots() -> None:
    listed = re.findall(r'{Optimizer::k\w+,\s+"(\w+)",\s+(\d)', KINDS)
    for cls in derived(optimizers.Optimizer):
        if getattr(cls, "_kind", "muon") not in {"adafactor", "muon"}:  # which have other arrays for matrices
            slots = str(sum(map(len, cls()._slots)))
            assert (cls._kind, slots) in listed, f"`_slots` of {cls.__name__} in {cls.__module__}"


def test_every_registered_class_is_public() -> None:
    inner = {"AddLoss", "GivenMask", "_Crossentropy"}  # which the package makes by itself
    for kind, module in {"layer": layers, "loss": losses, "optimizer": optimizers}.items():
        for known in (*Registry.of[kind]._classes.values(), *Registry.of[kind]._functions):
            of_package = known.__module__.startswith("engine.") and known.__name__ not in inner
            assert not of_package or known.__name__ in module.__all__, f"__all__ of {known.__module__}"


def test_a_rule_for_gradients_may_record_what_the_core_reads_in_one() -> None:
    _, of_functions = (CSRC / "graph" / "layer.cpp").read_text("utf-8").split("// Of traced functions.")
    assert {*re.findall(r'{"(\w+)", read_\w+}', of_functions)} == custom_gradients._NOT_OF_ARRAYS
