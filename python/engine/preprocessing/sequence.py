"""Helpers of Keras 1 and 2 for sequences: windows of time series, and pairs of neighbouring words."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._base.lazy_imports import on_first_use
from engine.utils.batches import PyDataset
from engine.utils.numbers import pad_sequences

__all__ = ["TimeseriesGenerator", "make_sampling_table", "pad_sequences", "skipgrams"]

_EULER_GAMMA = 0.577  # rounded, as in Keras


class TimeseriesGenerator(PyDataset):
    """Yields batches of windows of a time series, each with the target of the step after it.

    `utils.timeseries_dataset_from_array` is newer.

    Args:
        data: array or list (steps, ...).
        targets: one for each step.
        length: number of steps that a window spans.
        sampling_rate: a window has every step of this number.
        stride: steps between two windows.
        start_index: the first step to use.
        end_index: the last step to use; default the last.
        shuffle: whether windows are drawn at random, by NumPy's global generator.
        reverse: whether the steps of a window are in reverse order.
        batch_size: windows in a batch.
        kwargs: arguments of `PyDataset`.

    Raises:
        ValueError: if `data` and `targets` differ in length, or no window fits.

    Example:
        >>> import numpy as np
        >>> from engine.preprocessing.sequence import TimeseriesGenerator
        >>> windows = TimeseriesGenerator(np.arange(6), np.arange(6) * 10, length=3)
        >>> windows[0][0].tolist(), windows[0][1].tolist()
        ([[0, 1, 2], [1, 2, 3], [2, 3, 4]], [30, 40, 50])
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        data: Any,
        targets: Any,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(data) != len(targets):
            msg = (
                f"Data and targets have to be of same length. Data length is {len(data)} while target length is "
                f"{len(targets)}"
            )
            raise ValueError(msg)
        self.data, self.targets, self.length = data, targets, length
        self.sampling_rate, self.stride = sampling_rate, stride
        self.start_index = start_index + length
        self.end_index = len(data) - 1 if end_index is None else end_index
        self.shuffle, self.reverse, self.batch_size = shuffle, reverse, batch_size
        if self.start_index > self.end_index:
            msg = (
                f"`start_index+length={self.start_index} > end_index={self.end_index}` is disallowed, as no part of the "
                "sequence would be left to be used as current step."
            )
            raise ValueError(msg)

    def __len__(self) -> int:
        span = self.batch_size * self.stride
        return (self.end_index - self.start_index + span) // span

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.shuffle:
            drawn = np.random.randint  # the generator that scripts for Keras seed
            rows = drawn(self.start_index, self.end_index + 1, size=self.batch_size)
        else:
            begin = self.start_index + self.batch_size * self.stride * index
            end = min(begin + self.batch_size * self.stride, self.end_index + 1)
            rows = np.arange(begin, end, self.stride)
        steps = rows.tolist()
        windows = np.array([self.data[step - self.length : step : self.sampling_rate] for step in steps])
        targets = np.array([self.targets[step] for step in steps])
        return (windows[:, ::-1] if self.reverse else windows), targets

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments; data and targets as JSON."""
        names = (
            "length", "sampling_rate", "stride", "start_index", "end_index", "shuffle", "reverse", "batch_size",
        )  # fmt: skip
        series = {"data": _json_of(self.data, "Data"), "targets": _json_of(self.targets, "Targets")}
        return series | {name: getattr(self, name) for name in names}

    def to_json(self, **kwargs: Any) -> str:
        """Returns the arguments as JSON.

        Args:
            kwargs: arguments of `json.dumps`.
        """
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **kwargs)


def _json_of(series: Any, name: str) -> str:
    try:
        return json.dumps(series.tolist() if isinstance(series, np.ndarray) else series)
    except TypeError as error:
        msg = f"{name} not JSON Serializable: {series}"
        raise TypeError(msg) from error


def make_sampling_table(size: int, sampling_factor: float = 1e-5) -> NDArray[np.float64]:
    """Returns the probabilities with which word2vec keeps words, for words in the order of how often they occur.

    The frequency of the word of rank r is taken to be `1 / (r * (log(r) + 0.577) + 1/2 - 1/(12 * r))`, by Zipf's law.

    Args:
        size: number of words.
        sampling_factor: the factor of word2vec's formula.

    Returns:
        float64 (size,).
    """
    rank = np.arange(size)
    rank[:1] = 1
    inverse = rank * (np.log(rank) + _EULER_GAMMA) + 0.5 - 1.0 / (12.0 * rank)
    return np.minimum(1.0, np.sqrt(sampling_factor * inverse))


def skipgrams(  # noqa: PLR0917 # Keras' signature
    sequence: Sequence[int],
    vocabulary_size: int,
    window_size: int = 4,
    negative_samples: float = 1.0,
    shuffle: bool = True,
    categorical: bool = False,
    sampling_table: Any = None,
    seed: int | None = None,
) -> tuple[list[list[int]], list[Any]]:
    """Returns pairs of words that occur near each other, label 1, and of words with random ones, label 0.

    Args:
        sequence: indices of words. Index 0 stands for none and is left out.
        vocabulary_size: random words are in [1, vocabulary_size).
        window_size: the largest distance of two words that are near.
        negative_samples: number of random pairs for each pair of near words.
        shuffle: whether the pairs are shuffled.
        categorical: whether labels are `[0, 1]` and `[1, 0]`.
        sampling_table: the probability to keep each word, as by `make_sampling_table`; None keeps all.
        seed: seed of the shuffle, as in Keras; other random numbers are those of Python's global generator.

    Returns:
        The pairs, and their labels.
    """
    near = [
        [word, sequence[other]]
        for index, word in enumerate(sequence)
        if word and (sampling_table is None or sampling_table[word] >= random.random())
        for other in range(max(0, index - window_size), min(len(sequence), index + window_size + 1))
        if other != index and sequence[other]
    ]
    positive, negative = ([0, 1], [1, 0]) if categorical else (1, 0)
    couples, labels = list(near), [positive for _ in near]
    if negative_samples > 0:
        count = int(len(near) * negative_samples)
        words = [word for word, _ in near]
        random.shuffle(words)
        couples += [[words[i % len(words)], random.randint(1, vocabulary_size - 1)] for i in range(count)]
        labels += [negative for _ in range(count)]
    if shuffle:
        seed = random.randint(0, 10**7) if seed is None else seed
        for part in (couples, labels):
            random.seed(seed)
            random.shuffle(part)
    return couples, labels


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
