"""The circle loss, which pulls embeddings of one class together and pushes other classes away."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import ops
from engine._base.checks import flag, real
from engine._base.elementary import exp, log
from engine._core_interface.cpp import Float32, matmul
from engine._tracing.symbolic import contains_symbolic
from engine.losses import reductions
from engine.losses.loss import BatchLoss, register

Doubles = NDArray[np.float64]


class _Exponents(NamedTuple):
    """The pairs of embeddings (rows) and references (columns), each (n, m), with their terms of `log(sum(exp(term)))`."""

    distance: Doubles
    """1 minus the cosine, at least 0."""
    alike: NDArray[np.bool_]
    """Whether both have the same class, and are not the same sample."""
    other: NDArray[np.bool_]
    """Whether they have different classes."""
    of_alike: Doubles
    """The terms of pairs of one class."""
    of_other: Doubles
    """The terms of pairs of different classes."""


@reductions.returns_tensors
def circle(  # noqa: PLR0917 # Keras' signature
    y_true: ArrayLike,
    y_pred: ArrayLike,
    ref_labels: ArrayLike | None = None,
    ref_embeddings: ArrayLike | None = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Float32:
    """`softplus(logsumexp(gamma * (m + d) * (d - m)) + logsumexp(gamma * (1 + m - d') * (1 - m - d')))` per sample.

    d are the distances, 1 minus the cosine, to samples of the same class, d' those to samples of other classes, and m is
    the margin. A sample for which one of the two is missing has the loss 0.
    Source: Sun et al., Circle Loss: A Unified Perspective of Pair Similarity Optimization, 2020.

    Args:
        y_true: integer labels (n,) or (n, 1).
        y_pred: embeddings (n, features), each of length 1.
        ref_labels: labels (m,) of `ref_embeddings`; default `y_true`.
        ref_embeddings: embeddings (m, features) to compare with; default `y_pred`.
        remove_diagonal: whether a sample is not compared with itself; with references, sample i not with reference i.
        gamma: scale of the terms: larger values make the loss steeper.
        margin: margin between distances within a class and to other classes.

    Returns:
        float32 (n,).

    Raises:
        ValueError: if the shapes don't fit.
    """
    if contains_symbolic((y_true, y_pred)):
        return _of_symbols(y_true, y_pred, ref_labels, ref_embeddings, remove_diagonal, gamma, margin)
    embeddings = _embeddings(y_pred, "y_pred")
    references = embeddings if ref_embeddings is None else _embeddings(ref_embeddings, "ref_embeddings")
    labels = _labels(y_true, embeddings, "y_true")
    reference_labels = labels if ref_labels is None else _labels(ref_labels, references, "ref_labels")
    exponents = _exponents(labels, embeddings, reference_labels, references, remove_diagonal, gamma, margin)
    total = (
        _log_sum(exponents.of_alike, exponents.alike)[0] + _log_sum(exponents.of_other, exponents.other)[0]
    )
    losses = np.maximum(total, 0.0) + log(1.0 + exp(-np.abs(total)))
    return np.where(total == -np.inf, 0.0, losses).astype(np.float32)


def _of_symbols(  # noqa: PLR0917 # the arguments of the loss
    y_true: Any,
    y_pred: Any,
    ref_labels: Any,
    ref_embeddings: Any,
    remove_diagonal: bool,
    gamma: float,
    margin: float,
) -> Float32:
    """Records the losses of samples."""
    labels = ops.reshape(y_true, (-1,))
    others = labels if ref_labels is None else ops.reshape(ref_labels, (-1,))
    references = y_pred if ref_embeddings is None else ref_embeddings
    distances = ops.maximum(1.0 - ops.matmul(y_pred, ops.transpose(references)), 0.0)
    alike = ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(others, 0))
    other = ops.logical_not(alike)
    if remove_diagonal:
        rows, columns = y_pred.shape[0], references.shape[0]
        same = ops.equal(ops.expand_dims(ops.arange(rows), 1), ops.expand_dims(ops.arange(columns), 0))
        alike = ops.logical_and(alike, ops.logical_not(same))
    none = -1e30
    near = (distances + margin) * (distances - margin)
    far = (1.0 + margin - distances) * (1.0 - margin - distances)
    of_alike = ops.logsumexp(ops.where(alike, near * gamma, none), axis=1)
    of_other = ops.logsumexp(ops.where(other, far * gamma, none), axis=1)
    total = of_alike + of_other
    losses: Float32 = ops.where(total < none / 2.0, 0.0, ops.softplus(ops.maximum(total, none / 2.0)))
    return losses


@register(function=circle)
class Circle(BatchLoss):
    """Distances between embeddings: small within a class, large between classes (Sun et al., 2020).

    The model's last layers are `Dense(features)` and `UnitNormalization()`; labels are integers. The gradient runs
    through all pairs of a batch. A mean counts the samples whose loss is above 0, as in Keras.

    Args:
        gamma: scale of the terms: larger values make the loss steeper.
        margin: margin between distances within a class and to other classes.
        remove_diagonal: whether a sample is not compared with itself.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: object = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.gamma, self.margin = real(gamma, "gamma"), real(margin, "margin")
        self.remove_diagonal = flag(remove_diagonal, "remove_diagonal")

    def call(self, y_true: Any, y_pred: Any) -> Float32:
        """Returns the loss of each sample, (n,).

        Args:
            y_true: integer labels (n,) or (n, 1).
            y_pred: embeddings (n, features), each of length 1.
        """
        return circle(
            y_true, y_pred, remove_diagonal=self.remove_diagonal, gamma=self.gamma, margin=self.margin
        )

    def _counted_rows(self, y_true: Any, losses: Any) -> Any:
        """Returns 1 for each loss above 0, else 0."""
        del y_true
        return ops.cast(losses > 0.0, "float32")

    def _mean_mask(self, y_true: ArrayLike, losses: Float32) -> Doubles:
        """Returns 1 for each sample whose loss is above 0, else 0, (n,).

        Args:
            y_true: ignored here.
            losses: (n,).
        """
        del y_true
        return np.asarray(losses > 0, np.float64)

    def _gradient_of_sum(self, y_true: Any, y_pred: Any, factors: NDArray[Any]) -> Doubles:
        """Returns the gradient of `sum(factors * losses)` with respect to the embeddings, added up in one order.

        Args:
            y_true: integer labels (n,) or (n, 1).
            y_pred: embeddings (n, features), each of length 1.
            factors: (n,).
        """
        embeddings = _embeddings(y_pred, "y_pred")
        labels = _labels(y_true, embeddings, "y_true")
        exponents = _exponents(
            labels, embeddings, labels, embeddings, self.remove_diagonal, self.gamma, self.margin
        )
        alike, share_of_alike = _log_sum(exponents.of_alike, exponents.alike)
        other, share_of_other = _log_sum(exponents.of_other, exponents.other)
        total = alike + other
        negative = exp(-np.abs(total))
        sigmoid = np.where(total < 0, negative, 1.0) / (1.0 + negative)
        by_total = np.where(total == -np.inf, 0.0, factors * sigmoid)
        distance, margin = exponents.distance, self.margin
        slope = np.where(margin + distance > 0, 2 * distance, 0.0) * share_of_alike
        slope -= np.where(1 + margin - distance > 0, 2 * (1 - distance), 0.0) * share_of_other
        # The distance is 1 - cosine, and constant where that would be negative.
        by_cosine = np.where(distance > 0, -self.gamma * slope * by_total[:, np.newaxis], 0.0)
        by_product = (by_cosine + by_cosine.T).astype(np.float32)
        return matmul(by_product, embeddings, None, None, False, False, None).astype(np.float64)


