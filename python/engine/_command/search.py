"""The command `engine tune`: search for the hyperparameters of a script's model."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine._base.checks import listing
from engine._base.extras import extra
from engine.tuning import Trial, TuneInterrupt, TuneResults, tune

# The trials that are printed.
_MOST_ROWS = 10
# What a script may define beside `build`, and is passed to the search.
_DATA = ("x", "y", "validation_data", "sample_weight", "class_weight", "callbacks")


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns the exit status: 0, 1 if no trial has a score, 130 after Ctrl-C."""
    defined = _defined_by(args.script)
    if not callable(defined.get("build")) or "x" not in defined:
        own = [name for name in defined if not name.startswith("_")]
        print(
            f"engine tune: {args.script} must define a function build(hp) and data x, and y unless x yields batches; it defines "
            f"{listing(own)}",
            file=sys.stderr,
        )
        return 2
    if args.save is not None and not args.save.resolve().parent.is_dir():
        print(f"engine tune: there is no folder {str(args.save.parent)!r} for --save", file=sys.stderr)
        return 2
    if args.plots is not None:
        try:
            extra("matplotlib", "plot", "engine tune --plots")
        except ImportError as error:
            print(f"engine tune: {error}", file=sys.stderr)
            return 1
    data = {name: defined[name] for name in _DATA if name in defined}
    try:
        results = tune(
            defined["build"],
            **data,
            max_trials=args.trials,
            epochs=args.epochs,
            batch_size=args.batch_size,
            validation_split=args.validation_split,
            sampler=args.sampler,
            pruner=args.pruner,
            objective=args.objective,
            direction=args.direction,
            seed=args.seed,
            file=args.file,
            backend=args.backend,
        )
    except TuneInterrupt as stopped:
        _print_table(stopped.results)
        raise
    except (ValueError, TypeError, ImportError) as error:
        print(f"engine tune: {error}", file=sys.stderr)
        return 1
    _print_table(results)
    if not results.ranked:
        return 1
    _write(results, args)
    return 0


def _defined_by(script: Path) -> Mapping[str, Any]:
    """Returns the names that a script defines. It runs with `__name__` "engine_tune", so that what `__main__` guards is left out."""
    sys.path.insert(0, str(script.resolve().parent))
    return runpy.run_path(str(script), run_name="engine_tune")


def _write(results: TuneResults, args: argparse.Namespace) -> None:
    """Writes the model and the pictures that were asked for."""
    if args.save is not None:
        results.best_model.save(args.save)
        print(f"the best model is in {args.save}")
    if args.plots is not None:
        args.plots.mkdir(parents=True, exist_ok=True)
        import matplotlib as mpl

        mpl.use("Agg")
        for name, draw in (
            ("importances", results.plot_importances),
            ("parallel", results.plot_parallel),
            ("curves", results.plot_curves),
        ):
            draw().figure.savefig(args.plots / f"{name}.png", dpi=150)
        print(f"pictures are in {args.plots}")


def _print_table(results: TuneResults) -> None:
    """Prints the best trials, and how many failed."""
    shown = results.ranked[:_MOST_ROWS]
    names = list(dict.fromkeys(name for trial in shown for name in trial.values))
    rows = [["trial", results.objective, "epochs", *names], *(_row(trial, names) for trial in shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))
    failed = [trial for trial in results if trial.error is not None]
    if failed:
        print(f"{len(failed)} of {len(results)} trials failed; the first: {failed[0].error}")


def _row(trial: Trial, names: list[str]) -> list[str]:
    values = [trial.values.get(name, "") for name in names]
    return [
        str(trial.number),
        f"{trial.score:.4g}",
        str(trial.epochs),
        *(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values),
    ]
