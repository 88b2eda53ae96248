"""How training and evaluation go over their samples: passes, cut into epochs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Literal

from engine._program import Program, Run, Totals
from engine._samples import Chunk, Shuffle, Source
from engine._streams import tell


class Passes:
    """Goes over samples again and again, each time in a new order.

    Args:
        program: what runs.
        mode: whether it learns.
        source: the samples.
        batch_size: of batches, where the source doesn't come in some.
        shuffle: how the order changes; None for an evaluation.
        steps: batches of an epoch; the next goes on where it ended. None takes a whole pass.
        steps_name: what messages call `steps`.
    """

    def __init__(
        self,
        program: Program,
        mode: Literal["train", "evaluate"],
        source: Source,
        batch_size: int,
        *,
        shuffle: Shuffle | None = None,
        steps: int | None = None,
        steps_name: str = "steps_per_epoch",
    ) -> None:
        self._program, self._mode, self._source = program, mode, source
        self._batch_size, self._shuffle, self._steps = batch_size, shuffle, steps
        self._steps_name = steps_name
        self._chunks: Iterator[Chunk] | None = None
        self._run: Run | None = None
        self._done = 0  # batches of the chunk that `_run` has

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

    def epoch(self) -> Iterator[tuple[Run, range]]:
        """Batches of one epoch, in runs that go on where the one before ended; call after `ready`."""
        tell(self._source, "on_epoch_begin")
        self._begun().reset_totals()
        taken = 0
        while self._steps is None or taken < self._steps:
            if not self._left() and not self._next_chunk():
                self._chunks = None
                if self._steps is not None:
                    self._warn_of_the_end(taken)
                break
            count = self._left() if self._steps is None else min(self._left(), self._steps - taken)
            batches = range(self._done, self._done + count)
            yield self._begun(), batches
            self._done, taken = batches.stop, taken + count
        tell(self._source, "on_epoch_end")

    def _begun(self) -> Run:
        if self._run is None:
            msg = "no batch has begun"
            raise RuntimeError(msg)
        return self._run

    def _left(self) -> int:
        return 0 if self._run is None else self._run.batches - self._done

    def _next_chunk(self) -> bool:
        """Feed the run with what comes next in the pass; False at its end."""
        if self._chunks is None:
            self._chunks = self._source.chunks(self._batch_size, self._shuffle)
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        if self._run is None:
            self._run = self._program.begin(self._mode, *chunk)
        else:
            self._run.feed(*chunk)
        self._done = 0
        return True

    def _warn_of_the_end(self, taken: int) -> None:
        message = (
            f"`{self._steps_name}={self._steps}` asks for more batches than the data has left; this epoch ends "
            f"after {taken}"
        )
        warnings.warn(message, stacklevel=5)
