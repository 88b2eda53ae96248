"""Augmentation layers, which change images at random in training, so that a network sees more different ones."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from engine._base.checks import Shape, choice, real, text_of_shape
from engine._base.elementary import power
from engine._core_interface.operations import ImageAugmentationOperation, LayerOperation, extended
from engine.layers.layer import Layer, Seeded, register

__all__ = ["RandomElastic", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom"]

Factor = float | Sequence[float]

FILL_MODES = ("constant", "nearest", "reflect", "wrap")
INTERPOLATIONS = ("bilinear", "nearest")


class _Augmentation(Seeded, ABC):
    """Base class of layers that change images (rows, columns) or (rows, columns, channels).

    Args:
        fill_mode: how to fill pixels outside of the image: "constant", "nearest", "reflect" or "wrap".
        interpolation: how to compute values between pixels: "bilinear" or "nearest".
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        fill_value: value of these pixels for `fill_mode="constant"`.
        data_format: must be "channels_last" or None.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(
        self,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        self.fill_mode = choice(fill_mode, "fill_mode", FILL_MODES)
        self.interpolation = choice(interpolation, "interpolation", INTERPOLATIONS)
        self.fill_value = real(fill_value, "fill_value")
        self.data_format = choice(
            "channels_last" if data_format is None else data_format, "data_format", ("channels_last",)
        )
        super().__init__(seed, **options)

    @property
    def _training_default(self) -> bool | None:
        return True if self._is_by_operations else super()._training_default

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The outputs have the shape of the inputs."""
        if len(input_shape) not in (2, 3):
            msg = (
                f"layer {self.name!r} takes images, (n, rows, columns) or (n, rows, columns, channels), but gets "
                f"{text_of_shape(input_shape)}: put a Reshape() before it"
            )
            raise ValueError(msg)
        return input_shape

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one image augmentation."""
        height, width, *channels = self._output_shape_for(input_shape)
        operation: ImageAugmentationOperation = {
            "kind": "image_augmentation",
            "height": height,
            "width": width,
            "channels": math.prod(channels),
            "groups": 1,
            "fill": self.fill_mode,
            "fill_value": self.fill_value,
            "nearest": self.interpolation == "nearest",
            "seed": self._seed_in_use,
        }
        return [extended(operation, self._change())]

    @abstractmethod
    def _change(self) -> dict[str, Any]:
        """Returns the fields of the operation that describe the change."""


@register()
class RandomTranslation(_Augmentation):
    """Shifts images by random fractions of their height and width.

    Args:
        height_factor: pair with the smallest and the largest shift downwards, as fractions of the height; a number
            f stands for `(-f, f)`.
        width_factor: the same for shifts to the right, as fractions of the width.
        fill_mode: how to fill pixels outside of the image: "constant", "nearest", "reflect" or "wrap".
        interpolation: how to compute values between pixels: "bilinear" or "nearest".
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        fill_value: value of these pixels for `fill_mode="constant"`.
        data_format: must be "channels_last" or None.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        self.height_factor = _bounds(height_factor, "height_factor")
        self.width_factor = _bounds(width_factor, "width_factor")
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)

    def _change(self) -> dict[str, Any]:
        return {"down": self.height_factor, "right": self.width_factor}


@register()
class RandomRotation(_Augmentation):
    """Rotates images by random angles.

    Args:
        factor: pair with the smallest and the largest angle, counterclockwise, as fractions of a full turn; a
            number f stands for `(-f, f)`.
        fill_mode: how to fill pixels outside of the image: "constant", "nearest", "reflect" or "wrap".
        interpolation: how to compute values between pixels: "bilinear" or "nearest".
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        fill_value: value of these pixels for `fill_mode="constant"`.
        data_format: must be "channels_last" or None.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        self.factor = _bounds(factor, "factor")
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)

    def _change(self) -> dict[str, Any]:
        return {"turns": self.factor}


