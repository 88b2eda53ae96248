"""`Embedding`, which replaces indices by rows of a learned table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import constraints, initializers, regularizers
from engine._base.checks import Shape, flag, integer, only_default
from engine._core_interface.cpp import new_arrays
from engine._core_interface.operations import EmbeddingOperation, LayerOperation, extended
from engine.layers.layer import MOST_TOKENS, Layer, register
from engine.layers.variable import Variable, own_variables
from engine.layers.weights import WeightSpec, checked_weights, penalty_and_constraint_fields

__all__ = ["Embedding"]


@register()
class Embedding(Layer):
    """Maps indices to learned vectors: inputs (n, ...) become (n, ..., output_dim).

    Args:
        input_dim: number of rows of the table. Indices are in [0, input_dim).
        output_dim: length of each vector.
        embeddings_initializer: initializer of the table (input_dim, output_dim).
        embeddings_regularizer: penalty on the table.
        embeddings_constraint: constraint on the table, applied after every step, such as `"unit_norm"`.
        mask_zero: whether index 0 is padding, which later layers and the loss ignore, as after `Masking`.
        weights: initial table (input_dim, output_dim), or a list with it. It is not part of the config.
        lora_rank: must be None; low-rank adaptation is not supported.
        lora_alpha: must be None.
        quantization_config: must be None; quantization is not supported.
        input_length: how many indices a sample has, which `input_shape` says today. A Sequential that begins with the
            layer then has weights at once, as in Keras 2.
        options: arguments of every `Layer`, such as `name`, `trainable` and `input_shape`.
    """

    _takes_scalars = True
    _unsaved_arguments = (
        "autocast",
        "input_shape",
        "batch_input_shape",
        "weights",
        "lora_rank",
        "lora_alpha",
        "input_length",
    )

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: object = "uniform",
        embeddings_regularizer: object = None,
        embeddings_constraint: object = None,
        mask_zero: bool = False,
        weights: ArrayLike | Sequence[ArrayLike] | None = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        *,
        input_length: int | None = None,
        **options: Any,
    ) -> None:
        if input_length is not None:
            warnings.warn("Argument `input_length` is deprecated. Just remove it.", stacklevel=2)
            if not {"input_shape", "batch_input_shape"} & options.keys():
                options["input_shape"] = (input_length,)
        only_default(lora_rank, "lora_rank", None, "low-rank adaptation")
        only_default(lora_alpha, "lora_alpha", None, "low-rank adaptation")
        self.quantization_config = only_default(
            quantization_config, "quantization_config", None, "quantization"
        )
        self.input_dim = integer(input_dim, "input_dim", 1, MOST_TOKENS)
        self.output_dim = integer(output_dim, "output_dim", 1)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = flag(mask_zero, "mask_zero")
        super().__init__(**options)
        self._makes_mask = self.supports_masking = self.mask_zero
        self._indices_below = self.input_dim
        if weights is not None:
            self._start_from([*weights] if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates the table. Its shape is known without `input_shape`."""
        super().build((None,) if input_shape is None else input_shape)

    @property
    def embeddings(self) -> Variable:
        """The table (input_dim, output_dim)."""
        return self._weight(0, "embeddings")

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape of the inputs with one more axis, of length `output_dim`."""
        return (*input_shape, self.output_dim)

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """The table."""
        del input_shape
        return [
            WeightSpec(
                "embeddings",
                (self.input_dim, self.output_dim),
                self.embeddings_initializer,
                True,
                self.embeddings_regularizer,
                self.embeddings_constraint,
            )
        ]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one look-up for each number of a sample."""
        (table,) = self._weight_specs_for(input_shape)
        operation: EmbeddingOperation = {
            "kind": "embedding",
            "tokens": self.input_dim,
            "units": self.output_dim,
            "groups": 1,
            "masks": self.mask_zero,
            "trainable": self.trainable,
        }
        return [extended(operation, penalty_and_constraint_fields(kernel=table))]

    def compute_mask(self, inputs: ArrayLike, previous_mask: object = None) -> NDArray[np.bool_] | None:
        """Returns the mask of `inputs`, False for index 0, or None without `mask_zero`.

        `previous_mask` is ignored.
        """
        del previous_mask
        return np.not_equal(inputs, 0) if self.mask_zero else None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, including `activity_regularizer`, as in Keras."""
        return {"activity_regularizer": None, **super().get_config()}

    def _start_from(self, weights: list[Any]) -> None:
        wanted = self._weight_specs_for(())
        values = checked_weights(weights, [wanted[0].shape], self.name)
        self._weights = own_variables(self, wanted, new_arrays(values))
