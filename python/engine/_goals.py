"""When training has done enough, by what it has reached or by the time it took."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from engine._checks import nearest, real
from engine._compiled import Compiled
from engine.callbacks.base import Logs


class OutOfTimeError(Exception):
    """Ends a run of batches; never reaches the user.

    Args:
        steps: batches done in the epoch.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.steps = steps


class Goals(NamedTuple):
    """What ends training before its last epoch."""

    targets: Mapping[str, tuple[float, bool]]
    """By name in the logs: the value, and whether more is better."""
    deadline: float
    """Time of the monotonic clock; infinite without a limit."""

    def reached(self, logs: Logs) -> bool:
        """Whether the logs of an epoch have everything that was wanted."""
        return bool(self.targets) and all(
            name in logs and (logs[name] >= value if more else logs[name] <= value)
            for name, (value, more) in self.targets.items()
        )

    @property
    def out_of_time(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.deadline


def goals(compiled: Compiled, validated: bool, target: object, time_budget: object) -> Goals:
    """The goals of one call of `fit`, whose clock starts now.

    Args:
        compiled: what the model was compiled with.
        validated: whether there will be names with `val_`.
        target: name in the logs -> value to reach, or None.
        time_budget: seconds, or None.
    """
    deadline = float("inf")
    if time_budget is not None:
        deadline = time.monotonic() + real(time_budget, "time_budget", 0.0)
    if target is None:
        return Goals({}, deadline)
    if not isinstance(target, Mapping):
        msg = f"`target` must be a dict such as {{'val_accuracy': 0.98}}, got {target!r}"
        raise TypeError(msg)
    known = [*compiled.names, *(f"val_{name}" for name in compiled.names if validated)]
    targets = {}
    for name, value in target.items():
        if name not in known:
            hint = "" if validated else "; names with `val_` need validation data"
            msg = f"`target` has the name {name!r}{nearest(str(name), known)} The logs have: {', '.join(known)}{hint}"
            raise ValueError(msg)
        direction = compiled.direction(name.removeprefix("val_"))
        if direction is None:
            msg = f"`target` can't have {name!r}: nobody can say whether more or less of it is better"
            raise ValueError(msg)
        targets[name] = (real(value, f"target[{name!r}]"), direction == "up")
    return Goals(targets, deadline)