@register()
class RandomZoom(_Augmentation):
    """Zooms images in or out by random factors.

    Args:
        height_factor: pair with the smallest and the largest zoom, as fractions of the height. Positive values zoom
            out, negative ones zoom in. A number f stands for `(-f, f)`.
        width_factor: the same for the width; None uses the zoom of the height.
        fill_mode: how to fill pixels outside of the image: "constant", "nearest", "reflect" or "wrap".
        interpolation: how to compute values between pixels: "bilinear" or "nearest".
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        fill_value: value of these pixels for `fill_mode="constant"`.
        data_format: must be "channels_last" or None.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        self.height_factor = _zooms(height_factor, "height_factor")
        self.width_factor = None if width_factor is None else _zooms(width_factor, "width_factor")
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)

    def _change(self) -> dict[str, Any]:
        width = {} if self.width_factor is None else {"zoom_width": self.width_factor}
        return {"zoom": self.height_factor, **width}


@register()
class RandomFlip(_Augmentation):
    """Flips each image with probability 1/2.

    Args:
        mode: "horizontal" swaps left and right, "vertical" top and bottom; "horizontal_and_vertical" does each with
            probability 1/2.
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _unsaved_arguments = (*Layer._unsaved_arguments, "fill_mode", "interpolation", "fill_value")

    def __init__(
        self, mode: str = "horizontal_and_vertical", seed: int | None = None, **options: Any
    ) -> None:
        self.mode = choice(mode, "mode", ("horizontal", "vertical", "horizontal_and_vertical"))
        super().__init__(seed=seed, **options)

    def _change(self) -> dict[str, Any]:
        return {"mirrors": "horizontal" in self.mode, "turns_over": "vertical" in self.mode}


@register()
class RandomElastic(_Augmentation):
    """Applies random elastic distortions to images.

    Every pixel is displaced by random numbers in [-alpha, alpha], smoothed by a Gaussian with standard deviation
    `sigma`. Both are in pixels. Simard, Steinkraus and Platt, "Best practices for convolutional neural networks"
    (2003), whose values for digits of 28 x 28 pixels are the defaults.

    Args:
        alpha: largest displacement before smoothing, in pixels.
        sigma: standard deviation of the Gaussian, in pixels; larger values give smoother distortions.
        fill_mode: how to fill pixels outside of the image: "constant", "nearest", "reflect" or "wrap".
        interpolation: how to compute values between pixels: "bilinear" or "nearest".
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        fill_value: value of these pixels for `fill_mode="constant"`.
        data_format: must be "channels_last" or None.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(  # noqa: PLR0917 # like the others
        self,
        alpha: float = 34.0,
        sigma: float = 4.0,
        fill_mode: str = "constant",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        self.alpha = real(alpha, "alpha", 0.0)
        self.sigma = real(sigma, "sigma", 0.1, 100.0)
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)

    def _change(self) -> dict[str, Any]:
        radius = math.ceil(3.0 * self.sigma)
        steps = range(-radius, radius + 1)
        # `power` returns the same bits on every machine, unlike math.exp.
        taps = [float(power(math.e, -(step**2) / (2.0 * self.sigma**2))) for step in steps]
        total = sum(taps)
        return {"alpha": self.alpha, "taps": [tap / total for tap in taps]}


def _zooms(value: Factor, name: str) -> list[float]:
    """Returns `value` as lower and upper bound of a zoom, above -1, at which the image would have no size."""
    low, high = _bounds(value, name)
    if low == -1.0 and (isinstance(value, Sequence) or value < 0):
        msg = f"`{name}` must be above -1, at which nothing would be shown, got {value!r}"
        raise ValueError(msg)
    return [low, high]


def _bounds(value: Factor, name: str) -> list[float]:
    """Returns `value` as lower and upper bound."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:  # noqa: PLR2004 # the two bounds
            msg = f"`{name}` must be a number or two, the lower and the upper bound, got {value!r}"
            raise ValueError(msg)
        low, high = (real(bound, name, -1.0, 1.0) for bound in value)
    else:
        high = abs(real(value, name, -1.0, 1.0))
        low = -high
    if low > high:
        msg = f"the lower bound of `{name}` must not be above the upper one, got {value!r}"
        raise ValueError(msg)
    return [low, high]
