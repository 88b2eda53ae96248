"""What must be true of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from engine import _core
from random_networks import variants
from random_networks.cases import Case
from random_networks.reference import trained_weights
from random_networks.runs import Weights, run, run_with

# Unit roundoff of float32.
U = 2.0**-24
# Two ways to round differ by as much as both together; and a maximum over few weights varies.
FACTOR = 8
# How much of the change of a weight may be rounding. A training with more is drawn badly: it would hide mistakes.
TAME = 1e-3


class UntamedError(AssertionError):
    """A training in which rounding alone makes large differences: where a mistake could hide, another one must be drawn."""


def check_reference(case: Case) -> None:
    """Checks that a training ends with the weights of the reference, but for rounding.

    How much that is, a second reference tells, which computes in float32: `rounding` is its largest error, relative to
    the change of a weight array, beyond what storing the weights in float32 after each step may cause.
    """
    ran = run(case)
    exact, rounded = (
        trained_weights(case, ran.data, ran.before, dtype) for dtype in (np.float64, np.float32)
    )
    moves, noise, errors = (_differences(exact, other) for other in (ran.before, rounded, ran.after))
    steps = case.training.epochs * -(-case.samples.samples // case.training.batch_size)
    sizes = [_differences(weights, None) for weights in (ran.before, exact)]
    storing = {key: steps * U * max(size, sizes[1][key]) for key, size in sizes[0].items()}
    excess = {key: (noise[key] - storing[key]) / moves[key] for key in moves if moves[key]}
    rounding = max(excess.values(), default=0.0)
    if rounding >= TAME:
        msg = f"rounding alone changes weights by {rounding:.1e} of their steps: draw another training"
        raise UntamedError(msg)
    for key, error in errors.items():
        bound = FACTOR * (max(rounding, U) * moves[key] + storing[key])
        assert error <= bound, (
            f"weight {key[1]} of {key[0]} changes by {moves[key]:.2e} in the reference, and differs from it by {error:.2e}; "
            f"rounding may make {bound:.1e}"
        )


def check_variants(case: Case, made: Callable[[Case], Iterator[Case]]) -> None:
    """Checks that other programs end with the same bits."""
    weights = run(case).after
    for other in made(case):
        _require_same(run(other).after, weights, str(other))


def check_instruction_sets(case: Case) -> None:
    """Checks that other instruction sets end with the same bits."""
    weights = run(case).after
    for isa in _core.build_info()["runnable"]:
        if isa != _core.build_info()["isa"]:
            _require_same(run_with(isa, case), weights, f"ENGINE_ISA={isa}")


def _require_same(found: Weights, wanted: Weights, what: str) -> None:
    assert found.keys() == wanted.keys()
    for name in wanted:
        for i, (one, other) in enumerate(zip(found[name], wanted[name], strict=True)):
            assert one.tobytes() == other.tobytes(), (
                f"weight {i} of {name} differs by up to {np.abs(one - other).max():.1e} from that of\n{what}"
            )


def _differences(weights: Weights, others: Weights | None) -> dict[tuple[str, int], float]:
    """Returns the largest absolute difference of each weight array, or the largest absolute value without `others`."""
    return {
        (name, i): float(np.abs(w - (others[name][i] if others else 0)).max(initial=0))
        for name, arrays in weights.items()
        for i, w in enumerate(arrays)
    }


CHECKS: dict[str, Callable[[Case], None]] = {
    "reference": check_reference,
    "forms": lambda case: check_variants(case, variants.forms),
    "loops": lambda case: check_variants(case, variants.loops),
    "copies": lambda case: check_variants(case, variants.copies),
    "threads": lambda case: check_variants(case, variants.threads),
    "instruction sets": check_instruction_sets,
}
