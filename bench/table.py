"""Results as tables in Markdown, padded so that the source is readable too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.race import ENGINE, Result
from bench.ratios import Cell

LOUD_SPREAD = 0.2  # from this spread on, rounds differ too much for their median to be quoted


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a table whose first row is the heading and whose first column names the rows."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return [lines[0], f"|{rule}|", *lines[1:]]


def tables(cells: Sequence[Cell]) -> list[str]:
    """Returns a table for every group of tasks. Its columns are the contenders or the tasks, whichever are fewer."""
    text: list[str] = []
    for group in dict.fromkeys(cell.task.group for cell in cells):
        members = [cell for cell in cells if cell.task.group == group]
        names = list(dict.fromkeys(result.contender for cell in members for result in cell.results))
        names = [name for name in names if any(_shown(cell.result(name)) for cell in members)]
        rows = [
            ["", *names],
            *([cell.task.column, *(entry(cell, name) for name in names)] for cell in members),
        ]
        bounds = [_bound(cell) for cell in members]
        if any(bounds):
            rows = [[*row, shown] for row, shown in zip(rows, ["bound", *bounds], strict=True)]
        if len(members) <= len(names):
            rows = [list(column) for column in zip(*rows, strict=True)]
        text += [f"**{group[0].upper()}{group[1:]}**", "", *markdown(rows), ""]
    return text


def _shown(result: Result | None) -> bool:
    return result is not None and (result.median is not None or result.status == "failed")


def _bound(cell: Cell) -> str:
    """Returns the least time that the machine allows, as a share of the engine's; nothing for tasks without a bound."""
    engine = cell.result(ENGINE)
    seconds = engine.facts.get("bound") if engine else None
    if engine is None or seconds is None or engine.median is None:
        return ""
    return f"{cell.task.display(seconds)} ({seconds / engine.median:.2f} x)"


def entry(cell: Cell, contender: str) -> str:
    """Returns a time, its ratio to the engine's, and the marks that `notes` explains."""
    result = cell.result(contender)
    if result is None or result.median is None:
        return "failed" if result is not None and result.status == "failed" else "-"
    ratio = cell.ratio(contender)
    times = "" if ratio is None or contender == ENGINE else f" ({ratio:.2f} x)"
    marks = ("!" if result.status == "doubtful" else "") + ("~" if result.spread > LOUD_SPREAD else "")
    return f"{cell.task.display(result.median)}{times}{marks}"


def notes(cells: Sequence[Cell]) -> list[str]:
    """Returns explanations: which contenders are missing, failed, doubtful or unable, and what `~` means."""
    results = [result for cell in cells for result in cell.results]
    marks = {"failed": "failed", "doubtful": "!"}
    text = [
        f"{marks[result.status]}: {result.contender}, {result.task.group}, {result.task.column}: {result.message}"
        for result in results
        if result.status in marks
    ]
    for status in ("missing", "unsupported"):
        able = {result.contender for result in results if result.status != status}
        unable = {
            result.contender: result.message
            for result in results
            if result.status == status and result.contender not in able
        }
        text += [f"{name}: {message}" for name, message in unable.items()]
    if any(result.spread > LOUD_SPREAD for result in results):
        text.append(f"~: rounds differ by more than {LOUD_SPREAD:.0%} of their median; don't quote it")
    return text


def machine_lines(machine: dict[str, Any], cells: Sequence[Cell]) -> list[str]:
    """Returns the machine, the versions of the libraries, and their BLAS."""
    versions: dict[str, str] = {}
    pools: dict[str, list[str]] = {}
    for result in (result for cell in cells for result in cell.results):
        versions |= result.facts.get("versions", {})
        if result.facts.get("blas"):
            pools.setdefault(result.contender, result.facts["blas"])
    chosen = [line.partition("(")[0].split()[-1] for line in machine["engine"] if "(chosen)" in line]
    text = [
        f"{machine['cpu']} ({machine.get('isa', 'unknown')}), {machine['cpus']} CPUs, {machine['threads']} threads, "
        f"{machine['system']}",
        ", ".join([f"Python {machine['python']}", *(f"{name} {versions[name]}" for name in versions)]),
    ]
    text += [f"the engine's instruction set: {isa}" for isa in chosen]
    return text + [f"{name}'s process: {'; '.join(libraries)}" for name, libraries in pools.items()]
