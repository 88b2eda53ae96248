"""Results as a table to read and as data to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.race import ENGINE, Result

LOUD_SPREAD = 0.2  # from here on rounds differ so much that the median says little

SCALES = {"epoch": (1.0, 4), "predict": (1e3, 2), "one_row": (1e6, 2)}  # units per second, digits


def ratio(result: Result, results: Sequence[Result]) -> float | None:
    """How many times as long as the engine it takes for the same task."""
    engine = [other.median for other in results if (other.contender, other.task) == (ENGINE, result.task)]
    if not engine or not engine[0] or result.median is None:
        return None
    return result.median / engine[0]


def lines(results: Sequence[Result]) -> list[str]:
    """A block for every group of tasks, a row per contender, a column per task; then what there is to explain."""
    text: list[str] = []
    for group in dict.fromkeys(result.task.group for result in results):
        text += ["", group, *_block([result for result in results if result.task.group == group])]
    return [*text, "", "x: times as long as the engine", *_notes(results)]


def _notes(results: Sequence[Result]) -> list[str]:
    marks = {"failed": "failed", "doubtful": "!"}
    notes = [
        f"{marks[result.status]}: {result.contender}, {result.task.group}, {result.task.column}: {result.message}"
        for result in results
        if result.status in marks
    ]
    able = {result.contender for result in results if result.status != "unsupported"}
    unable = {result.contender: result.message for result in results if result.contender not in able}
    notes += [f"{name}: {message}" for name, message in unable.items()]
    if any(result.spread > LOUD_SPREAD for result in results):
        notes.append(
            f"~: rounds differ by more than {LOUD_SPREAD:.0%} of their median; measure on a calm machine"
        )
    return notes


def _block(members: Sequence[Result]) -> list[str]:
    columns = list(dict.fromkeys(result.task.column for result in members))
    names = list(dict.fromkeys(result.contender for result in members))
    width = max(map(len, names)) + 2
    text = [" " * width + "".join(f"{column:<20}" for column in columns).rstrip()]
    for name in names:
        row = [result for result in members if result.contender == name]
        if all(result.status == "missing" for result in row):
            text.append(f"{name:<{width}}{row[0].message}")
        elif any(result.status != "unsupported" for result in row):
            text.append(
                f"{name:<{width}}" + "".join(f"{_cell(result, members):<20}" for result in row).rstrip()
            )
    return text


def _cell(result: Result, members: Sequence[Result]) -> str:
    if result.median is None:
        return f"{'failed' if result.status == 'failed' else '-':>9}"
    scale, digits = SCALES[result.task.measure]
    times = ratio(result, members)
    marks = ("!" if result.status == "doubtful" else "") + ("~" if result.spread > LOUD_SPREAD else "")
    factor = "" if times is None or result.contender == ENGINE else f" {times:6.2f}x"
    return f"{result.median * scale:9.{digits}f}{factor}{marks}"


def record(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The results as JSON takes them: task, contender, seconds, ratio and facts."""
    return [
        asdict(result.task)
        | {"contender": result.contender, "status": result.status, "message": result.message}
        | {"median_seconds": result.median, "ratio": ratio(result, results), "rounds_seconds": result.rounds}
        | result.facts
        for result in results
    ]


def machine_lines(machine: dict[str, Any], results: Sequence[Result]) -> list[str]:
    """Where and with what it was measured."""
    versions: dict[str, str] = {}
    pools: dict[str, list[str]] = {}
    for result in results:
        versions |= result.facts.get("versions", {})
        if result.facts.get("blas"):
            pools[result.contender] = result.facts["blas"]
    chosen = [line.partition("(")[0].split()[-1] for line in machine["engine"] if "(chosen)" in line]
    text = [
        f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['threads']} threads, {machine['system']}",
        ", ".join([f"Python {machine['python']}", *(f"{name} {versions[name]}" for name in versions)]),
    ]
    text += [f"the engine's instruction set: {isa}" for isa in chosen]
    return text + [f"{name}'s process: {'; '.join(libraries)}" for name, libraries in pools.items()]
