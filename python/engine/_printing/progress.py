"""The progress that `fit`, `evaluate` and `predict` print, byte for byte in Keras' form, and all other printed messages.

`Progress` is what the package's own loops use. `Progbar` is the public class `engine.utils.Progbar`.
"""

from __future__ import annotations

import numbers
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine._base.checks import choice, integer, real

if TYPE_CHECKING:
    from typing_extensions import Self

WIDTH = 20
# Seconds between two drawings of the bar, which the eye can follow. The core calls back about as often.
INTERVAL = 0.05
# The same in notebooks, whose kernels send output no more often.
NOTEBOOK_INTERVAL = 0.2
# Seconds after which `predict` shows its bar. Shorter predictions print nothing.
PATIENCE = 0.5
# Values up to this one are shown in scientific notation.
SMALL = 1e-3
HOUR, MINUTE = 3600, 60

BOLD, GREEN, WHITE, PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"


class _Logging:
    """Whether messages go to standard output; else they go to the logger `engine`."""

    interactive = True


def set_interactive(interactive: bool) -> None:
    """Sets whether messages go to standard output."""
    _Logging.interactive = interactive


def is_interactive() -> bool:
    """Returns whether messages go to standard output."""
    return _Logging.interactive


def print_message(text: str, end: str = "\n") -> None:
    """Prints `text`, without characters that the encoding of standard output lacks, or logs it."""
    if not _Logging.interactive:
        import logging

        logging.getLogger("engine").info(text)
        return
    if sys.stdout is None:  # a program without a console, as on Windows
        return
    text += end
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.replace("━", "=").encode(encoding, "ignore").decode(encoding))
    sys.stdout.flush()


