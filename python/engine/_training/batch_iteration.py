"""Iteration over the batches of a source, epoch by epoch, which a runner trains or evaluates.

A pass takes every sample of the source once. An epoch is a pass, or `steps_per_epoch` batches, after which the next epoch
continues in the same pass. The trainer, the backups of a training, and the solver of `engine.sklearn` use this.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from engine._base.random_state import drawing_from, position
from engine._data.batch_streams import call_hook
from engine._data.memory_maps import require_whole_files
from engine._data.sources import Chunk, Shuffle, Source
from engine._training.runner import Poll, Runner

if TYPE_CHECKING:
    from pathlib import Path


class DataPosition(NamedTuple):
    """How far a training has come in its data."""

    random_position: tuple[int, int]
    """The random state at the beginning of the pass."""
    batches_of_pass: int
    """The number of batches of the pass that were used."""
    batches_of_epoch: int
    """The number of batches of the epoch that were used."""


class BatchIterator:
    """Iterates over the batches of a source for any number of epochs, each pass in a new order.

    Args:
        runner: runs the batches.
        source: the samples.
        batch_size: samples in a batch, unless the source yields batches itself.
        shuffle: how the order changes; None for an evaluation.
        steps: batches in an epoch; None makes an epoch of each pass.
        steps_name: the name of the argument `steps`, for messages.
    """

    def __init__(
        self,
        runner: Runner,
        source: Source,
        batch_size: int,
        *,
        shuffle: Shuffle | None = None,
        steps: int | None = None,
        steps_name: str = "steps_per_epoch",
    ) -> None:
        self.runner, self._source = runner, source
        self._batch_size, self._shuffle, self._steps = batch_size, shuffle, steps
        self._steps_name = steps_name
        self._chunks: Iterator[Chunk] | None = None
        self._chunk: Chunk | None = None  # what the runner reads
        self._done = 0  # the number of batches of this chunk that were used
        self._before = 0  # the number of batches of the pass in earlier chunks
        self._origin = 0  # the number of batches of the pass before the epoch
        self.batches_of_epoch = (
            0  # the number of batches of the next epoch that the training before a restart has used
        )
        self._began = (0, 0)  # the random state at the beginning of the pass

    def has_next(self) -> bool:
        """Returns whether there is another batch, if necessary in a new pass, which begins then."""
        if not self._left() and not self._next_chunk():
            self._chunks = None
            self._next_chunk()
        return self._left() > 0

    def data_position(self, batches_of_epoch: int) -> DataPosition:
        """Returns how far training has come after `batches_of_epoch` batches of an epoch; 0 means the end of the last epoch."""
        if self._chunks is None:
            return DataPosition(self._began, 0, batches_of_epoch)
        return DataPosition(
            self._began,
            self._origin + batches_of_epoch if batches_of_epoch else self._before + self._done,
            batches_of_epoch,
        )

    def skip_to(self, place: DataPosition, totals: Any, backup: Path) -> None:
        """Skips the batches that an earlier training has used. The random state does not change.

        Args:
            place: what `data_position` returned in that training.
            totals: its sums over the unfinished epoch. The next epoch is the rest of it.
            backup: the file that holds both, for messages.

        Raises:
            ValueError: if the source has fewer batches than before, or the sums are those of other metrics.
        """
        with drawing_from(place.random_position if place.batches_of_pass else position()):
            self._skip(place.batches_of_pass, backup)
        self.batches_of_epoch = place.batches_of_epoch
        if place.batches_of_epoch:
            try:
                self.runner.resume_totals(totals)
            except ValueError as error:
                msg = f"{backup}: the sums of losses and metrics are those of other metrics: {error}"
                raise ValueError(msg) from error

    def _skip(self, batches: int, backup: Path) -> None:
        """Skips `batches` batches from the beginning of the pass."""
        while (left := batches - self._before - self._done) > 0:
            if not self._left() and not self._next_chunk():
                msg = (
                    f"the data has fewer batches than before, {batches - left} of {batches}: go on with the same data, or "
                    f"delete the backup {backup}"
                )
                raise ValueError(msg)
            self._done += min(left, self._left())

    def read_anew(self) -> None:
        """Lets the next epoch read the samples as they are then, though it may go on in the same pass."""
        chunk = self._source.read_anew(self._chunk if self._left() else None)
        if chunk is not None and chunk is not self._chunk:
            self._feed(chunk)

    def advance(self, batches: range, poll: Poll | None = None) -> None:
        """Runs the next batches of the chunk, as `Runner.advance`.

        Raises:
            OSError: if a memory-mapped file that they are read from has become shorter.
        """
        files = () if self._chunk is None else self._chunk.arrays.files

        def check(done: int) -> None:
            require_whole_files(files)
            if poll is not None:
                poll(done)

        require_whole_files(files)
        self.runner.advance(batches.start, batches.stop, check)

    def epoch(self) -> Iterator[range]:
        """Yields the batches of one epoch, by their numbers in the chunk that the runner reads.

        The caller advances over these batches before it asks for the next. Call `has_next` or `skip_to` before.
        """
        call_hook(self._source, "on_epoch_begin")
        batches_of_epoch, self.batches_of_epoch = self.batches_of_epoch, 0
        self._origin = self._before + self._done - batches_of_epoch
        while self._steps is None or batches_of_epoch < self._steps:
            if not self._left() and not self._next_chunk():
                self._chunks = None
                if self._steps is not None:
                    self._warn_of_short_epoch(batches_of_epoch)
                break
            count = self._left() if self._steps is None else min(self._left(), self._steps - batches_of_epoch)
            batches = range(self._done, self._done + count)
            yield batches
            self._done, batches_of_epoch = batches.stop, batches_of_epoch + count
        call_hook(self._source, "on_epoch_end")

    def _left(self) -> int:
        """Returns the number of unused batches of the current chunk."""
        return self.runner.batches - self._done

    def _next_chunk(self) -> bool:
        """Passes the next chunk of the pass to the runner. Returns False at the end of the pass."""
        new = self._chunks is None
        if self._chunks is None:
            self._began, self._chunks = position(), self._source.chunks(self._batch_size, self._shuffle)
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._before = 0 if new else self._before + self._done
        self._done = 0
        self._feed(chunk)
        return True

    def _feed(self, chunk: Chunk) -> None:
        self.runner.feed(chunk)
        self._chunk = chunk

    def _warn_of_short_epoch(self, batches_of_epoch: int) -> None:
        message = (
            f"`{self._steps_name}={self._steps}` asks for more batches than the data has left; this epoch ends "
            f"after {batches_of_epoch}"
        )
        warnings.warn(message, stacklevel=5)
