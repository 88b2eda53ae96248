"""The command `python -m bench`: compare the engine with other libraries."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench import bounds, contenders, machine, report
from bench.data import save_mnist
from bench.race import Result, race
from bench.ratios import cells
from bench.suites import FULL, GPU, QUICK, Suite, narrowed
from bench.tasks import DATA, GRAPHS, OPTIMIZERS, ArrayFunction, Problem


def several(convert: Callable[[str], object], allowed: Iterable[str] = ()) -> Callable[[str], list[object]]:
    """Returns a type for argparse that parses a list of values separated by commas."""

    def parse(text: str) -> list[object]:
        parts = [part.strip() for part in text.split(",")]
        for part in parts:
            if allowed and part.partition(":")[0] not in allowed:
                msg = f"{part!r} is none of {', '.join(allowed)}"
                raise argparse.ArgumentTypeError(msg)
        return [convert(part) for part in parts]

    parse.__name__ = "list"  # argparse puts this name into its messages
    return parse


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is not a whole number of at least 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def net(text: str) -> Problem:
    try:
        return Problem.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parser() -> argparse.ArgumentParser:
    cpus = len(machine.allowed_cpus())
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Time the engine and other libraries at the same work. Lists are separated by commas.",
    )
    add = made.add_argument
    add(
        "--full",
        action="store_true",
        help="measure every cell, which takes an hour or two instead of 25 minutes",
    )
    add(
        "--suites",
        type=several(str, FULL | GPU),
        default=list(FULL),
        help=f"some of {', '.join(FULL | GPU)}; by default all but those for GPUs",
    )
    replaced = made.add_argument_group("instead of what the suites have")
    names = contenders.names()
    replaced.add_argument(
        "--contenders",
        type=several(str, names),
        help=f"some of {', '.join(names)}; a variant follows a colon",
    )
    replaced.add_argument("--net", type=several(net), help="such as 784-512-256-10 or 1000-4000-1000:mse")
    replaced.add_argument("--graph", type=several(str, GRAPHS), help=f"some of {', '.join(GRAPHS)}")
    replaced.add_argument("--data", type=several(str, DATA), help=f"some of {', '.join(DATA)}")
    replaced.add_argument(
        "--optimizer", type=several(str, OPTIMIZERS), help=f"some of {', '.join(OPTIMIZERS)}"
    )
    replaced.add_argument("--batch", type=several(positive), help="batch sizes of the trainings")
    add("--rounds", type=positive, default=5, help="how often everything is timed; default: 5")
    add(
        "--patience",
        type=float,
        default=20.0,
        help="seconds after which a slow contender gets no more rounds; default: 20",
    )
    add(
        "--threads",
        type=positive,
        default=cpus,
        help="threads and CPUs that every contender may use; default: all",
    )
    add("--json", type=Path, default=Path("reports/bench.json"), help="file that everything is written to")
    add(
        "--out",
        type=Path,
        help="folder for RESULTS.md and the chart; default: bench, or the folder of the JSON if only a part is measured",
    )
    return made


def compare(
    chosen: dict[str, Suite], args: argparse.Namespace, save: Callable[[Sequence[Result]], None]
) -> list[Result]:
    """Runs all tasks one after the other, and calls `save` with the results so far after each."""
    results: list[Result] = []
    speeds = (
        bounds.speeds_of(args.threads)
        if any("function" in suite.measures for suite in chosen.values())
        else {}
    )
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
        save_mnist(Path(folder))
        for name, suite in chosen.items():
            lists = list(suite.tasks(args.threads))
            done, total = 0, sum(map(len, lists))
            for tasks in lists:
                for found in race(tasks, suite.groups, args.rounds, args.patience, Path(folder)):
                    done += 1
                    print(
                        f"{name} {done}/{total}: {found[0].task.group}, {found[0].task.column}",
                        file=sys.stderr,
                    )
                    for result in found:
                        result.suite = name
                        if isinstance(result.task, ArrayFunction):
                            result.facts["bound"] = bounds.bound(result.task, speeds)
                    results += found
                    save(results)
    return results


def run(args: argparse.Namespace) -> int:
    """Compares, prints and saves; returns the exit status."""
    here = machine.describe(args.threads)
    if here["load"] > machine.CALM_LOAD:
        print(
            f"bench: warning: the load average is {here['load']:.1f}; other programs spoil the times",
            file=sys.stderr,
        )
    machine.confine(args.threads)
    args.json.parent.mkdir(parents=True, exist_ok=True)

    def save(results: Sequence[Result]) -> None:
        kept = {
            "machine": here | {"load_after": machine.load()},
            "rounds": args.rounds,
            "results": [result.record() for result in results],
        }
        args.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    changes = {
        "contenders": args.contenders,
        "problems": args.net,
        "networks": args.graph,
        "data": args.data,
        "optimizers": args.optimizer,
        "batches": args.batch,
    }
    available = (FULL if args.full else QUICK) | GPU
    chosen = {name: narrowed(suite, **changes) for name, suite in available.items() if name in args.suites}
    try:
        results = compare(chosen, args, save)
    except ModuleNotFoundError as error:
        print(
            f"bench: error: no module {error.name!r}: MNIST comes from the engine, pip install .",
            file=sys.stderr,
        )
        return 2
    whole = set(chosen) == set(FULL) and not any(changes.values())
    folder = args.out or (Path("bench") if whole else args.json.parent)
    file = report.write(here, cells(results), folder)
    print(file.read_text(encoding="utf-8"))
    print(f"{file} contains this table, and {args.json} all measurements.")
    return int(any(result.status in {"failed", "doubtful"} for result in results))


def main() -> int:
    """Returns the exit status: 1 if a contender failed or is doubtful, 2 for bad arguments, 130 after Ctrl-C, else 0."""
    options = parser()
    args = options.parse_args()
    cpus = len(machine.allowed_cpus())
    if args.threads > cpus:
        options.error(f"argument --threads: this process may use {cpus} CPUs, got {args.threads}")
    try:
        return run(args)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
