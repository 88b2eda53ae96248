"""The command `python -m bench`: compare the engine with other libraries."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import contenders, machine, table
from bench.data import save_mnist
from bench.race import Result, race
from bench.tasks import DATA, MEASURES, OPTIMIZERS, Task, grid


def several(convert: Callable[[str], object], allowed: Sequence[str] = ()) -> Callable[[str], list[object]]:
    """A type for argparse: values separated by commas."""

    def parse(text: str) -> list[object]:
        parts = [part.strip() for part in text.split(",")]
        for part in parts:
            if allowed and part.partition(":")[0] not in allowed:
                msg = f"{part!r} is none of {', '.join(allowed)}"
                raise argparse.ArgumentTypeError(msg)
        return [convert(part) for part in parts]

    parse.__name__ = "list"  # argparse names it in its messages
    return parse


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is not a whole number of at least 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def net(text: str) -> tuple[int, ...]:
    """Hidden layers, such as "512-256"."""
    return tuple(positive(part) for part in text.split("-"))


def parser() -> argparse.ArgumentParser:
    cpus = len(machine.allowed_cpus())
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Time the engine and other libraries at the same work. Lists are separated by commas.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = made.add_argument
    add(
        "--contenders",
        type=several(str, contenders.names()),
        default=",".join(contenders.default()),
        help=f"of {', '.join(contenders.names())}; a variant follows a colon",
    )
    add("--measure", type=several(str, MEASURES), default=",".join(MEASURES), help="what is timed")
    add("--data", type=several(str, DATA), default=",".join(DATA), help="what the rows are")
    add("--net", type=several(net), default="128", help="hidden layers, such as 128,512-256")
    add("--optimizer", type=several(str, OPTIMIZERS), default="adam", help=f"of {', '.join(OPTIMIZERS)}")
    add("--batch", type=several(positive), default="32,128,512", help="batch sizes of the trainings")
    add("--epochs", type=positive, default=5, help="epochs of one training; its set-up is shared among them")
    add("--rounds", type=positive, default=5, help="times taken of everything")
    add("--threads", type=positive, default=cpus, help="threads and CPUs of every contender")
    add("--json", type=Path, default=Path("reports/bench.json"), help="file that keeps everything")
    return made


def compare(
    tasks: Sequence[Task], names: Sequence[str], rounds: int, save: Callable[[Sequence[Result]], None]
) -> list[Result]:
    """All tasks, one after the other; `save` gets what is there after each."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
        if any(task.data.startswith("mnist") for task in tasks):
            save_mnist(Path(folder))
        for number, task in enumerate(tasks, 1):
            print(f"[{number}/{len(tasks)}] {task.group}, {task.column}", file=sys.stderr)
            results += race(task, names, rounds, Path(folder))
            save(results)
    return results


def run(args: argparse.Namespace) -> int:
    """Compare, print and keep; the exit status."""
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
            "results": table.record(results),
        }
        args.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    tasks = list(
        grid(
            measures=args.measure,
            data=args.data,
            nets=args.net,
            optimizers=args.optimizer,
            batches=args.batch,
            epochs=args.epochs,
            threads=args.threads,
        )
    )
    try:
        results = compare(tasks, args.contenders, args.rounds, save)
    except ModuleNotFoundError as error:
        print(
            f"bench: error: no module {error.name!r}: MNIST comes from the engine, pip install .",
            file=sys.stderr,
        )
        return 2
    print("\n".join([*table.machine_lines(here, results), *table.lines(results)]))
    print(f"\nEverything is in {args.json}")
    return int(any(result.status in {"failed", "doubtful"} for result in results))


def main() -> int:
    """The exit status: 1 if a contender failed or is doubtful, 2 for bad arguments, 130 after Ctrl-C, else 0."""
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
