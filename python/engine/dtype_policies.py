"""Dtype policies. There is one, "float32": the engine computes in float32 and keeps weights in float32."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine._base.checks import checked_config, float32_only
from engine._base.lazy_imports import on_first_use
from engine._base.left_out import SaysWhatIsLeftOut
from engine._base.spec import described

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DTypePolicy", "FloatDTypePolicy", "deserialize", "get", "serialize"]

_MIXED = ("mixed_float16", "mixed_bfloat16")


class DTypePolicy(SaysWhatIsLeftOut):
    """The dtype in which layers compute, and the dtype of their weights: both are float32.

    Args:
        name: "float32" or None. "mixed_float16" and "mixed_bfloat16", with which scripts ask for speed on a GPU, give
            the policy "float32" too, with a warning.

    Raises:
        ValueError: for any other name.

    Example:
        >>> import engine as keras
        >>> keras.layers.Dense(2, dtype=keras.DTypePolicy("float32")).dtype_policy
        <DTypePolicy "float32">
    """

    quantization_mode = None

    def __init__(self, name: str | None = None) -> None:
        if name in _MIXED:
            message = f"the engine computes in float32, so that the dtype policy {name!r} has no effect"
            warnings.warn(message, stacklevel=2)
            name = "float32"
        self._name = float32_only(name)

    @property
    def name(self) -> str:
        """The name of the policy, "float32"."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """The dtype of inputs, outputs and all computations, "float32"."""
        return self._name

    @property
    def variable_dtype(self) -> str:
        """The dtype of weights, "float32"."""
        return self._name

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments from which `from_config` makes an equal object."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Makes a policy from a config that `get_config` returned.

        Args:
            config: the arguments by name.
        """
        return cls(**checked_config(config))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


class FloatDTypePolicy(DTypePolicy):
    """Another name of `DTypePolicy`, which older scripts use. The argument `name` is the same."""


FLOAT32 = DTypePolicy("float32")


def get(identifier: object) -> DTypePolicy:
    """Returns the dtype policy for an identifier.

    Args:
        identifier: a name, a policy, the config of one, or None for the policy of all layers.

    Raises:
        ValueError: for anything else, and for policies of other dtypes.
    """
    if identifier is None:
        return FLOAT32
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    return DTypePolicy(identifier if isinstance(identifier, str) else float32_only(identifier))


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """Returns the class and config of `dtype_policy`, for `deserialize`."""
    return described(type(dtype_policy), type(dtype_policy).__name__, dtype_policy.get_config()) | {
        "module": "keras"
    }


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> DTypePolicy:
    """Returns the policy that `serialize` described, here or in Keras.

    Args:
        config: what `serialize` returned.
        custom_objects: Ignored. There are no policies of other classes.

    Raises:
        ValueError: if it is the policy of another dtype.
    """
    del custom_objects
    return DTypePolicy(float32_only(config))


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
