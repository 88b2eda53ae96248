"""Settings of the process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine._base import tracebacks
from engine._base.checks import EPSILON, choice, integer, name_of_dtype, real
from engine._base.lazy_imports import on_first_use
from engine._core_interface import cpp
from engine._printing import progress
from engine.dtype_policies import DTypePolicy, _Process
from engine.dtype_policies import get as policy_of

__all__ = [
    "backend",
    "device",
    "disable_interactive_logging",
    "disable_traceback_filtering",
    "dtype_policy",
    "enable_interactive_logging",
    "enable_traceback_filtering",
    "epsilon",
    "floatx",
    "get_device",
    "get_threads",
    "image_data_format",
    "is_interactive_logging_enabled",
    "is_traceback_filtering_enabled",
    "matmul_precision",
    "max_epochs",
    "max_steps_per_epoch",
    "set_device",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_matmul_precision",
    "set_max_epochs",
    "set_max_steps_per_epoch",
    "set_threads",
    "threads",
]


def set_threads(n: int | None) -> None:
    """Sets the number of threads. Results don't depend on it.

    By default there are as many threads as CPUs that the process may use (its affinity mask), at most
    OMP_NUM_THREADS. Fewer are used if other programs keep CPUs busy, or if small batches run faster so. A number
    set here is not reduced for these reasons; only work that is too small for several threads runs on fewer.

    Args:
        n: number of threads, at least 1; None restores the default.
    """
    cpp.set_threads(0 if n is None else integer(n, "n", 1))
    if n not in {None, 1} and not cpp.build_info()["openmp"]:
        warnings.warn(
            "this build of the engine has no OpenMP: it uses one thread, whatever `n` is", stacklevel=2
        )


def get_threads() -> int:
    """Returns the number of threads."""
    return cpp.get_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Sets the number of threads on which the calls of this thread compute in a `with` block.

    Other Python threads keep theirs, so that each of several can train a model of its own on one core.

    Example:
        >>> import engine as keras
        >>> with keras.config.threads(1):
        ...     keras.config.get_threads()
        1

    Args:
        n: number of threads, at least 1.
    """
    former = cpp.set_threads_here(integer(n, "n", 1))
    try:
        yield
    finally:
        cpp.set_threads_here(former)


def set_device(name: str) -> None:
    """Chooses where models that any thread builds from now on keep their weights and compute.

    A model stays where it was built; `Model.compile(device=...)` moves it. Arrays that go into a model and come out of
    it are NumPy's, whatever the device is; a model on a GPU also takes tensors in its memory, and returns a `DeviceArray`
    if it is called with one.

    Args:
        name: "cpu", or "cuda" or "cuda:0" for the first GPU, "cuda:1" for the second one.

    Raises:
        ValueError: if there is no such device; the message says why.
    """
    cpp.set_device(_name_of_device(name))


def get_device() -> str:
    """Returns the device of models that are built now, such as "cpu" or "cuda:0"."""
    return cpp.get_device()


@contextmanager
def device(name: str) -> Iterator[None]:
    """Chooses the device of the models that this thread builds in a `with` block.

    Example:
        >>> import engine as keras
        >>> with keras.device("cpu"):
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.device
        'cpu'

    Args:
        name: as `set_device` takes it.

    Raises:
        ValueError: if there is no such device; the message says why.
    """
    with cpp.on_device(_name_of_device(name)):
        yield


def _name_of_device(name: object) -> str:
    if not isinstance(name, str):
        msg = f"`name` must be the name of a device, such as 'cpu' or 'cuda:0', got {name!r}"
        raise TypeError(msg)
    return name


def enable_interactive_logging() -> None:
    """Prints progress and messages to standard output, which is the default."""
    progress.set_interactive(True)


def disable_interactive_logging() -> None:
    """Sends progress and messages to the logger `engine` of Python's `logging`, with level INFO."""
    progress.set_interactive(False)


def is_interactive_logging_enabled() -> bool:
    """Returns whether progress and messages are printed to standard output."""
    return progress.is_interactive()


def backend() -> str:
    """Returns the name of the backend, "engine"."""
    return "engine"


def floatx() -> str:
    """Returns the dtype of weights and results, "float32"."""
    return "float32"


def set_floatx(value: str) -> None:
    """Warns unless `value` is "float32": weights and results have this dtype alone.

    Args:
        value: "float32", or "bfloat16", "float16" or "float64", which change nothing.

    Raises:
        ValueError: for any other value.
    """
    named = choice(name_of_dtype(value), "value", ("bfloat16", "float16", "float32", "float64"))
    if named != "float32":
        message = f"the engine computes in float32, and so does it after set_floatx({named!r}): weights and results stay float32"
        warnings.warn(message, stacklevel=2)


def dtype_policy() -> DTypePolicy:
    """Returns the dtype policy of layers that are made from now on, "float32" unless another was set."""
    return DTypePolicy()


def set_dtype_policy(policy: object) -> None:
    """Sets the dtype policy of layers that are made from now on; layers that exist keep theirs.

    A policy says to which precision a GPU rounds what dense layers multiply (see `DTypePolicy`). On the CPU it has no effect.

    Example:
        >>> import engine as keras
        >>> keras.config.set_dtype_policy("mixed_bfloat16")
        >>> keras.layers.Dense(2).dtype_policy
        <DTypePolicy "mixed_bfloat16">
        >>> keras.config.set_dtype_policy("float32")

    Args:
        policy: "float32", "mixed_bfloat16", "mixed_float16", or a `DTypePolicy`.

    Raises:
        ValueError: for a policy of another dtype, and for None.
    """
    if policy is None:
        msg = "`policy` must be a dtype policy or its name, such as 'float32', got None"
        raise ValueError(msg)
    _Process.policy = policy_of(policy).name


