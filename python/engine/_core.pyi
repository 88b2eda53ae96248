"""The compiled engine. Only `engine._core_interface.cpp` imports this module."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from threading import Thread
from typing import Any, Literal, TypeVar, final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self

from engine._core_interface.host_steps import ArrayStep, RunHost

__version__: str

_Kind = TypeVar("_Kind")

@final
class DeviceArray:
    """An array in memory of a GPU.

    A model on a GPU returns one if it is called with a tensor that is there. Other libraries take it without a copy, by
    DLPack or the CUDA array interface. Its numbers are complete when Python sees it.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def device(self) -> str:
        """The GPU, such as "cuda:0"."""
    def __len__(self) -> int: ...
    def __getitem__(self, rows: int | slice | NDArray[np.integer]) -> DeviceArray:
        """A row, or those in a slice without a step, without a copy; or copies of those with certain numbers."""
    def numpy(self) -> NDArray[Any]:
        """A copy as an array of NumPy."""
    def reshape(self, *shape: int | Sequence[int]) -> DeviceArray:
        """The same numbers with other axes, without a copy if they lie without gaps."""
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...
    def _on(self, device: str) -> DeviceArray:
        """The same numbers on a GPU; itself where it is there."""
    def _converted(self, type: str) -> DeviceArray:
        """The same numbers, contiguous, of type "|u1", "<i4" or "<f4"; itself where it is so already."""
    def _columns(self, begin: int, end: int) -> DeviceArray:
        """Some columns of an array (n, columns), without a copy."""
    def _summary(self, ignored: float | None = None) -> tuple[float, float, float, bool, bool]:
        """Of all numbers but those that equal `ignored`: the lowest, the highest, the smallest absolute value, whether all
        are whole, and whether all are finite as float32."""

