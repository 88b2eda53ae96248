"""`tf.config`: devices and threads. There is one device, the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from engine import config

__all__ = [
    "experimental",
    "functions_run_eagerly",
    "get_visible_devices",
    "list_logical_devices",
    "list_physical_devices",
    "optimizer",
    "run_functions_eagerly",
    "set_soft_device_placement",
    "set_visible_devices",
    "threading",
]


class PhysicalDevice(NamedTuple):
    """A device."""

    name: str
    device_type: str


_CPU = PhysicalDevice("/physical_device:CPU:0", "CPU")


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """Returns the devices of a type: the CPU, or none."""
    return [_CPU] if device_type in {None, "CPU"} else []


list_logical_devices = get_visible_devices = list_physical_devices


def set_visible_devices(devices: Any, device_type: str | None = None) -> None:
    """Has no effect."""


def set_soft_device_placement(enabled: bool) -> None:
    """Has no effect."""


def run_functions_eagerly(run_eagerly: bool) -> None:
    """Has no effect: what `tf.function` compiles gives the same results."""


def functions_run_eagerly() -> bool:
    """Returns False."""
    return False


class threading:  # noqa: N801 # a module in TensorFlow
    """The number of threads, which is `engine.config.set_threads`."""

    @staticmethod
    def set_intra_op_parallelism_threads(num_threads: int) -> None:
        """Sets the number of threads; 0 takes all cores."""
        config.set_threads(int(num_threads) or None)

    @staticmethod
    def get_intra_op_parallelism_threads() -> int:
        """Returns the number of threads."""
        return config.get_threads()

    @staticmethod
    def set_inter_op_parallelism_threads(num_threads: int) -> None:
        """Has no effect: operations run one after the other."""

    @staticmethod
    def get_inter_op_parallelism_threads() -> int:
        """Returns 1."""
        return 1


class optimizer:  # noqa: N801 # a module in TensorFlow
    """Settings of TensorFlow's compiler, without effect."""

    @staticmethod
    def set_jit(enabled: Any) -> None:
        """Has no effect."""

    @staticmethod
    def set_experimental_options(options: Any) -> None:
        """Has no effect."""

    @staticmethod
    def get_experimental_options() -> dict[str, Any]:
        """Returns an empty dict."""
        return {}


class experimental:  # noqa: N801 # a module in TensorFlow
    """Older names, and settings of GPUs without effect."""

    list_physical_devices: Callable[..., Any] = staticmethod(list_physical_devices)
    list_logical_devices: Callable[..., Any] = staticmethod(list_physical_devices)
    set_visible_devices: Callable[..., Any] = staticmethod(set_visible_devices)

    @staticmethod
    def set_memory_growth(device: Any, enable: bool) -> None:
        """Has no effect."""

    @staticmethod
    def enable_op_determinism() -> None:
        """Has no effect: results are always the same."""

    @staticmethod
    def enable_tensor_float_32_execution(enabled: bool) -> None:
        """Has no effect."""
