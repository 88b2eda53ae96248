"""What layers written in NumPy are made of: weights that NumPy takes for arrays, and checks of what comes back."""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape, filled
from engine._base.registered_objects import overrides
from engine._base.tensor_like import StoredArray, mask_of
from engine.layers._state import Named, Weight, Weighted

if TYPE_CHECKING:
    from engine._base.cpp import Float32, Operation, Rows


class CustomWeight(Named, StoredArray):
    """A weight array of a custom layer. NumPy functions accept it as an array of its current values.

    Args:
        layer: the layer that has the weight.
        index: its number among the layer's weights.
    """

    def __init__(self, layer: Weighted, index: int) -> None:
        self._layer = weakref.ref(layer)
        self._index = index

    @property
    def value(self) -> Float32:
        """The current values as a read-only array."""
        return self._owner._weight_at(self._index)

    @property
    def T(self) -> Float32:  # noqa: N802 # NumPy's name
        """The transposed array."""
        return self.value.T

    def assign(self, value: Any) -> None:
        """Sets the weight to `value`, of the same shape."""
        self._owner._set_weight(self._index, np.asarray(value))

    @property
    def _owner(self) -> Weighted:
        layer = self._layer()
        if layer is None:
            msg = "the layer that this weight belongs to is gone"
            raise RuntimeError(msg)
        return layer

    @property
    def _origin(self) -> tuple[Weighted, Weight]:
        return self._owner, self._owner._specs[self._index]

    def __repr__(self) -> str:
        return f"<CustomWeight shape={self.shape}>"


def refuse_overrides(cls: type, *methods: str) -> None:
    """Raise TypeError where a subclass has `methods` of its own that the core would take the place of."""
    for name in methods:
        if overrides(cls, name):
            msg = (
                f"{cls.__name__} can't override `{name}` of {cls.__mro__[1].__name__}, which the core computes by itself: "
                "derive from layers.Layer, and compute all of it in `call`. For dropout in prediction there is "
                "model(x, training=True)"
            )
            raise TypeError(msg)


class CallArguments(dict[str, Any]):
    """What a layer was called with beside its inputs, by name; equal to itself alone."""

    __hash__ = object.__hash__  # type: ignore[assignment] # a dict has none

    def __eq__(self, other: object) -> bool:
        return self is other

    def accepted_by(self, function: Any) -> dict[str, Any]:
        """Those that `function` takes."""
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return {}
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        return {name: value for name, value in self.items() if takes_all or name in parameters}


def call_arguments(layer: Any, args: Sequence[Any], options: Mapping[str, Any]) -> CallArguments:
    """What `layer(inputs, *args, **options)` gives its `call` beside the inputs, by name, with arrays as Keras hands them on.

    Raises:
        TypeError: for what `call` doesn't take.
        ValueError: for what will come out of another layer.
    """
    parameters = list(inspect.signature(layer.call).parameters.values())
    free = {name: value for name, value in options.items() if name in ("training", "mask")}
    places = [
        each for each in parameters[1:] if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    if not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        # Every layer takes these two, also one whose `call` does not.
        others = [name for name in ("training", "mask") if name not in {each.name for each in places}]
        free |= dict(zip(others, args[len(places) :], strict=False))
        args = args[: len(places)] if len(args) <= len(places) + len(others) else args
    rest = {name: value for name, value in options.items() if name not in free}
    try:
        bound = inspect.signature(layer.call).bind_partial(None, *args, **rest).arguments
    except TypeError as error:
        msg = f"call() of layer {layer.name!r}, which takes {inspect.signature(layer.call)}, {error}"
        raise TypeError(msg) from None
    found = CallArguments()
    for parameter in parameters[1:]:
        if parameter.name not in bound:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= bound[parameter.name]
        elif parameter.kind is parameter.VAR_POSITIONAL:
            msg = f"layer {layer.name!r} must be given arguments beside its inputs by name, got {bound[parameter.name]!r}"
            raise TypeError(msg)
        else:
            found[parameter.name] = bound[parameter.name]
    found |= free
    for name, value in found.items():
        if _holds_symbol(value):
            msg = (
                f"`{name}` of layer {layer.name!r} stands for what will come out of a model, {value!r}, but models are "
                "chains of layers here, in which a layer has one such input: join the two in one array before the model, "
                "or call the layer on arrays"
            )
            raise ValueError(msg)
        found[name] = canonical(value)
    return found


def _holds_symbol(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_holds_symbol, value))
    if isinstance(value, dict):
        return any(map(_holds_symbol, value.values()))
    return hasattr(value, "comes_from") or getattr(value, "_input_sample_shape", None) is not None


def canonical(value: Any) -> Any:
    """`value` with arrays as Keras hands them to layers: of float32, and of 32 bits for integers of 64."""
    if not isinstance(value, np.ndarray):
        return value
    return value.astype(canonical_dtype(value.dtype), copy=False)