@final
class ArrayFunction:
    """A function of arrays whose calls the core looks at before code in Python computes."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

def recordable(
    function: Callable[..., Any],
    recorded: Callable[..., Any],
    recorder: ContextVar[Any],
    plain: tuple[type, ...],
) -> ArrayFunction:
    """Returns a function that computes by `function`, or by `recorded` where that may record.

    It may do so while the context variable `recorder` has a value, and for arguments other than objects of the classes
    `plain`, lists, tuples and slices of such ones.
    """

def computed_within(
    function: Callable[..., Any],
    setting: ContextVar[Any],
    value: Any,
    direct: Callable[..., Any] | None = None,
    arity: int = 0,
    conditions: int = 0,
    dtypes: tuple[np.dtype[Any], ...] = (),
) -> ArrayFunction:
    """Returns a function that computes while the context variable `setting` has a value.

    It computes by `function`, or by `direct` if it is called with `arity` arrays of one of the dtypes, the first `conditions`
    of which may have other ones of them than the rest. Among the rest may be numbers of Python if their dtype is float32,
    and integers of 32 bits if it is int32.
    """

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Rows = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float64] | DeviceArray
Targets = NDArray[np.int32] | Float32 | DeviceArray | None
Weights = Float32 | DeviceArray | None

def build_info() -> dict[str, Any]:
    """Facts of this build and machine.

    Keys: `version`, `compiler`, `isa` (chosen), `isas` (compiled), `runnable` (compiled and
    supported by this CPU), `openmp` (bool), `threads` (in force), `cuda` (a sentence).
    """

def set_device(name: str) -> None:
    """Makes programs that are built from now on programs of the device "cpu", "cuda", "cuda:0", ...

    Raises ValueError if there is no such device.
    """

def get_device() -> str:
    """The device that the next program of this thread is built for."""

def choose_for_thread(name: str | None) -> str | None:
    """Chooses the device for this thread alone; None: that of the process. Returns the former choice."""

def cuda_products() -> str:
    """Who computes large products of matrices on GPUs, as a sentence; empty where there is no GPU."""

def set_cuda_library_candidates(files: Sequence[str]) -> None:
    """Says which files may be cuBLASLt, the best first. They are tried when it is first needed."""

def set_threads(n: int) -> None:
    """Use `n` >= 1 threads in every later run; 0 goes back to the affinity mask / OMP_NUM_THREADS."""

def set_threads_here(n: int) -> int:
    """The same for the calling thread alone; 0 goes back to the number of the process. Returns the former number."""

def get_threads() -> int: ...
def compute_arrays_by(functions: Callable[[ArrayStep], None]) -> None:
    """Says what computes the operations of kind "host" from now on, in all programs."""

def begin_fork() -> None:
    """Waits until no thread is changing weights; none does then until `end_fork`, so that a child finds whole steps."""

def end_fork() -> None: ...

@final
class Hold(AbstractContextManager[None, None]):
    """Holds locks until its block ends, or until it is gone."""

    def __exit__(self, *error: object) -> None: ...

@final
class Loan(AbstractContextManager[None, None]):
    """Lends a lock until its block ends, or until it is gone: then it waits for those who have borrowed the lock."""

    def __exit__(self, *error: object) -> None: ...

class Lock:
    """A reentrant lock. Threads get it in the order in which they ask.

    Args:
        name: what it belongs to, for messages.
        rank: RuntimeError if a thread that holds a lock of a positive rank acquires one of the same rank or a lower one.
    """

    def __init__(self, name: str, rank: int) -> None: ...
    def held(self, patience: float = ..., borrower: Thread | None = None) -> Hold:
        """Waits until this thread has the lock.

        Raises RuntimeError if it would wait for ever, since the thread that has the lock waits for one of this thread.

        Args:
            patience: see `held_together`; default for ever.
            borrower: see `held_together`.
        """

    def lent(self, before: frozenset[Thread]) -> Loan:
        """Lets threads that are not in `before` borrow the lock, if this thread has it."""

    @property
    def is_held(self) -> bool:
        """Whether a thread has it, or has lent it."""
    @property
    def waiting(self) -> int:
        """The number of threads that wait for it."""

def held_together(locks: Sequence[Lock], patience: float, borrower: Thread | None = None) -> Hold:
    """Acquires locks one after the other.

    Args:
        locks: the locks.
        patience: RuntimeError if a thread lends one of them for longer, in seconds, and this thread may not borrow it.
        borrower: this thread, if it would also borrow the locks.
    """

class ContextValue(AbstractContextManager[Any, None]):
    """Sets a context variable to `value`, which `with` returns, until the block ends, or until this object is gone."""

    def __init__(self, variable: ContextVar[Any], value: object) -> None: ...
    def __exit__(self, *error: object) -> None: ...

class ContextBlock:
    """The base of context managers that set a context variable to what their method `_opened` returns.

    Their method `_closed` is called after the block; exceptions may keep it from that.

    Args:
        variable: the context variable.
    """

    def __init__(self, variable: ContextVar[Any]) -> None: ...
    @property
    def _is_open(self) -> bool:
        """Whether it is between `__enter__` and `__exit__`."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

def uniform(seed: int, stream: int, size: int, low: float, high: float) -> Float32:
    """`size` float32 draws from [low, high): Philox 4x32-10 keyed by (seed, stream, element)."""

def normal(seed: int, stream: int, size: int, mean: float, stddev: float) -> Float32:
    """`size` normal draws (Box and Muller), rounded from float64."""

def truncated_normal(seed: int, stream: int, size: int, mean: float, stddev: float) -> Float32:
    """The same without what lies more than two standard deviations from the mean."""

def orthogonal(seed: int, stream: int, rows: int, columns: int, gain: float) -> Float32:
    """(rows, columns) with columns of length `gain` at right angles; rows >= columns."""

def permutation(seed: int, stream: int, size: int) -> NDArray[np.int32]:
    """A uniformly random order of range(size), keyed by (seed, stream)."""

def instances_within(value: object, kind: type[_Kind]) -> list[_Kind]:
    """The objects of a class, or of one that is derived from it, in lists, tuples and dicts at any depth, in order.

    Args:
        value: a list, tuple or dict, which may hold itself; or another object, which may be what is looked for.
        kind: the class.

    Each object is listed once, wherever it is held.
    """

def first_nonfinite_row(x: Rows) -> int:
    """Index of the first row of the C-contiguous (n, ...) array `x` holding a NaN, an infinity or a
    float64 beyond float32's range; -1 when there is none. Threaded."""

