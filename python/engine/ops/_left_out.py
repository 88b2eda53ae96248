"""What `keras.ops` has and this package has not, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from engine._first_use import no_attribute

_IMAGES = "it serves networks of images, and the engine is for dense networks"
_SEQUENCES = "it serves recurrent networks, and the engine is for dense networks"

LEFT_OUT: Mapping[str, str] = {
    "adaptive_average_pool": _IMAGES,
    "adaptive_max_pool": _IMAGES,
    "average_pool": _IMAGES,
    "conv": _IMAGES,
    "conv_transpose": _IMAGES,
    "ctc_decode": _SEQUENCES,
    "ctc_loss": _SEQUENCES,
    "depth_to_space": _IMAGES,
    "depthwise_conv": _IMAGES,
    "fold": _IMAGES,
    "image": _IMAGES,
    "jvp": "it derives a function, and arrays of NumPy keep no record of how they were computed",
    "max_pool": _IMAGES,
    "separable_conv": _IMAGES,
    "space_to_depth": _IMAGES,
    "unfold": _IMAGES,
}


def refusal(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of `module`, whose error says why a name of Keras is not there."""

    def getattr_(name: str) -> NoReturn:
        reason = LEFT_OUT.get(name)
        if reason is None:
            raise no_attribute(module, name)
        msg = f"module {module!r} has no attribute {name!r}, which is left out on purpose: {reason}"
        raise AttributeError(msg)

    return getattr_
