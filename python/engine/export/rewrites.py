"""Rewrites of a prediction: steps whose values nothing reads are left out, and chains of maps become one map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from engine._tracing.extents import Extents
from engine.export.arrays import Instruction, is_array_step
from engine.export.step import Step

Read = tuple[int, Extents]
"""The number of a value, and the shape under which it is read."""


def rewritten(stages: Sequence[Sequence[Step]], outputs: Sequence[int]) -> tuple[list[list[Step]], list[int]]:
    """Returns the steps of each stage after all rewrites, and the new numbers of the outputs.

    Args:
        stages: the steps of each stage.
        outputs: the numbers of the values that are the outputs.
    """
    every = [step for steps in stages for step in steps]
    stages_of_steps = [stage for stage, steps in enumerate(stages) for _ in steps]
    every = _without_detours(every)
    every = _with_joint_maps(every, stages_of_steps, outputs)
    needed = _needed(every, outputs)
    numbers = {number: new for new, number in enumerate(sorted(needed))}

    def moved(number: int) -> int:
        return number if number < 0 else numbers[number]

    steps_of_stages: list[list[Step]] = [[] for _ in stages]
    for number in sorted(needed):
        step = every[number]
        steps_of_stages[stages_of_steps[number]].append(step._replace(reads=tuple(map(moved, step.reads))))
    return steps_of_stages, [moved(number) for number in outputs]


def _without_detours(every: Sequence[Step]) -> list[Step]:
    """Lets steps on arrays read what a reshape reads, since they read all values under shapes of their own."""
    origins: dict[int, int] = {}
    remaining = list[Step]()
    for number, step in enumerate(every):
        if is_array_step(step):
            step = step._replace(reads=tuple(origins.get(origin, origin) for origin in step.reads))  # noqa: PLW2901
        if step.kind == "reshape":
            origins[number] = step.reads[0]
        remaining.append(step)
    return remaining


def _needed(every: Sequence[Step], outputs: Sequence[int]) -> set[int]:
    """Returns the numbers of the steps that outputs depend on."""
    needed = {number for number in outputs if number >= 0}
    for number in range(len(every) - 1, -1, -1):
        if number in needed:
            needed |= {origin for origin in every[number].reads if origin >= 0}
    return needed


def _with_joint_maps(every: Sequence[Step], stages: Sequence[int], outputs: Sequence[int]) -> list[Step]:
    """Puts the code of a map into the one map that reads it, if both are of one layer and of one shape."""
    needed = _needed(every, outputs)
    readers = Counter(read for number in needed for read in set(every[number].reads))
    readers.update(outputs)
    steps_left = list(every)
    for number in sorted(needed):
        while steps_left[number].kind == "map":
            step = steps_left[number]
            joined = next(
                (
                    index
                    for index, (read, view) in enumerate(_reads_of(step))
                    if read >= 0
                    and readers[read] == 1
                    and steps_left[read].kind == "map"
                    and stages[read] == stages[number]
                    and view == steps_left[read].constants["shape"] == step.constants["shape"]
                ),
                None,
            )
            if joined is None:
                break
            steps_left[number] = _joined(step, joined, steps_left[step.reads[joined]])
    return steps_left


def _reads_of(step: Step) -> list[Read]:
    return list(zip(step.reads, step.constants["views"], strict=True))


def _joined(step: Step, index: int, before: Step) -> Step:
    """Returns a map whose input `index` is computed by the code of another map."""
    reads_of_step, inner = _reads_of(step), _reads_of(before)
    removed = reads_of_step[index]
    inputs = list(dict.fromkeys([*inner, *(read for read in reads_of_step if read != removed)]))
    code = list[Instruction]()

    def add(instructions: Sequence[Instruction], reads: Sequence[Read], result: int | None) -> int:
        """Appends instructions, and returns the register of the last one. `result` stands for the removed input."""
        registers = [
            result if result is not None and read == removed else inputs.index(read) for read in reads
        ]
        for instruction in instructions:
            operands = tuple(registers[operand] for operand in instruction.operands)
            code.append(instruction._replace(operands=operands))
            registers.append(len(inputs) + len(code) - 1)
        return registers[-1]

    add(step.constants["code"], reads_of_step, add(before.constants["code"], inner, None))
    constants: dict[str, Any] = {
        **step.constants,
        "views": tuple(view for _, view in inputs),
        "code": tuple(code),
    }
    return step._replace(constants=constants, reads=tuple(read for read, _ in inputs))