def accumulate(
    metric: Mapping[str, Any],
    y_pred: Float32,
    y: NDArray[np.int32] | Float32,
    sample_weight: Float32 | None,
    state: NDArray[np.float64] | None,
    binary: bool | None = None,
) -> NDArray[np.float64]:
    """The state of `metric`, as `Program.compile` takes it, after these samples; it was `state` before, or new.

    Args:
        y_pred: (n, outputs), C-contiguous.
        y: int32 (n,) or float32 (n, outputs).
        sample_weight: float32 (n,) or None.
        binary: whether all of `y` are 0 or 1, which hinges read as -1 or 1; None finds that out.
    """

def row_values(
    metric: Mapping[str, Any], y_pred: Float32, y: NDArray[np.int32] | Float32, binary: bool = False
) -> Float32:
    """The loss of each row, or the row's value of a metric that is a mean over rows: (n,).

    Args:
        metric: a loss or such a metric, as `Program.compile` takes it.
        y_pred: (n, outputs), C-contiguous.
        y: int32 (n,) or float32 (n, outputs).
        binary: whether all of `y` are 0 or 1, which hinges read as -1 or 1.
    """

def activation_code(operation: Mapping[str, Any]) -> dict[str, Any]:
    """The formula of an elementwise activation as the fields `operations`, `operands` and `numbers` of a map of one array.

    Args:
        operation: the fields of an operation that name the activation.
    """

def loss_code(loss: Mapping[str, Any], columns: int) -> dict[str, Any]:
    """The formula of a loss as the fields `operations`, `operands` and `numbers`, as of a map of the outputs and the targets.

    Operations are those of maps, which may compute a number for each output or one for the row, and "sum", "mean", "max" over
    the outputs of a row, and "stop_gradient".

    Args:
        loss: the loss, as in `Program.compile`.
        columns: how many outputs a row has.
    """

def activation_gradient(operation: Mapping[str, Any], saved: Float32, upstream: Float32) -> Float32:
    """The gradient of the loss with respect to the inputs of an activation, (n, columns).

    Args:
        operation: the fields of an operation that name the activation.
        saved: what a training saves, (n, columns), C-contiguous: the outputs of row activations and of those from
            linear to exponential, the inputs of all others.
        upstream: the gradient with respect to the outputs, in the shape of `saved`.
    """

class NotFiniteError(ValueError):
    """A number that is not finite where only finite ones are taken."""

def matmul(
    a: ArrayLike,
    b: ArrayLike,
    bias: ArrayLike | None,
    activation: Mapping[str, Any] | None,
    transpose_a: bool,
    transpose_b: bool,
    out: Float32 | None,
    /,
) -> Float32:
    """`engine.ops.matmul`, with the fields of an operation as `activation`."""

Places = NDArray[np.int32] | NDArray[np.int64]

@final
class CompressedMatrix:
    """Sparse rows in the CSR format. Places are copied, so that nobody changes them later; numbers are referenced.

    Args:
        indptr: (n + 1,) where each row begins among the elements, and the last one ends; n >= 1.
        indices: (elements,) columns; they must ascend within a row where the matrix is read.
        data: float32 (elements,), finite.
        width: number of columns.

    Raises:
        ValueError: that names the first entry that no such matrix has.
    """

    def __init__(self, indptr: Places, indices: Places, data: Float32, width: int) -> None: ...
    def __len__(self) -> int: ...
    @property
    def in_order(self) -> bool:
        """Whether the columns of every row ascend, each there once."""
    def __getitem__(self, rows: slice) -> CompressedMatrix:
        """Some rows that follow each other, without a copy."""

def device_array(tensor: object) -> DeviceArray | None:
    """A tensor of any library in memory of a GPU, without a copy; None for all other objects, and in builds without CUDA.

    It takes what has `__dlpack__`, or else `__cuda_array_interface__`, and waits until the numbers are complete. Of
    bfloat16 it makes float32. Raises TypeError, BufferError or ValueError for tensors that can't be read, and what the
    other library raises.
    """

def empty_on_device(shape: Sequence[int], device: str) -> DeviceArray:
    """A new float32 array on a GPU, not initialised."""

