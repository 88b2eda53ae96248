"""Writes RESULTS.md and its charts from the JSON of one or more runs: `python -m bench.report FILE...`."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import chart, table
from bench.race import ENGINE, Result
from bench.ratios import PEERS, Cell, cells, geometric_mean, lost, of_rounds
from bench.suites import FULL, GPU, NETS
from bench.tasks import ArrayFunction, Graph, Product, Task

CHART = "epoch_seconds.png"
FUNCTIONS_CHART = "function_times.png"
SMALL_BATCH = 32
# Products of these sizes are large enough for all threads, and small enough to be common.
SCALING_SIZES = (512, 1024, 2048)


def small(cell: Cell) -> bool:
    """Returns whether the cell has one of the two smallest networks and a small batch."""
    task = cell.task
    return isinstance(task, Task) and task.problem in NETS[:2] and task.batch <= SMALL_BATCH


def of_suite(name: str) -> Callable[[Cell], bool]:
    return lambda cell: cell.suite == name


def summary(found: Sequence[Cell]) -> list[str]:
    """Returns a table of geometric means over each suite: against the fastest peer of each cell, and against each peer."""
    rows = [["", "cells", "best of the peers", "worst cell", *PEERS]]
    choices: list[tuple[str, Callable[[Cell], bool]]] = []
    for name, suite in (FULL | GPU).items():
        choices.append((suite.title, of_suite(name)))
        if name == "grid":
            choices.append(
                (
                    f"Grid, the two smallest nets, batch <= {SMALL_BATCH}",
                    lambda cell: cell.suite == "grid" and small(cell),
                )
            )
    for title, chosen in choices:
        members = [cell for cell in found if chosen(cell)]
        bests = [(best[1], cell, best[0]) for cell in members if (best := cell.best()) is not None]
        if not bests:
            continue
        worst, cell, name = min(bests, key=lambda entry: entry[0])
        row = [title, str(len(bests)), times(geometric_mean(ratio for ratio, *_ in bests))]
        row.append(f"{times(worst)}, {name}: {where(cell)}")
        for peer in PEERS:
            ratios = [ratio for cell in members if (ratio := cell.ratio(peer)) is not None]
            row.append(times(geometric_mean(ratios)) if ratios else "-")
        rows.append(row)
    return table.markdown(rows) if len(rows) > 1 else []


def times(ratio: float) -> str:
    return f"{ratio:.2f} x"


def where(cell: Cell) -> str:
    """Returns the name of a cell."""
    task = cell.task
    if isinstance(task, Product):
        return f"{task.column}, {task.form}, threads {task.threads}"
    if isinstance(task, Graph):
        return f"{task.network}, {task.column}"
    if isinstance(task, ArrayFunction):
        return f"{task.function}, {task.group}"
    if isinstance(task, Task):
        words = f"{task.problem}, {task.data}"
        return f"{words}, {task.optimizer}, {task.column}" if task.trains else f"{task.measure}, {words}"
    return task.column


def losing(found: Sequence[Cell]) -> list[str]:
    """Returns a table of the cells in which another library is faster."""
    entries = lost(found)
    compared = [cell for cell in found if cell.best([result.contender for result in cell.results[1:]])]
    if not entries:
        return [f"None of {len(compared)}."]
    rows = [["cell", "engine", "fastest", "time", "ratio"]]
    for cell, name, ratio in entries:
        engine, other = cell.result(ENGINE), cell.result(name)
        shown = [cell.task.display(r.median) if r and r.median else "-" for r in (engine, other)]
        unit = " GFLOP/s" if isinstance(cell.task, Product) else ""
        rows.append([where(cell), shown[0] + unit, name, shown[1] + unit, times(ratio)])
    return [f"{len(entries)} of {len(compared)} cells, the worst first.", "", *table.markdown(rows)]


def validation_cost(cell: Cell) -> float | None:
    """Returns the time that validation adds, divided by the time of its FLOPs at the speed of training."""
    ratio, task = cell.ratio("engine:validation"), cell.task
    if ratio is None or not isinstance(task, Task):
        return None
    share = task.test_rows * task.problem.forward_flops / (task.rows * task.problem.training_flops)
    return (ratio - 1) / share


def facts(found: Sequence[Cell]) -> list[str]:
    """Returns sentences with figures that no table shows."""
    text = []
    costs = [(cell, cost) for cell in found if (cost := validation_cost(cell)) is not None]
    if costs:
        shown = ", ".join(f"{cost:.2f} ({cell.task.column})" for cell, cost in costs)
        text.append(
            f"A validation pass, as a multiple of its forward FLOPs at the speed of the training: {shown}."
        )
    ratios = scaling(found)
    if ratios:
        low, cell = min(ratios, key=lambda entry: entry[0])
        text.append(
            f"Products of {SCALING_SIZES[0]} to {SCALING_SIZES[-1]}, all threads against one: geometric mean "
            f"{times(geometric_mean(ratio for ratio, _ in ratios))}, worst {times(low)} ({where(cell)})."
        )
    single = [
        (task.flops / seconds / 1e9, cell)
        for task, seconds, cell in large_squares(found)
        if task.threads == 1
    ]
    if single:
        low, cell = min(single, key=lambda entry: entry[0])
        high = max(speed for speed, _ in single)
        text.append(f"One thread at these sizes: {low:.0f} ({where(cell)}) to {high:.0f} GFLOP/s.")
    text += [estimators(cell) for cell in found if cell.suite == "sklearn"]
    text += sums(found)
    for cell in found:
        engine, numpy = cell.result(ENGINE), cell.result("numpy")
        if cell.suite == "import" and engine and numpy and engine.median and numpy.median:
            text.append(f"Importing the engine takes {engine.median - numpy.median:.3f} s beyond NumPy.")
    return text


def sums(found: Sequence[Cell]) -> list[str]:
    """Returns a sentence that compares a sum of products with plain sums of both factors, if both were timed."""
    cell_of = {
        cell.task.function: cell
        for cell in found
        if isinstance(cell.task, ArrayFunction) and (cell.task.size, cell.task.result) == (1_000_000, "value")
    }
    if not {"sum of products", "two sums"} <= cell_of.keys():
        return []
    products, plain = cell_of["sum of products"].result(ENGINE), cell_of["two sums"].result("numpy")
    if not (products and plain and products.median and plain.median):
        return []
    share = products.median / plain.median
    return [
        f"The engine's sum of products of two arrays of a million numbers takes {share:.2f} of the time of NumPy's sums of both."
    ]


def estimators(cell: Cell) -> str:
    """Returns a sentence that compares the times and test accuracies of the estimators."""
    pair = [cell.result(name) for name in ("sklearn:defaults", "engine:sklearn")]
    if any(result is None or not result.median for result in pair) or not isinstance(cell.task, Task):
        return f"{cell.task.group}: not measured."
    theirs, mine = (result for result in pair if result)
    shares = [result.facts["test_accuracy"] for result in (mine, theirs)]
    return (
        f"`engine.sklearn.MLPClassifier`, {cell.task.problem}, {cell.task.data}, {cell.task.epochs} epochs: "
        f"{times(of_rounds(theirs.rounds, mine.rounds))} as fast as scikit-learn's, test accuracy "
        f"{shares[0]:.2%} (theirs {shares[1]:.2%})."
    )


def large_squares(found: Sequence[Cell]) -> Iterator[tuple[Product, float, Cell]]:
    """Yields square products that are limited by multiply-adds, with the engine's seconds and the cell."""
    for cell in found:
        task, engine = cell.task, cell.result(ENGINE)
        if not isinstance(task, Product) or not engine or not engine.median:
            continue
        if task.m == task.k == task.n and task.m in SCALING_SIZES:
            yield task, engine.median, cell


