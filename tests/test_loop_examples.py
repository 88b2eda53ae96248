"""Runs the scripts in `examples/loops/`, with fewer steps, and some of them long enough to learn."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "loops"

# For each script the arguments of a short run, and the largest or least result of it.
RUNS: dict[str, tuple[dict[str, Any], float, float]] = {
    "actor_critic": ({"episodes": 10}, 5.0, 200.0),
    "contrastive": ({"steps": 30}, 0.8, 1.0),
    "distillation": ({"samples": 400, "epochs": 5}, 0.5, 1.0),
    "dqn": ({"episodes": 12}, 5.0, 200.0),
    "gan": ({"samples": 256, "epochs": 3}, 0.0, 5.0),
    "gradient_penalty": ({"steps": 5}, 0.0, 5.0),
    "maml": ({"steps": 20}, 0.0, 0.95),
    "mc_dropout": ({"epochs": 20}, 1.5, 50.0),
    "physics_informed": ({"steps": 150}, 0.0, 0.5),
    "vae": ({"samples": 256, "epochs": 20}, 0.0, 0.4),
}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_example(name: str) -> None:
    arguments, least, most = RUNS[name]
    main = runpy.run_path(str(FOLDER / f"{name}.py"))["main"]
    assert least <= main(**arguments) <= most


def test_each_example_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {*RUNS, "cart_pole"}


def test_pairs_as_well_as_triplets() -> None:
    main = runpy.run_path(str(FOLDER / "contrastive.py"))["main"]
    assert main(steps=30, triplets=False) > 0.8