def matmul_precision() -> str:
    """Returns the precision that `set_matmul_precision` has set, "float32" or "tensorfloat32"."""
    return _Process.matmul_precision


def set_matmul_precision(precision: str) -> None:
    """Chooses how a GPU multiplies for layers with the dtype policy "float32".

    It holds for models that are built or compiled from now on. The CPU computes in float32, and `compile` warns of that. The names are those of JAX's
    `jax_default_matmul_precision`; PyTorch calls the second one "high".

    Args:
        precision: "float32", which is the default, or "tensorfloat32": the operands of the products of dense layers are
            rounded to 11 significant bits, so that tensor cores multiply them, and the sums are float32.

    Raises:
        ValueError: for any other value.
    """
    _Process.matmul_precision = str(choice(precision, "precision", ("float32", "tensorfloat32")))


def epsilon() -> float:
    """Returns 1e-7, the small number that avoids logarithms of 0 and divisions by 0."""
    return EPSILON


def set_epsilon(value: float) -> None:
    """Checks that `value` is 1e-7, the only supported number.

    Raises:
        ValueError: for any other number.
    """
    if real(value, "value") != EPSILON:
        msg = f"`value` must be {EPSILON}, which is built into the core, got {value}"
        raise ValueError(msg)


def image_data_format() -> str:
    """Returns the default data format of images, "channels_last"."""
    return "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Checks that `data_format` is "channels_last". Use the layer `Permute` for other formats.

    Raises:
        ValueError: for any other value.
    """
    choice(data_format, "data_format", ("channels_last",))


class _Limits:
    """The limits of epochs and of batches in an epoch; None is no limit."""

    epochs: int | None = None
    steps: int | None = None


def set_max_epochs(max_epochs: int | None) -> None:
    """Run at most `max_epochs` epochs in each later `fit`, to try a script quickly; None or 0 is no limit.

    The environment variable KERAS_MAX_EPOCHS, read when the package is imported, does the same.
    """
    _Limits.epochs = None if max_epochs is None else integer(max_epochs, "max_epochs", 0) or None


def max_epochs() -> int | None:
    """The most epochs of a `fit`; None is no limit."""
    return _Limits.epochs


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Take at most `max_steps_per_epoch` batches per epoch, evaluation or prediction; None or 0 is no limit.

    The environment variable KERAS_MAX_STEPS_PER_EPOCH, read when the package is imported, does the same.
    """
    steps = max_steps_per_epoch
    _Limits.steps = None if steps is None else integer(steps, "max_steps_per_epoch", 0) or None


def max_steps_per_epoch() -> int | None:
    """The most batches of an epoch, an evaluation or a prediction; None is no limit."""
    return _Limits.steps


def enable_traceback_filtering() -> None:
    """Leave the package's own frames out of the tracebacks of errors that models raise, as at the start."""
    tracebacks.set_filtered(True)


def disable_traceback_filtering() -> None:
    """Show the package's own frames in tracebacks, to find out where in it an error comes from."""
    tracebacks.set_filtered(False)


def is_traceback_filtering_enabled() -> bool:
    """Returns whether the frames of the package are left out of tracebacks."""
    return tracebacks.is_filtered()


def _capped_epochs(epochs: int) -> int:
    """Returns `epochs`, or the limit, with a warning, if that is less."""
    limit = _Limits.epochs
    if limit is None or limit >= epochs:
        return epochs
    warnings.warn(f"Limiting epochs to {limit}", stacklevel=2)
    return limit


def _capped_steps(steps: int | None, available: int | None) -> int | None:
    """Returns the number of batches that is asked for, or the limit, with a warning, if that is less.

    Args:
        steps: the number that is asked for; None asks for all.
        available: how many there are; None if it is unknown.
    """
    limit, requested = _Limits.steps, available if steps is None else steps
    if limit is None or (requested is not None and requested <= limit):
        return steps
    warnings.warn(f"Limiting steps_per_epoch to {limit}", stacklevel=2)
    return limit


def _limits_steps() -> bool:
    """Returns whether there is a limit of the number of batches."""
    return _Limits.steps is not None


def _limit_of(variable: str) -> int | None:
    """Returns the limit in an environment variable; None without one."""
    text = os.environ.get(variable)
    if text and not text.strip().isdecimal():
        msg = f"the environment variable {variable} must be a whole number, got {text!r}"
        raise ValueError(msg)
    return int(text) if text else None


set_max_epochs(_limit_of("KERAS_MAX_EPOCHS"))
set_max_steps_per_epoch(_limit_of("KERAS_MAX_STEPS_PER_EPOCH"))

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)


_Travelling = tuple[str, str, int | None, int | None]


def _travelling() -> _Travelling:
    """Returns the settings that training depends on, for `_arrive` in another process."""
    return _Process.policy, _Process.matmul_precision, _Limits.epochs, _Limits.steps


def _arrive(settings: _Travelling) -> None:
    """Takes over the settings of another process."""
    _Process.policy, _Process.matmul_precision, _Limits.epochs, _Limits.steps = settings