def side_by_side_on_device(arrays: Sequence[DeviceArray]) -> DeviceArray:
    """Arrays (n, columns) as one, float32 (n, columns of all)."""

@final
class Dataset:
    """The samples of a run with their targets. The arrays are referenced, never copied.

    All may be DeviceArrays, of the GPU of the program.

    Args:
        x: (n, ...) C-contiguous uint8, float32 or float64, or a CompressedMatrix; n >= 1. If the program has several
            inputs, each row holds the numbers of all of them, one input after the other.
        y: int32 (n, ...) class indices, or float32 (n, ..., outputs), C-contiguous; None for predictions. If an output
            of the program has several rows for each sample, there must be as many targets for each sample. A tuple
            has one such array, or None, for each output of the program.
        sample_weight: float32 (n,), or (n, ...) with a weight for each row of the output; None for equal weights. If
            `y` is a tuple, this is None or a tuple with one entry for each output.
        records: whether a training may keep records of rows that are mostly zero.
    """

    def __init__(
        self,
        x: Rows | CompressedMatrix,
        y: Targets | tuple[Targets, ...] = None,
        sample_weight: Weights | tuple[Weights, ...] = None,
        records: bool = True,
    ) -> None: ...
    def __len__(self) -> int: ...

Sums = tuple[float, int, list[float], list[NDArray[np.float64]]]
"""Sum of the losses, number of samples, sums of the losses of the outputs, state of each metric."""

@final
class RandomState:
    """A seed, and the number of draws since it was set. Any number of threads may draw at once.

    Args:
        seed: the seed.
        draws: the number of draws.
    """

    def __init__(self, seed: int, draws: int = 0) -> None: ...
    @property
    def position(self) -> tuple[int, int]:
        """The seed, and the number of draws."""
    @position.setter
    def position(self, value: tuple[int, int]) -> None: ...
    def draw(self) -> tuple[int, int]:
        """Returns the position before this draw, which no other draw gets."""
    def give_back(self, before: tuple[int, int], draws: int) -> None:
        """Takes so many draws since a position back, if there were no others."""

@final
class Totals:
    """Running sums of one Run, in double precision and in a fixed order.

    Args:
        loss_sum: the sum of all losses and penalties.
        samples: the number of samples in the sums.
        metrics: the state of each compiled metric.
        output_losses: the sum of the losses of each output of the program.
    """

    def __init__(
        self,
        loss_sum: float,
        samples: float,
        metrics: Sequence[Sequence[float]],
        output_losses: Sequence[float] = (0.0,),
    ) -> None: ...
    @property
    def sums(self) -> Sums:
        """All of them at once."""
    @property
    def loss_sum(self) -> float:
        """The sum of which `loss` is the mean."""
    @property
    def loss(self) -> float:
        """Mean loss over the samples seen, regularisation included."""
    @property
    def output_losses(self) -> list[float]:
        """The sum of the losses of each output, without its weight and without penalties."""
    @property
    def metrics(self) -> list[list[float]]:
        """State of each compiled metric, in compile order."""
    @property
    def samples(self) -> int: ...

LateValue = tuple[Any, ...]
"""A value that is known after a step, as `StepCall` describes it."""

