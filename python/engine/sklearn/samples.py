"""Samples of an estimator, checked and encoded for the engine."""

from __future__ import annotations

from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, column_or_1d

Array = NDArray[Any]


class Encoded(NamedTuple):
    """Checked samples with encoded targets.

    Attributes:
        x: uint8, float32 or float64 (n, features), or a sparse matrix.
        y: int32 class indices (n,), or float32 (n, outputs).
        weights: of losses and scores, (n,), or None.
    """

    x: Any
    y: Array
    weights: Array | None = None

    @property
    def size(self) -> int:
        """Number of samples."""
        return int(self.x.shape[0])

    def picked(self, index: Array) -> Encoded:
        """Returns the samples with the given indices."""
        rows = self.x.tocsr() if sparse.issparse(self.x) else self.x
        return Encoded(rows[index], self.y[index], None if self.weights is None else self.weights[index])

    def split(self, test_fraction: float, stratify: bool, random_state: object) -> tuple[Encoded, Encoded]:
        """Splits into samples for training and for validation, the same that scikit-learn holds out.

        Args:
            test_fraction: fraction of the samples for validation.
            stratify: whether to take this fraction of each class.
            random_state: random generator or seed.

        Raises:
            ValueError: if there are fewer than two samples for validation.
        """
        train, held_out = train_test_split(
            np.arange(self.size),
            random_state=random_state,
            test_size=test_fraction,
            stratify=self.y > 0 if stratify else None,
        )
        if len(held_out) < 2:  # noqa: PLR2004 # scikit-learn's minimum
            msg = (
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
            raise ValueError(msg)
        return self.picked(train), self.picked(held_out)

    def merged(self) -> Encoded:
        """Merges equal samples into one with the sum of their weights, and sorts them.

        A step on all samples at once then gives the same bits for any order of the samples, and for a repeated
        sample as for one of twice the weight.
        """
        x = np.ascontiguousarray(self.x.toarray() if sparse.issparse(self.x) else self.x)
        weights = np.ones(self.size) if self.weights is None else self.weights
        parts = [np.ascontiguousarray(array).view(np.uint8).reshape(self.size, -1) for array in (x, self.y)]
        keys = np.concatenate(parts, axis=1)
        _, first, copies = np.unique(
            keys.view(np.dtype((np.void, keys.shape[1]))).reshape(-1), return_index=True, return_inverse=True
        )
        sums = np.bincount(copies, weights)
        nonzero = sums != 0
        return Encoded(x[first[nonzero]], self.y[first[nonzero]], sums[nonzero])


def checked_sample_weights(sample_weight: object, count: int) -> Array | None:
    """Returns the weights (n,) of `count` samples, given one for all or one for each; None stays None.

    Raises:
        ValueError: for another shape, negative weights, or nothing but zeros.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Number):
        sample_weight = np.full(count, sample_weight, np.float64)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=(np.float64, np.float32), input_name="sample_weight"
    )
    if weights.shape != (count,):
        msg = f"`sample_weight` must have shape ({count},), one weight per sample, got {weights.shape}"
        raise ValueError(msg)
    if weights.min() < 0:
        row = int(weights.argmin())
        msg = f"`sample_weight` must not be negative, but row {row} holds {weights[row]}"
        raise ValueError(msg)
    if not weights.any():
        msg = "Sample weights must contain at least one non-zero number."
        raise ValueError(msg)
    return np.asarray(weights)


def raveled(y: Array) -> Array:
    """Returns targets (n, 1) as (n,), with scikit-learn's warning; others stay what they are."""
    return np.asarray(column_or_1d(y, warn=True)) if y.ndim == 2 and y.shape[1] == 1 else y  # noqa: PLR2004 # a column