def canonical_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype in which Keras hands an array of `dtype` to a layer."""
    given = np.dtype(dtype)
    if given.kind == "f":
        return np.dtype(np.float32)
    halved: np.dtype[Any] = np.dtype({"int64": "int32", "uint64": "uint32"}.get(given.name, given.name))
    return halved


def layer_within(cls: type, name: str) -> TypeError:
    """The error for a layer of class `cls` that would hold another as its attribute `name`."""
    return TypeError(
        f"`{name}` of {cls.__name__} can't be a layer: layers don't hold layers here. Put them one after the other in "
        "the model, or compute in `call` what they do"
    )


def checked_output(what: str, result: Any, rows: int) -> NDArray[Any]:
    """What a layer or function, which messages call `what`, has returned for so many rows."""
    array: NDArray[Any] = np.asarray(result)
    if array.dtype.kind not in REAL or array.ndim == 0 or len(array) != rows:
        msg = (
            f"{what} must return an array of real numbers with {rows} rows, one per sample, got dtype {array.dtype} and "
            f"shape {array.shape}"
        )
        raise ValueError(msg)
    return array


# In the place of unknown lengths, where what a function returns tells the shape of its outputs.
TRIED_LENGTHS = (64, 32)


def shape_by_trial(outputs_for: Callable[[Shape], Shape], sample: Shape) -> Shape:
    """The shape of outputs, which has None where it depends on a length that is not known, as in Keras.

    Args:
        outputs_for: gives the shape of one of the outputs for inputs of a shape.
        sample: the shape of one of the inputs; None stands for lengths that aren't known.
    """
    if None not in sample:
        return outputs_for(sample)
    one, other = (outputs_for(filled(sample, length)) for length in TRIED_LENGTHS)
    if len(one) != len(other):
        msg = f"the outputs must have as many axes for inputs of any length, got {one} and {other}"
        raise ValueError(msg)
    return tuple(size if size == again else None for size, again in zip(one, other, strict=True))


def shape_of_outputs(
    called: Callable[..., NDArray[Any]], sample: tuple[int, ...], takes_mask: bool
) -> tuple[int, ...]:
    """The shape of one of the outputs.

    Args:
        called: a layer's `call`, of inputs, `training` and a mask.
        sample: the shape of one of the inputs.
        takes_mask: whether the layer may ask for a mask, which it then gets if it can't do without.
    """
    zeros = np.zeros((2, *sample), np.float32)  # one row could be mistaken for an axis to broadcast
    with np.errstate(all="ignore"):  # nobody divides by the zeros that only the shape is found with
        try:
            return called(zeros, False, None).shape[1:]
        except Exception:
            if takes_mask:
                return called(zeros, False, np.ones(zeros.shape[:-1], bool)).shape[1:]
            try:  # the layer may be one for integers alone, such as indices
                return called(zeros.astype(np.int32), False, None).shape[1:]
            except Exception:  # the first one tells more
                pass
            raise


def checked_mask(layer: Weighted, mask: Any, outputs: tuple[int, ...]) -> NDArray[np.bool_]:
    """What `compute_mask` of `layer` has returned for outputs of that shape, (n, rows); None: all rows count."""
    wanted = outputs[:-1] or outputs
    array: NDArray[np.bool_] = np.ones(wanted, bool) if mask is None else np.asarray(mask, bool)
    if array.shape != wanted:
        msg = (
            f"`compute_mask` of layer {layer.name!r} must return a mask of shape {wanted}, one for each row of the "
            f"outputs, got {array.shape}"
        )
        raise ValueError(msg)
    return array.reshape(len(array), -1)


def given_mask(layer: Any, inputs: Any, rows: tuple[int, ...], mask: Any) -> NDArray[np.bool_] | None:
    """The mask of `inputs`, of so many `rows`, for a call of `layer`: the one given, or else what the inputs note."""
    if mask is None:
        mask = mask_of(inputs)
    elif not layer._reads_mask:
        msg = f"layer {layer.name!r} takes no `mask`, as its outputs are the same with one: leave it out"
        raise TypeError(msg)
    if mask is None:
        return None
    if not layer.supports_masking:
        warn_of_lost_mask(layer)
    array: NDArray[np.bool_] = np.asarray(mask, bool)
    if array.shape != rows:
        msg = f"`mask` must have shape {rows}, one for each row of the inputs, got {array.shape}"
        raise ValueError(msg)
    return array


def with_mask(
    rows: Rows, mask: NDArray[np.bool_], operations: Sequence[Operation]
) -> tuple[Rows, list[Operation]]:
    """Samples with what their rows count for behind them, and operations that take them apart before these."""
    flat, counts = rows.reshape(len(rows), -1), mask.reshape(len(rows), -1)
    size, mask_rows = flat.shape[1], counts.shape[1]

    def take_apart(views: Mapping[str, Any]) -> None:
        views["outputs"][...] = views["inputs"][:, :size]
        views["counted"][...] = views["inputs"][:, size:]

    first = {"kind": "custom", "units": size, "variables": [], "mask_rows": mask_rows, "groups": 1}
    masked = [{**operation, "masked": True} for operation in operations]
    joined = np.concatenate([flat, counts], axis=1, dtype=np.float32)
    return joined, [{**first, "host": lambda: take_apart}, *masked]


def warn_of_lost_mask(layer: Weighted) -> None:
    """Say what Keras says of a layer that knows no masks."""
    msg = (
        f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with a mask attached to it. "
        "However, this layer does not support masking and will therefore destroy the mask information. "
        "Downstream layers will not see the mask."
    )
    warnings.warn(msg, stacklevel=3)


def default_of(function: Any, argument: str) -> Any:
    """The default of an argument of `function`; None where there is no such argument, or it has none."""
    parameter = inspect.signature(function).parameters.get(argument)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def accepts(function: Any, argument: str) -> bool:
    """Whether `function` takes an argument of that name."""
    try:
        return argument in inspect.signature(function).parameters
    except (TypeError, ValueError):  # of some builtin functions nobody knows
        return False
