"""Chooses the recipes of `engine mnist --recipe`, and measures their accuracy.

`python -m bench.recipes choose fast` trains every candidate on the first 50,000 training images and evaluates it on the
last 10,000; it does not use the test images. `python -m bench.recipes test` trains the chosen recipes on all 60,000
training images and evaluates each seed once on the test images. Both write what they print into `bench/`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import machine
from bench.table import markdown
from engine import datasets, utils
from engine._command.recipes import RECIPES, Recipe

FOLDER = Path(__file__).parent
# Training images of a choice, and a smaller number that shows how accuracy grows with their number.
SPLIT, FEWER = 50_000, 40_000
# The seeds of choice and test differ, so that a recipe cannot be chosen because it is lucky with the seeds of the test.
CHOICE_SEEDS, TEST_SEEDS = range(1000, 1020), range(10)
ACCURATE_CHOICE_SEEDS = range(1000, 1005)  # a candidate takes ten times as long

Images = NDArray[np.uint8]
Changes = dict[str, Any]

# Changes of the chosen recipe that are compared with it, by their names in the table.
FAST: dict[str, Changes] = {
    "as chosen": {},
    "1 epoch": {"epochs": 1},
    "3 epochs": {"epochs": 3},
    "batch 32, peak 0.006": {"batch_size": 32, "learning_rate": 0.006},
    "batch 64, peak 0.008": {"batch_size": 64, "learning_rate": 0.008},
    "batch 96, peak 0.01": {"batch_size": 96, "learning_rate": 0.01},
    "batch 256, peak 0.017": {"batch_size": 256, "learning_rate": 0.017},
    "peak 0.008": {"learning_rate": 0.008},
    "peak 0.016": {"learning_rate": 0.016},
    "warm-up 1 %": {"warm_up": 0.01},
    "warm-up 20 %": {"warm_up": 0.2},
    "constant 0.001": {"warm_up": None, "learning_rate": 0.001},
    "betas 0.9, 0.999": {"beta_1": 0.9, "beta_2": 0.999},
    "betas 0.9, 0.98": {"beta_1": 0.9},
    "betas 0.7, 0.95": {"beta_1": 0.7, "beta_2": 0.95},
    "weight decay 0.1": {"weight_decay": 0.1},
    "no smoothing": {"label_smoothing": 0.0},
    "smoothing 0.05": {"label_smoothing": 0.05},
    "smoothing 0.2": {"label_smoothing": 0.2},
    "output weights Glorot": {"output_initializer": "glorot_uniform"},
}
ACCURATE: dict[str, Changes] = {
    "as chosen": {},
    "10 epochs": {"epochs": 10},
    "15 epochs": {"epochs": 15},
    "batch 32, peak 0.004": {"batch_size": 32, "learning_rate": 0.004},
    "batch 64, peak 0.006": {"batch_size": 64, "learning_rate": 0.006},
    "peak 0.007": {"learning_rate": 0.007},
    "peak 0.014": {"learning_rate": 0.014},
    "no decay": {"weight_decay": 0.0},
    "weight decay 0.1": {"weight_decay": 0.1},
    "weight decay 0.2": {"weight_decay": 0.2},
    "no smoothing": {"label_smoothing": 0.0},
    "smoothing 0.05": {"label_smoothing": 0.05},
    "smoothing 0.2": {"label_smoothing": 0.2},
    "betas 0.8, 0.98": {"beta_1": 0.8, "beta_2": 0.98},
    "output weights zeros": {"output_initializer": "zeros"},
}
CANDIDATES = {"fast": (FAST, CHOICE_SEEDS), "accurate": (ACCURATE, ACCURATE_CHOICE_SEEDS)}


class Outcome(NamedTuple):
    """Accuracies in percent and training seconds, one of each for every seed."""

    accuracies: list[float]
    seconds: list[float]

    def cells(self) -> list[str]:
        """Returns the mean accuracy with its standard error, the range, and the median seconds."""
        found = self.accuracies
        error = statistics.stdev(found) / math.sqrt(len(found))
        return [
            f"{statistics.mean(found):.2f} ± {error:.2f}",
            f"{min(found):.2f} to {max(found):.2f}",
            f"{statistics.median(self.seconds):.3f}",
        ]


def outcome(
    recipe: Recipe, train: tuple[Images, Images], held_out: tuple[Images, Images], seeds: Iterable[int]
) -> Outcome:
    """Trains with every seed. The seconds are those of `fit` and of making its targets."""
    accuracies, seconds = [], []
    for seed in seeds:
        utils.set_random_seed(seed)
        model = recipe.model()
        recipe.compile(model, len(train[0]))
        start = time.perf_counter()
        recipe.fit(model, *train, verbose=0)
        seconds.append(time.perf_counter() - start)
        _, accuracy = model.evaluate(held_out[0], recipe.targets(held_out[1]), verbose=0)
        accuracies.append(100 * accuracy)
    return Outcome(accuracies, seconds)


def choose(name: str) -> None:
    """Trains every candidate on a part of the training images, and evaluates it on the rest."""
    (x, y), _ = datasets.mnist.load_data()
    held_out = x[SPLIT:], y[SPLIT:]
    changes, seeds = CANDIDATES[name]
    recipe = RECIPES[name]
    rows = [["", "validation accuracy, %", "range", "training, s"]]
    for label, change in changes.items():
        found = outcome(replace(recipe, **change), (x[:SPLIT], y[:SPLIT]), held_out, seeds)
        rows.append([label, *found.cells()])
        print("  ".join(rows[-1]), flush=True)
    found = outcome(recipe, (x[:FEWER], y[:FEWER]), held_out, seeds)
    rows.append([f"as chosen, {FEWER:,} images", *found.cells()])
    text = [
        f"# How the recipe `{name}` was chosen",
        "",
        f"As chosen: {recipe}. Each row changes the setting that it names. Trained on the first {SPLIT:,} training "
        f"images, tested on the last {len(x) - SPLIT:,}; {len(seeds)} seeds; mean ± its standard error, and median seconds.",
        "",
        *markdown(rows),
    ]
    write(f"RECIPE_{name.upper()}.md", text)


def test() -> None:
    """Trains the chosen recipes on all training images, and evaluates them on the test images."""
    train, held_out = datasets.mnist.load_data()
    rows = [["recipe", "test accuracy, %", "range", "training, s"]]
    for name, recipe in RECIPES.items():
        rows.append([name, *outcome(recipe, train, held_out, TEST_SEEDS).cells()])
    text = [
        "# Accuracy of the recipes of `engine mnist`",
        "",
        f"Trained on all {len(train[0]):,} training images; seeds {TEST_SEEDS[0]} to {TEST_SEEDS[-1]}; mean ± its "
        "standard error, range, and median seconds. Hyper-parameters were chosen on a 50,000/10,000 split of the "
        "training images (`RECIPE_FAST.md`, `RECIPE_ACCURATE.md`); the test images were evaluated once, after that choice.",
        "",
        *markdown(rows),
        "",
        *(f"- {name}: {recipe}" for name, recipe in RECIPES.items()),
    ]
    write("RECIPES.md", text)


def write(name: str, text: list[str]) -> None:
    here = machine.describe(len(machine.allowed_cpus()))
    chosen = [line for line in here["engine"] if "(chosen" in line or line.startswith("threads")]
    text += ["", f"{here['cpu']}, {here['system']}; " + "; ".join(" ".join(line.split()) for line in chosen)]
    (FOLDER / name).write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recipes", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    chooser = commands.add_parser("choose", help="evaluate candidates on a part of the training images")
    chooser.add_argument("recipe", choices=CANDIDATES)
    chooser.set_defaults(run=lambda args: choose(args.recipe))
    commands.add_parser("test", help="evaluate the chosen recipes on the test images").set_defaults(
        run=lambda _: test()
    )
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