class Progbar:
    """A progress bar for a number of steps, with values such as the loss beside it.

    Args:
        target: number of steps; None if it is unknown.
        width: width of the bar in characters.
        verbose: 0 prints nothing, 1 a bar, 2 one line at the end.
        interval: least number of seconds between two drawings of the bar.
        stateful_metrics: names of values that are shown as they are. The means of all other values are shown.
        stateless_metrics: names of values whose means are shown. All other values are shown as they are.
        unit_name: the noun for a step.

    Raises:
        ValueError: if both kinds of names are given.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        target: int | None,
        width: int = WIDTH,
        verbose: int = 1,
        interval: float = INTERVAL,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            msg = "give `stateful_metrics` or `stateless_metrics`, not both: each says what all others are"
            raise ValueError(msg)
        self.target = None if target is None else integer(target, "target", 0)
        self.width = integer(width, "width", 1)
        self.verbose = choice(verbose, "verbose", (0, 1, 2))
        self.interval = real(interval, "interval", 0.0)
        self.unit_name = unit_name
        self._means = None if stateless_metrics is None else frozenset(stateless_metrics)
        self._as_they_come = frozenset(() if stateful_metrics is None else stateful_metrics)
        # Whether the output understands a carriage return, so that a line can be overwritten.
        self._dynamic = os.name == "posix" or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ
        self._notebook = "ipykernel" in sys.modules
        self._values: dict[
            str, tuple[Any, float]
        ] = {}  # for each name the sum of its values, and their number
        self._seen = 0
        self._start = time.time()
        self._shown = 0.0
        self._first_step: float | None = None
        self._drawn = 0

    def update(
        self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """Sets the number of steps that are done, and draws the bar if `interval` seconds have passed.

        Args:
            current: number of steps that are done.
            values: pairs of a name and its value in the last step.
            finalize: whether this is the last update. None means that it is if `target` steps are done.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        self._add_values(current, values or (), finalize)
        now = time.time()
        seconds_per_step = self._seconds_per_step(current, now)
        if self.verbose == 1:
            interval = max(self.interval, NOTEBOOK_INTERVAL) if self._notebook else self.interval
            if now - self._shown < interval and not finalize:
                return
            self._draw(current, now, seconds_per_step, finalize)
        elif self.verbose and finalize and self.target:
            count = f"{current:{len(str(self.target))}d}/{self.target}"
            took = f"{now - self._start:.0f}s -{_per_unit(seconds_per_step, self.unit_name)}"
            print_message(f"{count} - {took}{self._shown_values(signed=False)}\n", end="")
        self._shown = now

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Adds `n` to the number of steps that are done; `values` as for `update`."""
        self.update(self._seen + n, values)

    def _end_line(self) -> None:
        """Ends the line of an unfinished bar, so that other output starts on a line of its own."""
        if self._drawn:
            print_message("")
            self._drawn = 0

    def _add_values(self, current: int, values: Iterable[tuple[str, Any]], finalize: bool) -> None:
        steps = max(current - self._seen, 1)
        for name, value in values:
            averaged = name not in self._as_they_come if self._means is None else name in self._means
            if averaged and not finalize and isinstance(value, numbers.Real):
                total, count = self._values.get(name, (0.0, 0))
                self._values[name] = (total + float(value) * steps, count + steps)
            else:
                self._values[name] = (value, 1)
        self._seen = current

    def _seconds_per_step(self, current: int, now: float) -> float:
        """Returns the mean time of a step, without the first one if there are more, since that is often slower."""
        if not current:
            return 0.0
        if self._first_step is not None and current > 1:
            seconds = (now - self._first_step) / (current - 1)
        else:
            seconds = (now - self._start) / current
        if current == 1:
            self._first_step = now
        return seconds

    def _draw(self, current: int, now: float, seconds_per_step: float, finalize: bool) -> None:
        hidden = 0
        if self.target:
            filled = int(self.width * (current / self.target))
            bar = f"{BOLD}{current:{len(str(self.target))}d}/{self.target}{PLAIN} "
            bar += f"{GREEN}{'━' * filled}{PLAIN}" if filled > 0 else ""
            bar += f"{WHITE}{'━' * (self.width - filled)}{PLAIN}"
            hidden = len(BOLD + PLAIN + WHITE + PLAIN) + (len(GREEN + PLAIN) if filled > 0 else 0)
        else:
            bar = f"{current:7d}/Unknown"
        left = self.target and not finalize
        took = (
            _duration(seconds_per_step * ((self.target or 0) - current))
            if left
            else f"{now - self._start:.0f}s"
        )
        per_step = _per_unit(seconds_per_step, self.unit_name)
        info = f" {BOLD}{took}{PLAIN}{per_step}{self._shown_values(signed=True)}"
        width = len(bar) + len(info) - hidden - len(BOLD + PLAIN)
        # Notebooks need no backspaces, and exported notebooks show each one as a box.
        before = ("" if self._notebook else "\b" * self._drawn) + "\r" if self._dynamic else "\n"
        print_message(f"{before}{bar}{info}{' ' * (self._drawn - width)}", end="\n" if finalize else "")
        self._drawn = 0 if finalize else width

    def _shown_values(self, *, signed: bool) -> str:
        texts = []
        for name, (total, count) in self._values.items():
            if not isinstance(total, numbers.Real):  # callbacks may log any object
                texts.append(f" - {name}: {total}")
                continue
            value = float(total) / max(count, 1)
            large = (abs(value) if signed else value) > SMALL
            texts.append(f" - {name}: {value:.4f}" if large else f" - {name}: {value:.4e}")
        return "".join(texts)


class Progress:
    """The progress of `fit`, `evaluate`, `predict` or `fit_many`, with a new bar for each epoch. Leaving its context ends its line.

    Args:
        verbose: 0 prints nothing, 1 a bar, 2 one line at the end. "auto" is 1 on a terminal and in a notebook, and 2
            elsewhere. (Keras would fill log files with its bar.)
        steps: number of steps in an epoch; None if it is unknown.
        patience: seconds before anything is printed, if `verbose` is "auto".
        unit: the noun for a step.
    """

    def __init__(self, verbose: object, steps: int | None, patience: float = 0.0, unit: str = "step") -> None:
        require_verbose(verbose)
        self._verbose = _automatic_verbosity() if verbose == "auto" else int(verbose)  # type: ignore[call-overload] # checked
        self.steps = steps
        self._patience = patience if verbose == "auto" else 0.0
        self._unit = unit
        self._begin()

    @property
    def live(self) -> bool:
        """Whether the bar is drawn after the first step already."""
        return self._verbose == 1 and not self._patience

    @property
    def redraws(self) -> bool:
        """Whether `update` may draw anything."""
        return self._verbose == 1

    def restart(self, title: str | None = None) -> None:
        """Begins an epoch, after printing the line `title`."""
        if not self._verbose:
            return
        if title is not None:
            print_message(title)
        self._begin()

    def update(self, done: int, logs: Mapping[str, float]) -> None:
        """Draws the bar after `done` steps, if enough time has passed."""
        if self.redraws and not self._waiting():
            self._bar.update(
                done if self.steps is None else min(done, self.steps), logs.items(), finalize=False
            )

    def finish(self, logs: Mapping[str, float], done: int) -> None:
        """Prints the final line of an epoch. If the number of steps was unknown, it is now `done`."""
        if self.steps is None:
            self.steps = self._bar.target = done
        if self._verbose and not self._waiting():
            self._bar.update(self.steps, logs.items(), finalize=True)

    def _begin(self) -> None:
        self._start = time.time()
        self._bar = Progbar(self.steps, verbose=self._verbose, stateless_metrics=(), unit_name=self._unit)

    def _waiting(self) -> bool:
        return self._patience > 0 and time.time() - self._start < self._patience

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """Ends the line of an unfinished bar."""
        self._bar._end_line()

    def __exit__(self, *_: object) -> None:
        self.close()


def _automatic_verbosity() -> int:
    """Returns the verbosity for "auto": 1 if standard output is a terminal or a notebook, else 2."""
    live = "ipykernel" in sys.modules or (sys.stdout is not None and sys.stdout.isatty())
    return 1 if live else 2


def require_verbose(verbose: object) -> None:
    """Raises ValueError unless `verbose` is "auto", 0, 1 or 2."""
    choice(verbose, "verbose", ("auto", 0, 1, 2))


def impatient(verbose: object) -> bool:
    """Returns whether `verbose` asks for immediate output, or is invalid."""
    return not isinstance(verbose, (str, int)) or verbose not in ("auto", 0)


def _per_unit(seconds: float, unit: str) -> str:
    if seconds >= 1 or seconds == 0:
        return f" {seconds:.0f}s/{unit}"
    if seconds >= 1 / 1000:
        return f" {seconds * 1e3:.0f}ms/{unit}"
    return f" {seconds * 1e6:.0f}us/{unit}"


def _duration(seconds: float) -> str:
    if seconds > HOUR:
        return f"{seconds // HOUR:.0f}:{int(seconds % HOUR) // MINUTE:02d}:{int(seconds % MINUTE):02d}"
    if seconds > MINUTE:
        return f"{seconds // MINUTE:.0f}:{int(seconds % MINUTE):02d}"
    return f"{int(seconds)}s"
