"""Dtype policies: to which precision a GPU rounds what layers multiply. All else is float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine._base.checks import WrongTypeError, checked_config, float32_only, name_of_dtype
from engine._base.lazy_imports import on_first_use
from engine._base.left_out import SaysWhatIsLeftOut
from engine._base.spec import described

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DTypePolicy", "FloatDTypePolicy", "deserialize", "get", "serialize"]

# The dtype of the operands of products, by the name of the policy.
_COMPUTE_DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}


class _Process:
    """Settings of the process: the policy of new layers, and how GPUs multiply for layers with the policy "float32"."""

    policy = "float32"
    matmul_precision = "float32"


class DTypePolicy(SaysWhatIsLeftOut):
    """The precision in which a GPU multiplies for a layer.

    Weights, sums, activations, gradients and outputs are float32 under every policy. Under a policy of mixed precision a GPU
    rounds the operands of the products of dense layers, so that tensor cores multiply them: the inputs, the kernel and the
    gradients of the outputs. It adds the products in float32. The CPU computes the same network in float32.

    - "mixed_bfloat16": operands have 8 significant bits, and the range of float32.
    - "mixed_float16": operands have 11 significant bits. In the forward pass numbers from 65,520 on become infinite, as in
      Keras, and numbers below 3e-8 become 0. The two products that give gradients round to TensorFloat32, which has as many
      bits and the range of float32, so that small gradients are kept, and no loss has to be scaled.

    In Keras, outputs and activations of such layers have the dtype `compute_dtype`, too.

    Args:
        name: "float32", "mixed_bfloat16" or "mixed_float16"; None is the policy of new layers, which
            `engine.config.set_dtype_policy` sets.

    Raises:
        ValueError: for any other name.

    Example:
        >>> import engine as keras
        >>> layer = keras.layers.Dense(2, dtype=keras.DTypePolicy("mixed_bfloat16"))
        >>> layer.compute_dtype, layer.variable_dtype
        ('bfloat16', 'float32')
    """

    quantization_mode = None

    def __init__(self, name: str | None = None) -> None:
        self._name = _Process.policy if name is None else _checked_name(name)

    @property
    def name(self) -> str:
        """The name of the policy."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """The dtype to which a GPU rounds the operands of products: "float32", "bfloat16" or "float16"."""
        return _COMPUTE_DTYPES[self._name]

    @property
    def variable_dtype(self) -> str:
        """The dtype of weights, "float32"."""
        return "float32"

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


def _checked_name(name: object) -> str:
    """Returns the name of a policy; raises ValueError for what is none."""
    if isinstance(name, str) and name in _COMPUTE_DTYPES:
        return name
    try:
        return float32_only(name)
    except ValueError:
        half = isinstance(name, str) and name in _COMPUTE_DTYPES.values()
        advice = (
            f"weights and outputs are float32 here, so take 'mixed_{name}'"
            if half
            else "the engine computes in float32, and data may have any real dtype"
        )
        msg = f"`dtype` must be 'float32', 'mixed_bfloat16', 'mixed_float16' or a DTypePolicy, got {name!r}: {advice}"
        raise WrongTypeError(msg) from None


FLOAT32 = DTypePolicy("float32")


def get(identifier: object) -> DTypePolicy:
    """Returns the dtype policy for an identifier.

    Args:
        identifier: a name, a policy, the config of one, or None for the policy of new layers.

    Raises:
        ValueError: for anything else, and for policies of other dtypes.
    """
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    # A policy of Keras has a name, too.
    return DTypePolicy(None if identifier is None else _checked_name(name_of_dtype(identifier)))


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
    inner_config = config.get("config")
    return DTypePolicy(
        _checked_name(inner_config.get("name", config) if isinstance(inner_config, Mapping) else config)
    )


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