@final
class StepCall:
    """A step of a user on one batch, prepared once: a call only looks up pointers.

    Args:
        sequence: the functions of the step.
        read: the numbers of the arguments that the functions read, in the order of the arrays of the sequence.
        optimizers: for each function the optimizer that steps weights in it, or None.
        draws: for each function whether it draws random numbers.
        next_draw: returns the number of the next draw.
        checks: pairs of the number of an argument and a function that raises for wrong numbers in it.
        integers: how large integers may be; None for any size. The least and the largest for each argument that is read,
            or None; results of one number, (function, result, most), that are magnitudes of integers in the functions; and
            a function that raises if integers may be rounded. It is called with the ranges of the arguments and the
            magnitudes, where one of them is beyond its limit; with None for the magnitudes before the step has run.
        after: (object, method, args, options) for each method that is called after the step, in order, with values for
            `args`, a tuple, and for `options`, a dict.
        results: the value that a call returns. All of its arrays are tensors.
        tensor: the class of arrays in the results, and of float32 arguments that methods get: a subclass of np.ndarray.

    A value that is known after the step is ("result", function, result, shape, dtype), with None for float32;
    ("argument", number); ("read", function), what a function without arguments returns; ("constant", object); ("masked",
    array, mask) of two values; ("list", values), ("tuple", values) or ("dict", values by key); or ("made", function, value),
    what a function makes of another value.
    """

    def __init__(
        self,
        sequence: FunctionSequence,
        read: Sequence[int],
        optimizers: Sequence[Any],
        draws: Sequence[bool],
        next_draw: Callable[[], int],
        checks: Sequence[tuple[int, Callable[[Any], object]]],
        integers: tuple[
            Sequence[tuple[int, int] | None],
            Sequence[tuple[int, int, float]],
            Callable[[list[tuple[int, int]], list[float] | None], object],
        ]
        | None,
        after: Sequence[tuple[Any, str, LateValue, LateValue]],
        results: LateValue,
        tensor: type,
    ) -> None: ...
    def run(self, arrays: Sequence[NDArray[Any]]) -> Any:
        """Runs the step, calls the methods that follow it, and returns the results, with new arrays.

        Raises ValueError, or what a check raises, for wrong arguments. No weight has changed then.
        """