def _embeddings(values: ArrayLike, name: str) -> Float32:
    array = np.ascontiguousarray(values, np.float32)
    if array.ndim != 2:  # noqa: PLR2004 # samples and features
        msg = f"`{name}` must hold one embedding per sample, (n, features), got shape {array.shape}"
        raise ValueError(msg)
    return array


def _labels(values: ArrayLike, embeddings: Float32, name: str) -> NDArray[np.int64]:
    labels, count = np.asarray(values), len(embeddings)
    if labels.shape not in ((count,), (count, 1)):
        msg = f"`{name}` must hold one label per embedding, ({count},) or ({count}, 1), got shape {labels.shape}"
        raise ValueError(msg)
    return labels.reshape(count).astype(np.int64)


def _exponents(  # noqa: PLR0917 # the arguments of the loss
    labels: NDArray[np.int64],
    embeddings: Float32,
    reference_labels: NDArray[np.int64],
    references: Float32,
    remove_diagonal: bool,
    gamma: float,
    margin: float,
) -> _Exponents:
    cosines = matmul(embeddings, references, None, None, False, True, None)
    distance = np.maximum(1.0 - cosines.astype(np.float64), 0.0)
    alike = labels[:, np.newaxis] == reference_labels
    other = ~alike
    if remove_diagonal:
        alike &= np.eye(*alike.shape) == 0
    of_alike = -gamma * np.maximum(margin + distance, 0.0) * (margin - distance)
    of_other = gamma * np.maximum(1 + margin - distance, 0.0) * (1 - margin - distance)
    return _Exponents(distance, alike, other, of_alike, of_other)


def _log_sum(exponents: Doubles, chosen: NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Returns `log(sum(exp(x)))` over the chosen columns of each row (n,), and each term as a fraction of the sum (n, m).

    The logarithm is -inf for a row without chosen columns.
    """
    largest = np.max(exponents, axis=1, initial=-np.inf, where=chosen)[:, np.newaxis]
    finite = np.isfinite(largest)
    parts = np.where(chosen & finite, exp(np.where(chosen & finite, exponents - largest, 0.0)), 0.0)
    sums = np.cumsum(parts, axis=1)[:, -1:]
    positive = np.where(finite, sums, 1.0)
    logs = np.where(finite, largest + log(positive), -np.inf)
    return logs[:, 0], parts / positive
