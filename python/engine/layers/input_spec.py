"""`InputSpec`, which says what inputs a layer accepts: the number of axes, and the length of some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine._base.checks import Shape, dtype_of, flag, integer
from engine._base.checks import shape as shape_of


class InputSpec:
    """Describes the inputs that a layer accepts. A layer with such an attribute `input_spec` refuses all others.

    Args:
        dtype: dtype of the inputs. It is kept, but not checked, as layers convert their inputs.
        shape: shape of the inputs, with the batch axis first; None stands for an axis of any length.
        ndim: number of axes, the batch axis included. It follows from `shape` if that is given.
        max_ndim: largest number of axes.
        min_ndim: smallest number of axes.
        axes: dict from axes, such as -1, to their lengths.
        allow_last_axis_squeeze: whether a last axis of length 1 may be missing or too many, compared with `shape`.
        name: name of the input.
        optional: whether the input may be missing.

    Raises:
        TypeError: if `axes` isn't a dict with whole numbers as keys.
        ValueError: if `axes` has an axis that inputs with `ndim` or `max_ndim` axes lack.

    Example:
        >>> import engine as keras
        >>> keras.layers.InputSpec(min_ndim=2, axes={-1: 3})
        InputSpec(min_ndim=2, axes={-1: 3})
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        dtype: object = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = None if dtype is None else dtype_of(dtype, "dtype").name
        self.shape = None if shape is None else shape_of(shape, "shape")
        self.ndim = _length(ndim, "ndim") if self.shape is None else len(self.shape)
        self.max_ndim, self.min_ndim = _length(max_ndim, "max_ndim"), _length(min_ndim, "min_ndim")
        self.allow_last_axis_squeeze = flag(allow_last_axis_squeeze, "allow_last_axis_squeeze")
        self.name, self.optional = name, flag(optional, "optional")
        try:
            self.axes = {int(axis): _length(size, "axes") for axis, size in dict(axes or {}).items()}
        except (TypeError, ValueError) as error:
            msg = f"`axes` must be a dict from whole numbers to lengths, such as {{-1: 3}}, got {axes!r}"
            raise TypeError(msg) from error
        most = self.ndim if self.ndim is not None else self.max_ndim
        if self.axes and most is not None and max(self.axes) >= most:
            msg = f"`axes` has the axis {max(self.axes)}, but the inputs have at most {most} axes"
            raise ValueError(msg)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments from which `from_config` makes an equal object, as plain Python values."""
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> InputSpec:
        """Makes an object from a config that `get_config` returned.

        Args:
            config: the arguments by name.
        """
        return cls(**config)

    def __repr__(self) -> str:
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")
        shown = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name)]
        return f"InputSpec({', '.join(shown)})"

    def _complaint(self, shape: Shape) -> str | None:
        """Returns what is wrong with inputs of `shape`, batch axis included; None if they are accepted."""
        rank = len(shape)
        if self.ndim is not None and rank != self.ndim and not self.allow_last_axis_squeeze:
            return f"expected ndim={self.ndim}, found ndim={rank}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={rank}"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={rank}"
        for axis, size in self.axes.items():
            found = shape[axis] if -rank <= axis < rank else None
            if None not in (size, found) and size != found:
                return f"expected axis {axis} of input shape to have value {size}"
        wanted = self.shape or ()
        if self.allow_last_axis_squeeze:
            shape, wanted = (each[:-1] if each[-1:] == (1,) else each for each in (shape, wanted))
        if any(None not in pair and pair[0] != pair[1] for pair in zip(wanted, shape, strict=False)):
            return f"expected shape={self.shape}"
        return None


def require_compatible(spec: object, shape: Shape, layer: str) -> None:
    """Raises ValueError if a layer or model with the attribute `input_spec=spec` can't take inputs of this shape.

    Args:
        spec: an InputSpec, a list of them with one for each input, of which the first is checked, or None.
        shape: of the inputs, batch axis included.
        layer: the name of the layer or model.
    """
    first = next(iter(spec), None) if isinstance(spec, (list, tuple)) else spec
    if not isinstance(first, InputSpec):
        return
    complaint = first._complaint(shape)
    if complaint is not None:
        msg = (
            f"Input 0 of layer {layer!r} is incompatible with the layer: {complaint}, but received inputs of shape {shape}. "
            "Its `input_spec` says so"
        )
        raise ValueError(msg)


def _length(value: int | None, name: str) -> int | None:
    return None if value is None else integer(value, name, 0)
