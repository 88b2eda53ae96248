"""The lines that `fit`, `evaluate` and `predict` print, in Keras' form."""

from __future__ import annotations

import numbers
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from engine._checks import choice

if TYPE_CHECKING:
    from typing_extensions import Self

WIDTH = 20
# Faster refreshes can't be read; the core asks for one about as often.
INTERVAL = 0.05
# Seconds after which `evaluate` and `predict` show that they are at work.
PATIENCE = 0.5
# Values as small as this are shown in scientific notation.
SMALL = 1e-3

BOLD, GREEN, WHITE, PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"


class Progress:
    """Progress over a number of steps, again and again for every epoch. Leaving its context ends its line.

    Args:
        verbose: 0 prints nothing, 1 a bar, 2 one line at the end; "auto" is 1 on a terminal or in a notebook,
            else 2.
        steps: steps of one pass.
        patience: seconds that a pass may take without anything being printed, if `verbose` is "auto".
    """

    def __init__(self, verbose: object, steps: int, patience: float = 0.0) -> None:
        choice(verbose, "verbose", ("auto", 0, 1, 2))
        self._out: TextIO | None = sys.stdout  # None without a console
        self._live = self._out is not None and (self._out.isatty() or "ipykernel" in sys.modules)
        self._mode = (1 if self._live else 2) if verbose == "auto" else verbose
        self.steps = steps
        self._patience = patience if verbose == "auto" else 0.0
        self._width = 0
        self.restart()

    def restart(self, title: str | None = None) -> None:
        """Begin a pass, under a line `title`."""
        self._start = self._shown = time.perf_counter()
        if title is not None and self._mode:
            self._write(title + "\n")

    def update(self, done: int, logs: Mapping[str, float]) -> None:
        """Redraw the bar after `done` steps, if it is time to."""
        now = time.perf_counter()
        if (
            self._mode != 1
            or not self._live
            or now - self._shown < INTERVAL
            or now - self._start < self._patience
        ):
            return
        self._shown = now
        elapsed = now - self._start
        left = elapsed / max(done, 1) * (self.steps - done)
        self._redraw(f"{self._bar(done)} {self._bold(_duration(left))} {_pace(elapsed, done)}{_values(logs)}")

    def finish(self, logs: Mapping[str, float]) -> None:
        """Print the line that stays."""
        elapsed = time.perf_counter() - self._start
        if self._mode == 0 or elapsed < self._patience:
            return
        seconds, pace = f"{elapsed:.0f}s", _pace(elapsed, self.steps)
        if self._mode == 1:
            self._redraw(f"{self._bar(self.steps)} {self._bold(seconds)} {pace}{_values(logs)}")
            self._end_line()
        else:
            self._write(f"{self.steps}/{self.steps} - {seconds} - {pace}{_values(logs)}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def _end_line(self) -> None:
        """Leave the line of a bar that is being redrawn, so that other output starts on its own."""
        if self._width:
            self._write("\n")
            self._width = 0

    def _bar(self, done: int) -> str:
        filled = WIDTH * done // self.steps
        count = self._bold(f"{done:{len(str(self.steps))}d}/{self.steps}")
        if not self._live:
            return f"{count} {'━' * WIDTH}"
        return f"{count} {GREEN}{'━' * filled}{PLAIN}{WHITE}{'━' * (WIDTH - filled)}{PLAIN}"

    def _bold(self, text: str) -> str:
        return f"{BOLD}{text}{PLAIN}" if self._live else text

    def _redraw(self, line: str) -> None:
        padding = " " * (self._width - len(line))
        self._width = len(line)
        self._write(f"\r{line}{padding}" if self._live else line)

    def _write(self, text: str) -> None:
        write(self._out, text)


def write(out: TextIO | None, text: str) -> None:
    """Write `text` and flush, with question marks for what the encoding of `out` lacks; None takes nothing."""
    if out is None:
        return
    try:
        out.write(text)
    except UnicodeEncodeError:
        out.write(text.encode(out.encoding, "replace").decode(out.encoding))
    out.flush()


def _values(logs: Mapping[str, object]) -> str:
    return "".join(f" - {name}: {_value(value)}" for name, value in logs.items())


def _value(value: object) -> str:
    if not isinstance(value, numbers.Real):  # a callback may log anything
        return str(value)
    return f"{float(value):.4f}" if abs(float(value)) > SMALL else f"{float(value):.4e}"


def _pace(elapsed: float, steps: int) -> str:
    seconds = elapsed / max(steps, 1)
    if seconds >= 1:
        return f"{seconds:.0f}s/step"
    if seconds >= 1 / 1000:
        return f"{seconds * 1e3:.0f}ms/step"
    return f"{seconds * 1e6:.0f}us/step"


def _duration(seconds: float) -> str:
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{whole:02d}"
    return f"{minutes}:{whole:02d}" if minutes else f"{whole}s"
