"""How training and evaluation go over their samples: passes, cut into epochs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from engine._base.checks import Shape
from engine._base.cpp import Program, Run, Totals
from engine._base.random_state import go_to, position
from engine._data.batch_streams import call_hook
from engine._data.given_targets import Form
from engine._data.memory_maps import Files, require_whole_files
from engine._data.sources import Chunk, Shuffle, Source

if TYPE_CHECKING:
    from pathlib import Path


class Place(NamedTuple):
    """Where a training is in its data."""

    began: tuple[int, int]
    """Where random numbers were as the pass began."""
    passed: int
    """Batches of the pass."""
    taken: int
    """Batches of the epoch."""


class Passes:
    """Goes over samples again and again, each time in a new order.

    Args:
        program_for: gives the program that runs samples of a shape.
        mode: whether it learns.
        source: the samples.
        batch_size: of batches, where the source doesn't come in some.
        shuffle: how the order changes; None for an evaluation.
        steps: batches of an epoch; the next goes on where it ended. None takes a whole pass.
        steps_name: what messages call `steps`.
    """

    def __init__(
        self,
        program_for: Callable[[Shape], Program],
        mode: Literal["train", "evaluate"],
        source: Source,
        batch_size: int,
        *,
        shuffle: Shuffle | None = None,
        steps: int | None = None,
        steps_name: str = "steps_per_epoch",
    ) -> None:
        self._program_for, self._mode, self._source = program_for, mode, source
        self._batch_size, self._shuffle, self._steps = batch_size, shuffle, steps
        self._steps_name = steps_name
        self._chunks: Iterator[Chunk] | None = None
        self._run: Run | None = None
        self._sample_shape: Shape = ()  # of the samples that it takes
        self.program: Program | None = None
        self._form = Form()  # of its targets
        self._files: Files = ()  # that it is read from
        self._done = 0  # batches of the chunk that `_run` has
        self._before = 0  # batches of the pass in chunks before
        self._origin = 0  # batches of the pass before the epoch
        self.taken = 0  # batches of the next epoch that an earlier training has taken
        self._began = (0, 0)  # where random numbers were as the pass began

    @property
    def totals(self) -> Totals:
        """Sums over the epoch so far; there must have been a batch."""
        return self._begun().totals

    def ready(self) -> bool:
        """Whether the data has another batch, for which a new pass may begin."""
        if not self._left() and not self._next_chunk():
            self._chunks = None
            self._next_chunk()
        return self._left() > 0

    def place(self, taken: int) -> Place:
        """Where training is, after so many batches of an epoch; 0 for the end of the last one."""
        if self._chunks is None:
            return Place(self._began, 0, taken)
        return Place(self._began, self._origin + taken if taken else self._before + self._done, taken)

    def skip_to(self, place: Place, totals: Totals, backup: Path) -> None:
        """Begin where an earlier training was; random numbers stay where they are.

        Args:
            place: what its `place` returned.
            totals: its sums over the epoch so far, if it was in one, whose rest is then the next epoch.
            backup: the file that tells both.

        Raises:
            ValueError: if there are fewer batches than there were, or the sums are those of other metrics.
        """
        now = position()
        go_to(place.began if place.passed else now)
        try:
            self._skip(place.passed, backup)
        finally:
            go_to(now)
        self.taken = place.taken
        if place.taken:
            try:
                self._begun().resume_totals(totals)
            except ValueError as error:
                msg = f"{backup}: the sums of losses and metrics are those of other metrics: {error}"
                raise ValueError(msg) from error

    def _skip(self, batches: int, backup: Path) -> None:
        """Pass over so many batches of the pass."""
        while (left := batches - self._before - self._done) > 0:
            if not self._left() and not self._next_chunk():
                msg = (
                    f"the data has fewer batches than before, {batches - left} of {batches}: go on with the same data, or "
                    f"delete the backup {backup}"
                )
                raise ValueError(msg)
            self._done += min(left, self._left())

    def require_whole_files(self) -> None:
        """Raise OSError where a memory-mapped file that the next batches are read from has become shorter."""
        require_whole_files(self._files)

    def epoch(self) -> Iterator[tuple[Run, range, Form]]:
        """Batches of one epoch, in runs that go on where the one before ended, and how their targets were given.

        Call it after `ready` or `skip_to`.
        """
        call_hook(self._source, "on_epoch_begin")
        taken, self.taken = self.taken, 0
        self._origin = self._before + self._done - taken
        if not taken:
            self._begun().reset_totals()
        while self._steps is None or taken < self._steps:
            if not self._left() and not self._next_chunk():
                self._chunks = None
                if self._steps is not None:
                    self._warn_of_the_end(taken)
                break
            count = self._left() if self._steps is None else min(self._left(), self._steps - taken)
            batches = range(self._done, self._done + count)
            self.require_whole_files()
            yield self._begun(), batches, self._form
            self._done, taken = batches.stop, taken + count
        call_hook(self._source, "on_epoch_end")

    def _begun(self) -> Run:
        if self._run is None:
            msg = "no batch has begun"
            raise RuntimeError(msg)
        return self._run

    def _left(self) -> int:
        return 0 if self._run is None else self._run.batches - self._done

    def _next_chunk(self) -> bool:
        """Feed the run with what comes next in the pass; False at its end."""
        new = self._chunks is None
        if self._chunks is None:
            self._began, self._chunks = position(), self._source.chunks(self._batch_size, self._shuffle)
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._before = 0 if new else self._before + self._done
        self._done = 0
        if self._run is None or self._sample_shape != chunk.sample_shape:
            self._begin_run(chunk)
        else:
            self._run.feed(*chunk.batches)
        self._form, self._files = chunk.form, chunk.files
        return True

    def _begin_run(self, chunk: Chunk) -> None:
        """Begin a run for samples of the shape of this chunk, with the totals of the run before."""
        before = self._run
        program = self._program_for(chunk.sample_shape)
        run = program.begin(self._mode, *chunk.batches)
        if before is not None:
            run.resume_totals(before.totals)
        self._run, self.program, self._sample_shape = run, program, chunk.sample_shape

    def _warn_of_the_end(self, taken: int) -> None:
        message = (
            f"`{self._steps_name}={self._steps}` asks for more batches than the data has left; this epoch ends "
            f"after {taken}"
        )
        warnings.warn(message, stacklevel=5)
