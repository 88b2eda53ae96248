"""`Lambda`, which makes a layer of a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine._base.checks import Shape, WrongTypeError, checked_config, integers, require, shape
from engine._base.registered_objects import custom_object_scope
from engine._base.spec import described, registered_or_same
from engine.layers.call_arguments import accepts
from engine.layers.layer import Layer, register

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Lambda"]


@register()
class Lambda(Layer):
    """Applies a function as a layer without weights.

    The function is run once with symbols and recorded, so that the core computes and differentiates it. A function that needs
    numbers, such as for a branch on values, runs in Python in every batch.

    Args:
        function: computes outputs (n, ...) from inputs (n, ...), by operators, `keras.ops` or NumPy. It may have a
            parameter `training`. If it runs in Python, training needs its derivative, as the attribute `gradient` of the
            function or as the argument `gradient`.
        output_shape: shape of one output sample, or a function that returns it for the input shape with the batch
            axis. By default it is found by calling the function.
        mask: must be None; the engine determines masked timesteps itself.
        arguments: dict of further keyword arguments for the function.
        gradient: function `gradient(inputs, upstream)` that returns the gradient of the loss with respect to the
            inputs; `upstream` is the gradient with respect to the outputs.
        options: arguments of every `Layer`, such as `name` and `input_shape`.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layer = layers.Lambda(lambda x: x ** 2)
        >>> layer(np.full((1, 2), 3.0)).tolist()
        [[9.0, 9.0]]
    """

    # `get_config` adds it; the attribute of this name is the shape of the outputs, as in Keras 2.
    _unsaved_arguments = (*Layer._unsaved_arguments, "output_shape")

    def __init__(
        self,
        function: Any,
        output_shape: Sequence[int] | Callable[..., Any] | None = None,
        mask: object = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        gradient: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not callable(function):
            msg = f"`function` must be a function of arrays, got {function!r}"
            raise WrongTypeError(msg)
        if mask is not None:
            msg = f"`mask` must be None, as masks of one's own for a Lambda are left out: write a layer with compute_mask(). Got {mask!r}"
            raise ValueError(msg)
        require(callable, gradient, "gradient", "a function of inputs and upstream")
        require(Mapping, arguments, "arguments", "a dict of the function's arguments by name")
        if not callable(output_shape):
            require((tuple, list), output_shape, "output_shape", "the shape of one sample, or a function")
        self.function = function
        self.mask = mask
        self.arguments = dict(arguments or {})
        self._shape = output_shape if callable(output_shape) or output_shape is None else tuple(output_shape)
        self._gradient = gradient

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the result of the function for `inputs` (n, ...) and, if it has that parameter, `training`."""
        options = {"training": training} if accepts(self.function, "training") else {}
        return self.function(inputs, **self.arguments, **options)

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        """Returns the gradient of the loss with respect to `inputs`; `upstream` is that of the outputs."""
        derivative = self._gradient or getattr(self.function, "gradient", None)
        if derivative is None:
            msg = (
                f"the function of layer {self.name!r} has no derivative, which training needs: pass "
                "`gradient=lambda inputs, upstream: ...`, which gives the gradient of the loss by the inputs from "
                "`upstream`, the one by the outputs"
            )
            raise WrongTypeError(msg)
        return derivative(inputs, upstream, **self.arguments)

    @property
    def _may_be_recorded(self) -> bool:
        return self._gradient is None and getattr(self.function, "gradient", None) is None

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The argument `output_shape`, or else the shape that the function returns."""
        if self._shape is None:
            return super()._output_shape_for(input_shape)
        self._build_for_sample(input_shape)
        given = tuple(self._shape((None, *input_shape)))[1:] if callable(self._shape) else self._shape
        return shape(given, "output_shape") if None in given else integers(given, "output_shape", 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, functions by their registered names."""
        shape = {} if self._shape is None else {"output_shape": _described(self._shape)}
        derivative = {} if self._gradient is None else {"gradient": _described(self._gradient)}
        own = {"function": _described(self.function), **shape, "arguments": self.arguments, **derivative}
        base = {
            name: value
            for name, value in super().get_config().items()
            if name not in ("mask", "gradient", *own)
        }
        return {**base, **own}

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        custom_objects: Mapping[str, Any] | None = None,
        safe_mode: bool | None = None,
    ) -> Self:
        """Creates a layer from `config`, as returned by `get_config`.

        Args:
            config: the constructor arguments.
            custom_objects: classes and functions by the names that `config` may use.
            safe_mode: Ignored. Code stored in a config is never run.

        Raises:
            ValueError: if the function is a Python lambda, which can't be stored in a config, or isn't registered.
        """
        del safe_mode
        config = checked_config(config)
        with custom_object_scope(custom_objects):
            named = {
                name: _found(config[name])
                for name in ("function", "output_shape", "gradient")
                if name in config
            }
        return cls(**{**config, **named})


def _described(value: Any) -> Any:
    """Returns the entry of a config for a function; other values are returned as they are."""
    if not callable(value):
        return value
    if getattr(value, "__name__", "<lambda>") == "<lambda>":
        return {"class_name": "__lambda__", "config": {}}
    return described(value, "function", value.__name__)


def _found(value: Any) -> Any:
    """Returns the function, or the shape, that an entry of a config stands for."""
    if not isinstance(value, Mapping):
        return tuple(value) if isinstance(value, list) else value
    if value.get("class_name") == "__lambda__":
        msg = (
            "Requested the deserialization of a `Lambda` layer whose `function` is a Python lambda. Code in configs "
            "is left out, as running that of a file would be unsafe: give the function a name with `def`, and register it with @register_keras_serializable()"
        )
        raise ValueError(msg)
    found = registered_or_same(value)
    if callable(found):
        return found
    msg = f"unknown function {found!r}: pass it in `custom_objects`, or register it with @register_keras_serializable()"
    raise ValueError(msg)
