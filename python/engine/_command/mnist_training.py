"""The command `engine mnist`: train by a recipe with one seed or several, test, print, and draw the report."""

from __future__ import annotations

import hashlib
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from engine import callbacks, datasets, utils
from engine._base.extras import extra
from engine._command.recipes import CHOICE, RECIPES, Recipe
from engine._core_interface.cpp import build_info

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    from engine.models import Sequential

    Weights = list[NDArray[np.float32]]
    Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]

MAX_SEED = 2**32 - 1  # what `set_random_seed` takes
_MODEL = "Flatten → Dense 128 relu → Dense 10 softmax, Adam"
_TESTED_EPOCHS = 100  # points of the report's test curve, and copies of the weights (0.4 MB each), at most

_FAILED = 1
_BAD_ARGUMENT = 2  # as argparse


class _Trained(NamedTuple):
    """The results of one training run."""

    model: Sequential
    history: dict[str, list[float]]
    weights: dict[int, Weights]  # by the number of epochs done
    seconds: dict[str, float]
    accuracy: float


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Args:
        args: `recipe`, `seed`, `seeds`, `epochs`, `batch_size`, `report` and `no_report`.

    Returns:
        The exit status: 0, 1 when the work failed, 2 for a bad argument.
    """
    refusal = _refusal(args)
    if refusal:
        print(f"engine mnist: error: {refusal}", file=sys.stderr)
        return _BAD_ARGUMENT
    recipe = _recipe(args)
    drawing, reason = (None, "") if args.no_report else _drawing()
    if drawing:
        try:
            args.report.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(f"engine mnist: error: argument --report: can't make the folder: {error}", file=sys.stderr)
            return _BAD_ARGUMENT

    seconds: dict[str, float] = {}
    try:
        with _timed(seconds, "loading"):
            train, test = datasets.mnist.load_data()
    except (ImportError, OSError) as error:
        print(f"engine mnist: error: {error}", file=sys.stderr)
        return _FAILED
    runs = [_trained(args, recipe, seed, train, test) for seed in range(args.seed, args.seed + args.seeds)]

    if recipe.chosen:
        print(f"{'recipe':12}{args.recipe}: {recipe}\n{'':12}{CHOICE}")
    _print(seconds, runs, len(test[0]))
    if drawing:
        return _draw(drawing, args, recipe, runs, test)
    if not args.no_report:
        print(f"{'report':12}none: {reason}")
    return 0


def _refusal(args: argparse.Namespace) -> str:
    """Returns what is wrong with the combination of the arguments, or an empty string."""
    if RECIPES[args.recipe].chosen:
        for name, value in (("--epochs", args.epochs), ("--batch-size", args.batch_size)):
            if value is not None:
                return f"argument {name}: not allowed with --recipe {args.recipe}, which has its own"
    if args.seed + args.seeds - 1 > MAX_SEED:
        return f"argument --seeds: the last seed would be {args.seed + args.seeds - 1}, more than {MAX_SEED}"
    return ""


def _recipe(args: argparse.Namespace) -> Recipe:
    recipe = RECIPES[args.recipe]
    return replace(
        recipe, epochs=args.epochs or recipe.epochs, batch_size=args.batch_size or recipe.batch_size
    )


def _trained(args: argparse.Namespace, recipe: Recipe, seed: int, train: Images, test: Images) -> _Trained:
    """Trains and tests with one seed. If there are several seeds, one line is printed instead of the progress."""
    seconds: dict[str, float] = {}
    utils.set_random_seed(seed)
    with _timed(seconds, "compiling"):
        model = recipe.model()
        recipe.compile(model, len(train[0]))
    weights: dict[int, Weights] = {}
    spacing = -(-recipe.epochs // _TESTED_EPOCHS)

    def keep_weights(epoch: int, logs: object) -> None:
        done = epoch + 1
        if done % spacing == 0 or done == recipe.epochs:
            weights[done] = model.get_weights()

    drawn = seed == args.seed and not args.no_report
    hooks = [callbacks.LambdaCallback(on_epoch_end=keep_weights)] if drawn else []
    with _timed(seconds, "training"):
        history = recipe.fit(model, *train, hooks, verbose="auto" if args.seeds == 1 else 0)
    labels = recipe.targets(test[1])
    with _timed(seconds, "evaluating"):
        _, accuracy = _evaluate(model, test[0], labels)
    if args.seeds > 1:
        print(f"{f'seed {seed}':12}{accuracy:.2%} in {seconds['training']:.3f} s", flush=True)
    return _Trained(model, history, weights, seconds, accuracy)


def _print(seconds: dict[str, float], runs: Sequence[_Trained], images: int) -> None:
    """Prints the results of all runs."""
    several = f", the mean of {len(runs)} seeds" if len(runs) > 1 else ""
    print(f"{'loading':12}{seconds['loading']:.3f} s")
    for step in runs[0].seconds:
        print(f"{step:12}{np.mean([run.seconds[step] for run in runs]):.3f} s{several}")
    accuracies = [run.accuracy for run in runs]
    print(
        f"{'accuracy':12}{np.mean(accuracies):.2%} of the {images:,} test images{several}{_range(accuracies)}"
    )
    digest = _sha256(array for run in runs for array in run.model.get_weights())
    print(f"{'SHA-256':12}{digest} (trained weights{' of all seeds' if several else ''})")


def _range(accuracies: Sequence[float]) -> str:
    return f" ({min(accuracies):.2%} to {max(accuracies):.2%})" if len(accuracies) > 1 else ""


def _evaluate(model: Sequential, x: NDArray[np.uint8], y: NDArray[np.float64 | np.uint8]) -> list[float]:
    """Returns loss and accuracy."""
    return cast("list[float]", model.evaluate(x, y, verbose=0))


def _sha256(weights: Iterable[NDArray[np.float32]]) -> str:
    """Returns the SHA-256 of the weights as contiguous little-endian float32, in the order of `get_weights`."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start


