"""The lines that `fit`, `evaluate` and `predict` print, byte for byte in Keras' form."""

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
# Faster refreshes can't be read; the core asks for one about as often.
INTERVAL = 0.05
# A notebook's kernel hands output on no sooner.
NOTEBOOK_INTERVAL = 0.2
# Seconds after which `predict` shows that it is at work.
PATIENCE = 0.5
# Values as small as this are shown in scientific notation.
SMALL = 1e-3
HOUR, MINUTE = 3600, 60

BOLD, GREEN, WHITE, PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"


class _Logging:
    """Where messages go: to standard output, or to the logger `engine`."""

    interactive = True


def set_interactive(interactive: bool) -> None:
    """Choose where messages go."""
    _Logging.interactive = interactive


def is_interactive() -> bool:
    """Whether messages go to standard output."""
    return _Logging.interactive


def print_message(text: str, end: str = "\n") -> None:
    """Print `text`, with replacements for what the encoding of standard output lacks, or log it."""
    if not _Logging.interactive:
        import logging

        logging.getLogger("engine").info(text)
        return
    if sys.stdout is None:  # without a console
        return
    text += end
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.replace("━", "=").encode(encoding, "ignore").decode(encoding))
    sys.stdout.flush()


class Progbar:
    """Progress towards a number of steps, with values beside it.

    Args:
        target: number of steps; None if nobody knows.
        width: of the bar, in characters.
        verbose: 0 prints nothing, 1 a bar, 2 one line at the end.
        interval: seconds that lie between two drawings of the bar at least.
        stateful_metrics: names of values that are shown as they come; of all others the mean is shown.
        stateless_metrics: names of values whose mean is shown; all others are shown as they come.
        unit_name: what is counted.

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
        # A line can be drawn over wherever a carriage return is understood.
        self._dynamic = os.name == "posix" or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ
        self._notebook = "ipykernel" in sys.modules
        self._values: dict[str, tuple[Any, float]] = {}  # of each name the sum, and of how many
        self._seen = 0
        self._start = time.time()
        self._shown = 0.0
        self._first_step: float | None = None
        self._drawn = 0

    def update(
        self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """Note that `current` steps are done, and show it if it is time to.

        Args:
            current: steps done.
            values: pairs of a name and its value in the last step.
            finalize: whether this is the end; by default once `target` steps are done.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        self._note(current, values or (), finalize)
        now = time.time()
        pace = self._pace(current, now)
        if self.verbose == 1:
            interval = max(self.interval, NOTEBOOK_INTERVAL) if self._notebook else self.interval
            if now - self._shown < interval and not finalize:
                return
            self._draw(current, now, pace, finalize)
        elif self.verbose and finalize and self.target:
            count = f"{current:{len(str(self.target))}d}/{self.target}"
            took = f"{now - self._start:.0f}s -{_per_unit(pace, self.unit_name)}"
            print_message(f"{count} - {took}{self._shown_values(signed=False)}\n", end="")
        self._shown = now

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Note that `n` more steps are done; `values` as for `update`."""
        self.update(self._seen + n, values)

    def _end_line(self) -> None:
        """Leave the line of a bar that is being redrawn, so that other output starts on its own."""
        if self._drawn:
            print_message("")
            self._drawn = 0

    def _note(self, current: int, values: Iterable[tuple[str, Any]], finalize: bool) -> None:
        steps = max(current - self._seen, 1)
        for name, value in values:
            averaged = name not in self._as_they_come if self._means is None else name in self._means
            if averaged and not finalize and isinstance(value, numbers.Real):
                total, count = self._values.get(name, (0.0, 0))
                self._values[name] = (total + float(value) * steps, count + steps)
            else:
                self._values[name] = (value, 1)
        self._seen = current

    def _pace(self, current: int, now: float) -> float:
        """Seconds per step, without the first if there are more: it is often slower than all others."""
        if not current:
            return 0.0
        if self._first_step is not None and current > 1:
            pace = (now - self._first_step) / (current - 1)
        else:
            pace = (now - self._start) / current
        if current == 1:
            self._first_step = now
        return pace

    def _draw(self, current: int, now: float, pace: float, finalize: bool) -> None:
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
        took = _duration(pace * ((self.target or 0) - current)) if left else f"{now - self._start:.0f}s"
        info = f" {BOLD}{took}{PLAIN}{_per_unit(pace, self.unit_name)}{self._shown_values(signed=True)}"
        width = len(bar) + len(info) - hidden - len(BOLD + PLAIN)
        # Notebooks need no backspaces, and what exports them shows each one as a box.
        before = ("" if self._notebook else "\b" * self._drawn) + "\r" if self._dynamic else "\n"
        print_message(f"{before}{bar}{info}{' ' * (self._drawn - width)}", end="\n" if finalize else "")
        self._drawn = 0 if finalize else width

    def _shown_values(self, *, signed: bool) -> str:
        texts = []
        for name, (total, count) in self._values.items():
            if not isinstance(total, numbers.Real):  # a callback may log anything
                texts.append(f" - {name}: {total}")
                continue
            value = float(total) / max(count, 1)
            large = (abs(value) if signed else value) > SMALL
            texts.append(f" - {name}: {value:.4f}" if large else f" - {name}: {value:.4e}")
        return "".join(texts)


class Progress:
    """The bar of `fit`, `evaluate` or `predict`, a new one for every pass. Leaving its context ends its line.

    Args:
        verbose: 0 prints nothing, 1 a bar, 2 one line at the end; "auto" is 1 on a terminal and in a notebook, else 2,
            where Keras fills a log file with its bar.
        steps: steps of one pass; None if nobody knows.
        patience: seconds that a pass may take without anything being printed, if `verbose` is "auto".
    """

    def __init__(self, verbose: object, steps: int | None, patience: float = 0.0) -> None:
        require_verbose(verbose)
        self._verbose = _suitable() if verbose == "auto" else int(verbose)  # type: ignore[call-overload] # checked
        self.steps = steps
        self._patience = patience if verbose == "auto" else 0.0
        self._begin()

    @property
    def live(self) -> bool:
        """Whether the first step is shown at once."""
        return self._verbose == 1 and not self._patience

    @property
    def redraws(self) -> bool:
        """Whether `update` may show anything."""
        return self._verbose == 1

    def restart(self, title: str | None = None) -> None:
        """Begin a pass, under a line `title`."""
        if not self._verbose:
            return
        if title is not None:
            print_message(title)
        self._begin()

    def update(self, done: int, logs: Mapping[str, float]) -> None:
        """Redraw the bar after `done` steps, if it is time to."""
        if self.redraws and not self._waiting():
            self._bar.update(
                done if self.steps is None else min(done, self.steps), logs.items(), finalize=False
            )

    def finish(self, logs: Mapping[str, float], done: int) -> None:
        """Print the line that stays, and learn how many steps a pass has if nobody knew."""
        if self.steps is None:
            self.steps = self._bar.target = done
        if self._verbose and not self._waiting():
            self._bar.update(self.steps, logs.items(), finalize=True)

    def _begin(self) -> None:
        self._start = time.time()
        self._bar = Progbar(self.steps, verbose=self._verbose, stateless_metrics=())

    def _waiting(self) -> bool:
        return self._patience > 0 and time.time() - self._start < self._patience

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """End the line of a bar that is being redrawn."""
        self._bar._end_line()

    def __exit__(self, *_: object) -> None:
        self.close()


def _suitable() -> int:
    """The mode that suits where standard output goes."""
    live = "ipykernel" in sys.modules or (sys.stdout is not None and sys.stdout.isatty())
    return 1 if live else 2


def require_verbose(verbose: object) -> None:
    """Raise ValueError unless `verbose` is one of those that `Progress` takes."""
    choice(verbose, "verbose", ("auto", 0, 1, 2))


def impatient(verbose: object) -> bool:
    """Whether `verbose` wants something printed at once, or isn't valid."""
    return not isinstance(verbose, (str, int)) or verbose not in ("auto", 0)


def _per_unit(pace: float, unit: str) -> str:
    if pace >= 1 or pace == 0:
        return f" {pace:.0f}s/{unit}"
    if pace >= 1 / 1000:
        return f" {pace * 1e3:.0f}ms/{unit}"
    return f" {pace * 1e6:.0f}us/{unit}"


def _duration(seconds: float) -> str:
    if seconds > HOUR:
        return f"{seconds // HOUR:.0f}:{int(seconds % HOUR) // MINUTE:02d}:{int(seconds % MINUTE):02d}"
    if seconds > MINUTE:
        return f"{seconds // MINUTE:.0f}:{int(seconds % MINUTE):02d}"
    return f"{int(seconds)}s"