@final
class Form:
    """What a compiled function depends on: shapes and dtypes of arrays, the structure around them, and other arguments."""

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The arrays in the arguments, in the order of `engine.tree.flatten`; floats are arrays, too."""
    @property
    def key(self) -> bytes:
        """Equal for calls of equal forms, as long as both forms live."""

@final
class CallTable:
    """The compiled calls of a function of the user, by the form of their arguments.

    Args:
        open_recorder: a context variable, not None while gradient tapes record.
        current: a context variable, not None while a function is traced.
        of_thread: its attribute `traces` holds the traces of this thread.
        prepare: called before a call where there are such traces.
        sorted: returns keys of a dict in their order.
        most: how many calls are kept, those that came last.
    """

    def __init__(
        self,
        open_recorder: ContextVar[Any],
        current: ContextVar[Any],
        of_thread: Any,
        prepare: Callable[[], object],
        sorted: Callable[[Iterable[Any]], list[Any]],
        most: int,
    ) -> None: ...
    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the results of a call; NotImplemented if nothing is compiled for it, or it must not run now."""
    def step_for(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, list[NDArray[Any]]] | None:
        """Returns the step that `call` would run, and the arrays that it would get; None where it returns NotImplemented."""
    def form(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Form:
        """Returns the form of a call."""
    def __len__(self) -> int: ...
    def add(
        self, form: Form, step: Any, dependencies: tuple[list[Any], list[object]], call: StepCall
    ) -> None:
        """Keeps a step for calls of this form, as long as the versions in `dependencies` have these states."""
    def clear(self) -> None:
        """Forgets all calls."""
    @property
    def last(self) -> Any:
        """The step of the last call; None if there is none."""

@final
class FunctionSequence:
    """Functions that are called one after the other for each batch of some arrays.

    Args:
        functions: pairs of a function and its arguments. An argument is an array, which is the same for all batches; the
            number of an array of `run`, whose next rows it is; or (function, result), a result of an earlier function.

    Raises ValueError where an argument doesn't fit its function.
    """

    def __init__(
        self, functions: Sequence[tuple[Program, Sequence[Float32 | int | tuple[int, int]]]]
    ) -> None: ...
    def run(
        self,
        arrays: Sequence[Rows],
        order: Int32 | None,
        first: int,
        rows: int,
        batches: int,
        steps: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[NDArray[np.float64]],
        kept: Sequence[tuple[int, int]],
    ) -> list[Float32]:
        """Runs `batches` batches, and returns some results of all of them.

        Args:
            arrays: contiguous arrays of uint8, float32 or float64, whose rows are divided into batches.
            order: the row of each sample; None for the order in which they lie.
            first: the sample with which the first batch begins.
            rows: samples in a batch.
            batches: the number of batches.
            steps: for each function the `step` of its call in each batch.
            learning_rates: for each function its learning rate in each batch.
            kept: (function, result) of the results that are returned, each as an array (batches, ...).
        """

@final
class BatchCall:
    """Batches of one form, each of which a program with one loss trains or evaluates by one call.

    Args:
        program: the program.
        trains: whether the batches train it.
        sample_shape: of the samples.
        target_shape: of the targets of one sample.
        target_dtype: of the targets.
        classes: the number of classes if the targets are class indices, else 0.
        ignored: a class index that stands for no class.
        are_fractions: whether the targets must lie in [0, 1].
        are_signs: whether the targets must be 0 and 1, or -1 and 1.
    """

    def __init__(
        self,
        program: Program,
        trains: bool,
        sample_shape: Sequence[int],
        target_shape: Sequence[int],
        target_dtype: np.dtype[Any],
        classes: int = 0,
        ignored: int | None = None,
        are_fractions: bool = False,
        are_signs: bool = False,
    ) -> None: ...
    def run(
        self, x: Any, y: Any, learning_rate: float = 0.0, state: OptimizerState | None = None
    ) -> Sums | None:
        """Runs one batch, and returns its sums.

        None, and nothing has changed, for arrays of another form, or with numbers that samples or targets must not have.

        Args:
            x: the samples.
            y: the targets.
            learning_rate: of the step, if it trains.
            state: that of the optimizer, which the program uses from now on.
        """

@final
class Run:
    """A pass over a Dataset, cut into batches, or several one after the other; holds its own scratch memory."""

    @property
    def batches(self) -> int: ...
    @property
    def totals(self) -> Totals: ...
    def feed(
        self,
        data: Dataset,
        batch_size: int,
        shuffle: Literal["none", "rows", "batches"] = "none",
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        """Go on with other data, as `Program.begin` would: batches count from 0 again, totals add up."""
    def reset_totals(self) -> None: ...
    def resume_totals(self, totals: Totals) -> None:
        """Go on from totals of an earlier run of the same training; ValueError for those of another."""
    def advance(
        self,
        begin: int,
        end: int,
        learning_rates: NDArray[np.float64] | None = None,
        poll: Callable[[int], object] | None = None,
        host: RunHost | None = None,
    ) -> None:
        """Run batches [begin, end) with the GIL released.

        Args:
            learning_rates: float64 (end - begin,), one per batch; needed when training.
            poll: called as `poll(batches_done)` about every 50 ms at a batch boundary. Ctrl-C is
                heard there too. An exception from it ends the run after the last finished batch.
            host: called for the host steps of loss, metrics and weights, see `engine._core_interface.host_steps`; needed if the
                program has any. Those of layers are functions of the operations.
        """

@final
class WeightArray:
    """The values of one variable, which any number of programs may use.

    Args:
        values: what it starts with.
        beside: an array whose lock it has, too.
    """

    def __init__(self, values: Float32, beside: WeightArray | None = None) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def is_stored(self) -> bool:
        """Whether it is stored as a program has needed it. Until then it may be stored in any way."""
    @property
    def is_flat(self) -> bool:
        """Whether it is a matrix that is stored as one row."""

def read_arrays(arrays: Sequence[WeightArray]) -> list[Float32]:
    """Copies of arrays, all of one moment."""

def write_arrays(arrays: Sequence[WeightArray], values: Sequence[ArrayLike]) -> None:
    """Sets arrays at one moment; ValueError, and nothing has changed, if a shape differs."""

@final
class OptimizerState:
    """What an optimizer keeps for the weights of some variables. All programs that step them with it refer to one state."""

    @property
    def iterations(self) -> int:
        """Batches trained on so far."""
    @iterations.setter
    def iterations(self, value: int) -> None: ...
    @property
    def arrays(self) -> list[WeightArray]:
        """The weights."""
    @property
    def counts(self) -> dict[Literal["slot", "average", "accumulated"], int]:
        """How many arrays of each kind there are for each variable."""
    def read(
        self,
        kind: Literal["slot", "average", "accumulated"],
        number: int,
        raw: bool = False,
        index: int | None = None,
    ) -> list[Float32]:
        """Copies of one array of each variable: slot `number`, the running mean, or the sum of gradients.

        With `raw` as the core scales them, so that `write` brings back every bit; else as the textbook does. With
        `index` that of one variable alone.
        """
    def write(
        self,
        kind: Literal["slot", "average", "accumulated"],
        number: int,
        values: Sequence[Float32],
        raw: bool = False,
        index: int | None = None,
    ) -> None:
        """Take over what `read` returned."""

@final
class Program:
    """A feed-forward network: its weights, and after `compile` its loss, metrics and optimizer state.

    The layers form a graph: each reads the inputs of the program or the outputs of earlier layers.

    Args:
        input_size: the number of features in one flattened sample, >= 1; a sequence of them for several inputs, whose
            features lie side by side in the rows of a `Dataset`.
        layers: one mapping per layer, in the order in which they compute: a `LayerOperation` of
            `engine._core_interface.operations`. Its key "inputs" lists what the layer reads: numbers of earlier layers, or -1 - i
            for input i; without the key, the layer reads the one before it. With the key "first", the layer uses the
            variables of that earlier layer of the same kind.
        output_rows: rows of the output for each sample, which losses and metrics look at one by one. It is used if
            `outputs` is empty: then the last layer computes the only output.
        arrays: the weights of each variable; None for new ones, which start at zero. An empty sequence means all None.
        outputs: (layer, rows) for each output: the number of the layer that computes it, or -1 - i for input i, and
            the rows of the output for each sample.

    Raises ValueError for an unknown kind, name or size, and where an array doesn't fit its variable.
    """

    def __init__(
        self,
        input_size: int | Sequence[int],
        layers: Sequence[Mapping[str, Any]],
        output_rows: int = 1,
        arrays: Sequence[WeightArray | None] = (),
        outputs: Sequence[tuple[int, int]] = (),
    ) -> None: ...
    @staticmethod
    def function(
        layers: Sequence[Mapping[str, Any]],
        results: Sequence[int],
        batch: int = 1,
        arrays: Sequence[WeightArray | None] = (),
    ) -> Program:
        """A function of arrays instead of a model: it computes once for each `call`.

        Args:
            layers: as above; those of kind "argument" are what it is called with.
            results: the numbers of the layers that compute the results.
            batch: samples of each call. Arrays whose first length they divide are kept as rows of samples.
            arrays: as above.
        """
    def use_state(self, state: OptimizerState) -> None:
        """Uses another state of the optimizer from now on, which must be the one it was compiled with."""
    @property
    def state(self) -> OptimizerState:
        """What the optimizer keeps; there is one after `compile`."""
    def call(self, arguments: Sequence[Float32], step: int = 1, learning_rate: float = 0.0) -> list[Float32]:
        """Results of a function of contiguous arguments. `step` numbers its random draws and the steps of the optimizer."""
    @property
    def variables(self) -> list[Float32]:
        """Copies of the weights, all of one moment, in layer order: kernel (in, units), then bias (units,)."""
    def read_variables(self, first: int, count: int) -> list[Float32]:
        """Copies of some of them, all of one moment."""
    @property
    def arrays(self) -> list[WeightArray]:
        """The weights of each variable."""
    @property
    def weight_floats(self) -> int:
        """Floats that the weights take up, padding included."""
    @property
    def joins_samples(self) -> bool:
        """Whether the outputs of a sample depend on the other samples of the batch, also in predictions."""

    @property
    def losses_join_samples(self) -> bool:
        """Whether a loss or a metric that a user wrote depends on which samples are in a batch together."""

    @property
    def output_size(self) -> int:
        """The numbers of all outputs for one sample."""
    @property
    def output_width(self) -> int:
        """The numbers in a row of the first output."""
    def to_text(
        self,
        mode: Literal["train", "evaluate", "predict", "function"],
        batch_size: int,
        threads: int = 0,
        names: Sequence[str] = (),
    ) -> tuple[str, str]:
        """The graph of a batch and its schedule on this machine, for people; see `engine.utils.explain_batch`.

        Args:
            batch_size: samples of the batch; functions have one of their own.
            threads: at most so many share the work; 0 for `get_threads()`.
            names: a name for each variable; without names they are called "weights 0", "weights 1", ...

        Raises ValueError if the mode isn't "predict" and the program hasn't been compiled.
        """
    @property
    def device(self) -> str:
        """The device in whose memory the weights lie: "cpu", "cuda:0", ..."""
    def write_variables(self, values: Sequence[Float32], first: int = 0) -> None:
        """Copy `values` (shapes of the `variables` from `first` on, any strides) in, between two steps of any run."""
    def compile(
        self,
        loss: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        optimizer: Mapping[str, Any],
        metrics: Sequence[Mapping[str, Any]],
        host_metrics: bool = False,
        state: OptimizerState | None = None,
    ) -> None:
        """Set loss, optimizer and metrics. The weights stay.

        Args:
            loss: one mapping, or a sequence with one for each output of the program; the loss of the program is the sum
                of all, each times its "weight". A mapping is `{"kind": k, "target": "dense" or "sparse", "from_logits": bool, "label_smoothing": float,
                "parameters": list of at most 4 floats, "reduction": "mean", "sum" or "weighted_mean",
                "weight": float, "divides_penalties": bool, "ignored": class index or no such key}`; with
                `divides_penalties` penalties on weights are divided by what the batch's losses are; all but k may be missing. k is the
                snake_case name of a loss or "host"; sparse targets are int32 y, dense ones float32 y of
                (n, outputs); sparse_categorical_crossentropy and categorical_generalized_cross_entropy are sparse by
                default, all others dense. Parameters: categorical_generalized_cross_entropy [q]; huber [delta]; cosine_similarity [factor]; tversky [alpha, beta, epsilon]; the focal
                ones [alpha, gamma, whether from logits, whether balanced].
            optimizer: `{"kind": "sgd", "momentum": float, "nesterov": bool}`,
                `{"kind": "adam", "beta_1": float, "beta_2": float, "epsilon": float, "amsgrad": bool}` or another rule
                with its arguments by Keras' names, and where wanted
                `"decays"` (one float per variable), one of `"clipvalue"`, `"clipnorm"` and `"global_clipnorm"`,
                `"accumulate"` (batches per step), `"averages"` (bool), `"average_momentum"`,
                `"overwrite"` (steps after which the averages replace the weights; 0: never).
            metrics: `{"kind": k, "output": number of the output, by default 0, "weighted": bool}` and what k needs. k is a loss' name, with the keys of a loss,
                or one of sparse_categorical_accuracy, categorical_accuracy, accuracy, binary_accuracy and
                (sparse_)top_k_categorical_accuracy (with "threshold": float); these are means over samples, with
                the state [sum, weight]. Or of thresholds, f_score, confusion, moments, whose states are described
                at `MetricSum` (csrc/formulas/kinds.h), with "thresholds" (ascending), "even", "below_zero", "column", "top_k",
                "by_column", "logits". Or scores: state of output, target and weight, one after the other.
            host_metrics: whether `host` is called for the metrics of each batch, too.
            state: what the optimizer keeps, if there is something already; it starts at zero otherwise.
        """
    def begin(
        self,
        mode: Literal["train", "evaluate"],
        data: Dataset,
        batch_size: int,
        shuffle: Literal["none", "rows", "batches"] = "none",
        seed: int = 0,
        stream: int = 0,
    ) -> Run:
        """Lease scratch memory for one pass over `data`. The order of rows is keyed by (seed, stream); "batches"
        changes it within each batch alone."""
    @overload
    def predict(
        self,
        x: Rows | CompressedMatrix,
        out: DeviceArray,
        finite: bool = False,
        training: bool = False,
        seed: int = 0,
    ) -> DeviceArray: ...
    @overload
    def predict(
        self,
        x: Rows | CompressedMatrix,
        out: Float32 | None = None,
        finite: bool = False,
        training: bool = False,
        seed: int = 0,
    ) -> Float32:
        """Outputs (n, output_size) for the C-contiguous rows of `x`. Safe from many threads at once.

        Both may be DeviceArrays of the program's GPU.

        Args:
            x: (n, ...).
            out: C-contiguous (n, output_size) for the result, apart from `x`.
            finite: whether to raise NotFiniteError where an array `x` holds a NaN, an infinity or a float64 beyond
                float32's range; some of `out` may have been written then.
            training: whether dropout is at work.
            seed: of the dropout.
        """