def _drawing() -> tuple[ModuleType | None, str]:
    """Returns the module that draws the report, or None and the reason why it can't be imported."""
    try:
        extra("matplotlib", "plot", "the report")
        from engine._command import mnist_report
    except ImportError as error:
        return None, str(error)
    return mnist_report, ""


def _draw(
    drawing: ModuleType, args: argparse.Namespace, recipe: Recipe, runs: Sequence[_Trained], test: Images
) -> int:
    """Draws the report of the first run and returns the exit status."""
    images, labels = test
    trained = runs[0]
    model, targets = trained.model, recipe.targets(labels)
    digest = _sha256(model.get_weights())
    # The test curve is computed now, from the weights that were kept after each epoch, so that it can't influence training.
    losses, accuracies = [], []
    for weights in trained.weights.values():
        model.set_weights(weights)
        loss, accuracy = _evaluate(model, images, targets)
        losses.append(loss)
        accuracies.append(accuracy)
    facts = [
        f"{_MODEL} · seed {args.seed} · trained in {trained.seconds['training']:.2f} s",
        f"Recipe {args.recipe}: {recipe}",
        f"mlp-engine {build_info()['version']} · SHA-256 of the trained weights {digest}",
    ]
    if recipe.chosen:
        facts.insert(2, CHOICE[0].upper() + CHOICE[1:])
    if len(runs) > 1:
        accuracy_of_runs = [run.accuracy for run in runs]
        facts[0] += f" · mean of {len(runs)} seeds {np.mean(accuracy_of_runs):.2%}{_range(accuracy_of_runs)}"
    try:
        drawing.write(
            args.report,
            facts=facts,
            train={name: trained.history[name] for name in ("loss", "accuracy")},
            test={"loss": losses, "accuracy": accuracies},
            tested=list(trained.weights),
            images=images,
            labels=labels,
            probabilities=model.predict(images, verbose=0),
            smoothing=recipe.label_smoothing,
        )
    except OSError as error:
        print(f"engine mnist: error: can't write the report: {error}", file=sys.stderr)
        return _FAILED
    print(f"{'report':12}{args.report}")
    return 0
