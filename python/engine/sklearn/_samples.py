"""Samples of an estimator, encoded as the engine takes them."""

from __future__ import annotations

from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array

Array = NDArray[Any]


class Encoded(NamedTuple):
    """Checked samples.

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
        """How many there are."""
        return int(self.x.shape[0])

    def picked(self, index: Array) -> Encoded:
        """The samples of that index."""
        rows = self.x.tocsr() if hasattr(self.x, "tocsr") else self.x
        return Encoded(rows[index], self.y[index], None if self.weights is None else self.weights[index])

    def split(self, share: float, stratify: bool, random_state: object) -> tuple[Encoded, Encoded]:
        """Samples for training and for validation, those that scikit-learn would take.

        Args:
            share: of the latter.
            stratify: whether every class gives its share.
            random_state: draws them.

        Raises:
            ValueError: if fewer than two are left for validation.
        """
        train, held_out = train_test_split(
            np.arange(self.size),
            random_state=random_state,
            test_size=share,
            stratify=self.y > 0 if stratify else None,
        )
        if len(held_out) < 2:  # noqa: PLR2004 # no score tells anything
            msg = (
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
            raise ValueError(msg)
        return self.picked(train), self.picked(held_out)

    def merged(self) -> Encoded:
        """Each sample once, weighing as much as all its copies, in an order that only the samples decide.

        A step on all samples doesn't depend on their order, and two copies count as one of twice the weight: after
        this to the last bit.
        """
        x = np.ascontiguousarray(self.x.toarray() if hasattr(self.x, "toarray") else self.x)
        weights = np.ones(self.size) if self.weights is None else self.weights
        parts = [np.ascontiguousarray(array).view(np.uint8).reshape(self.size, -1) for array in (x, self.y)]
        keys = np.concatenate(parts, axis=1)
        _, first, copies = np.unique(
            keys.view(np.dtype((np.void, keys.shape[1]))).reshape(-1), return_index=True, return_inverse=True
        )
        sums = np.bincount(copies, weights)
        kept = sums != 0
        return Encoded(x[first[kept]], self.y[first[kept]], sums[kept])


def checked_weights(sample_weight: object, count: int) -> Array | None:
    """Weights (n,) of `count` samples, one for all or one for each; None stays None.

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