def scaling(found: Sequence[Cell]) -> list[tuple[float, Cell]]:
    """Returns how many times as fast as one thread all threads compute large square products, with the cells."""
    squares = list(large_squares(found))
    single = {(task.m, task.form): seconds for task, seconds, _ in squares if task.threads == 1}
    return [
        (single[task.m, task.form] / seconds, cell)
        for task, seconds, cell in squares
        if task.threads != 1 and (task.m, task.form) in single
    ]


def text(machine: dict[str, Any], found: Sequence[Cell], charts: Mapping[str, str]) -> str:
    """Returns the text of RESULTS.md, which shows the files of `charts` above the captions."""
    lines = [
        "# Results",
        "",
        "Written by `make bench`; `README.md` beside this file says what is timed and how. Times are medians of "
        "rounds taken in turns; `(2.00 x)` means twice the engine's time in the same rounds.",
        "",
        *(f"- {line}" for line in table.machine_lines(machine, found)),
        "",
        "## Where the engine loses",
        "",
        *losing(found),
        "",
        "## Ratios",
        "",
        f"Geometric means of how many times as long as the engine others take; the peers are {', '.join(PEERS)}.",
        "",
        *summary(found),
        "",
        *(f"- {fact}" for fact in facts(found)),
    ]
    for file, caption in charts.items():
        lines += ["", f"![{caption}]({file})"]
    for name, suite in (FULL | GPU).items():
        members = [cell for cell in found if cell.suite == name]
        if members:
            lines += ["", f"## {suite.title}", "", *table.tables(members)]
    explained = table.notes(found)
    if explained:
        lines += ["## Notes", "", *(f"- {note}" for note in explained)]
    return "\n".join(lines).rstrip() + "\n"


def write(machine: dict[str, Any], found: Sequence[Cell], folder: Path) -> Path:
    """Writes RESULTS.md and, if matplotlib is installed, its charts into `folder`. Returns the path of RESULTS.md."""
    folder.mkdir(parents=True, exist_ok=True)
    charts = dict[str, str]()
    with contextlib.suppress(ModuleNotFoundError):
        if chart.draw(found, machine, folder / CHART):
            charts[CHART] = "Seconds per epoch against batch size"
        if chart.draw_functions(found, machine, folder / FUNCTIONS_CHART):
            charts[FUNCTIONS_CHART] = "Times of functions of arrays beside the engine's"
    file = folder / "RESULTS.md"
    file.write_text(text(machine, found, charts), encoding="utf-8")
    return file


def read(files: Sequence[Path]) -> tuple[dict[str, Any], list[Cell]]:
    """Returns the machine of the last file and the cells of all files. The last measurement of a cell counts."""
    machine: dict[str, Any] = {}
    latest: dict[tuple[str, object], Cell] = {}
    for file in files:
        kept = json.loads(file.read_text(encoding="utf-8"))
        machine = kept["machine"]
        for cell in cells(Result.from_record(record) for record in kept["results"]):
            latest[cell.suite, cell.task] = cell
    return machine, list(latest.values())


def main() -> None:
    made = argparse.ArgumentParser(
        prog="python -m bench.report", description="Write RESULTS.md from results."
    )
    made.add_argument(
        "files", type=Path, nargs="+", help="JSON files of runs, in the order in which they were made"
    )
    made.add_argument("--out", type=Path, default=Path("bench"), help="folder that RESULTS.md goes to")
    args = made.parse_args()
    print(write(*read(args.files), args.out))


if __name__ == "__main__":
    main()
