"""Lists of integers in a pickled array, read without `pickle`, whose objects could run code or forge addresses.

A pickle is a program for a machine with a stack. This one knows only the instructions that arrays of lists of integers need,
and only makes lists, tuples, integers and strings. In place of NumPy's arrays and dtypes it has its own two classes.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_INTEGERS = (pickle.BININT1, pickle.BININT2, pickle.BININT)
# The sizes of instructions in bytes, with what follows them; 0 for those whose size only the program says.
_SIZES: NDArray[np.int32] = np.zeros(256, np.int32)
for _instructions, _size in (
    (pickle.MARK + pickle.EMPTY_LIST + pickle.EMPTY_TUPLE + pickle.TUPLE + pickle.TUPLE1 + pickle.TUPLE2, 1),
    (pickle.TUPLE3 + pickle.NONE + pickle.NEWTRUE + pickle.NEWFALSE + pickle.APPEND + pickle.APPENDS, 1),
    (pickle.MEMOIZE + pickle.REDUCE + pickle.BUILD + pickle.STACK_GLOBAL, 1),
    (pickle.BININT1 + pickle.BINPUT + pickle.BINGET + pickle.PROTO, 2),
    (pickle.BININT2, 3),
    (pickle.BININT + pickle.LONG_BINPUT + pickle.LONG_BINGET, 5),
    (pickle.FRAME, 9),
):
    _SIZES[list(_instructions)] = _size
# So many bytes of a program are read at a time, by arrays.
_PIECE = 2**14
# The most strings and other instructions of no fixed size. An array of lists has about ten, in its dtype.
_MOST_SIZED = 2**10
_NAMES = {
    *(
        (f"numpy.{core}.multiarray", name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
_INTEGER_DTYPE = re.compile(r"[iu][1248]")


class _Named(NamedTuple):
    """A class or function of the file, which is never looked up."""

    module: str
    name: str


class _PickledDtype:
    """A dtype, such as "i8", with the order of its bytes."""

    def __init__(self, code: object) -> None:
        if not isinstance(code, str):
            msg = "a pickled array must have a dtype that a string names"
            raise TypeError(msg)
        self.code, self.order = code, "<"


class _PickledArray:
    """An array with one axis, once its values are set."""

    def __init__(self) -> None:
        self.values: Any = None


def lists_in(data: bytes, limit: int) -> list[list[int]]:
    """Returns the lists in a pickled array with one axis.

    Args:
        data: the pickle.
        limit: the most objects that it may make, and the most integers in all lists together.

    Raises:
        ValueError: if it is something else.
    """
    try:
        array = _Machine(data, limit).result()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        msg = f"a pickled array is damaged, or holds something else than lists of integers ({type(error).__name__}: {error})"
        raise ValueError(msg) from error
    lists = array.values if isinstance(array, _PickledArray) else None
    if type(lists) is not list or any(type(item) is not list for item in lists):
        msg = "a pickled array must hold lists of integers"
        raise ValueError(msg)
    if sum(map(len, lists)) > limit:
        raise _too_many(limit)
    for integers in lists:
        if not set(map(type, integers)) <= {int}:
            msg = f"a pickled array must hold lists of integers, got one of {', '.join(sorted({type(value).__name__ for value in integers}))}"
            raise ValueError(msg)
    return lists


def _too_many(limit: int) -> ValueError:
    return ValueError(f"a pickled array may hold {limit} integers at most in a file of this size")


class _Machine:
    """Runs a pickle.

    Args:
        data: the pickle.
        most: the most objects that it may make.
    """

    def __init__(self, data: bytes, limit: int) -> None:
        self._data, self._place = data, 0
        self._stack, self._marks, self._memo = list[Any](), list[int](), dict[int, Any]()
        self._most = self._left = limit
        # What instructions do, with the number that follows them.
        self._fixed: dict[bytes, Callable[[int], None]] = {
            pickle.PROTO: lambda _: None,
            pickle.FRAME: lambda _: None,
            pickle.MARK: lambda _: self._marks.append(len(self._stack)),
            pickle.EMPTY_LIST: lambda _: self._push([]),
            pickle.EMPTY_TUPLE: lambda _: self._push(()),
            pickle.TUPLE: lambda _: self._push(tuple(self._since_mark())),
            pickle.TUPLE1: lambda _: self._push(tuple(self._popped(1))),
            pickle.TUPLE2: lambda _: self._push(tuple(self._popped(2))),
            pickle.TUPLE3: lambda _: self._push(tuple(self._popped(3))),
            pickle.NONE: lambda _: self._push(None),
            pickle.NEWTRUE: lambda _: self._push(True),
            pickle.NEWFALSE: lambda _: self._push(False),
            pickle.APPEND: lambda _: self._extend(self._popped(1)),
            pickle.APPENDS: lambda _: self._extend(self._since_mark()),
            pickle.BINPUT: self._remember,
            pickle.LONG_BINPUT: self._remember,
            pickle.MEMOIZE: lambda _: self._remember(len(self._memo)),
            pickle.BINGET: lambda number: self._push(self._memo[number]),
            pickle.LONG_BINGET: lambda number: self._push(self._memo[number]),
            pickle.STACK_GLOBAL: lambda _: self._name(*self._popped(2)),
            pickle.REDUCE: lambda _: self._call(*self._popped(2)),
            pickle.BUILD: lambda _: self._set_state(*self._popped(1)),
        }
        self._sized: dict[bytes, Callable[[], None]] = {
            pickle.LONG1: lambda: self._push(int.from_bytes(self._string(1), "little", signed=True)),
            pickle.SHORT_BINUNICODE: lambda: self._push(self._string(1).decode()),
            pickle.BINUNICODE: lambda: self._push(self._string(4).decode()),
            pickle.SHORT_BINBYTES: lambda: self._push(self._string(1)),
            pickle.BINBYTES: lambda: self._push(self._string(4)),
            pickle.SHORT_BINSTRING: lambda: self._push(self._string(1).decode("latin1")),
            pickle.BINSTRING: lambda: self._push(self._string(4).decode("latin1")),
            pickle.GLOBAL: lambda: self._name(self._line(), self._line()),
        }

    def result(self) -> Any:
        """Runs all instructions, and returns what they make."""
        for _ in range(_MOST_SIZED):
            for instruction, number in self._instructions():
                self._fixed[instruction](number)
            instruction = self._read(1)
            if instruction == pickle.STOP:
                return self._popped(1)[0]
            self._sized[instruction]()
        msg = "a pickled array must hold lists of integers, and few strings"
        raise ValueError(msg)

    # The program.

    def _instructions(self) -> Iterator[tuple[bytes, int]]:
        """Yields the next instructions of a fixed size, and the number after each; pushes integers itself, many at once."""
        while self._place < len(self._data):
            piece = np.frombuffer(self._data[self._place : self._place + _PIECE], np.uint8)
            positions = _places_in(piece)
            sizes = _SIZES[piece[positions]]
            complete = (sizes > 0) & (positions + sizes <= len(piece))
            positions, sizes = positions[complete], sizes[complete]
            if not len(positions):
                return
            numbers = _numbers_in(piece, positions, sizes).tolist()
            begin = 0
            for end in np.flatnonzero(~np.isin(piece[positions], list(b"".join(_INTEGERS)))).tolist():
                self._push(*numbers[begin:end])
                yield piece[positions[end], None].tobytes(), numbers[end]
                begin = end + 1
            self._push(*numbers[begin:])
            self._place += int(positions[-1] + sizes[-1])

    def _read(self, count: int) -> bytes:
        """Returns the next bytes of the program."""
        taken_bytes = self._data[self._place : self._place + count]
        if len(taken_bytes) < count:
            msg = "a pickled array ends too early"
            raise ValueError(msg)
        self._place += count
        return taken_bytes

    def _string(self, size: int) -> bytes:
        """Returns bytes that come after their number, which has `size` bytes."""
        return self._read(int.from_bytes(self._read(size), "little"))

    def _line(self) -> str:
        end = self._data.find(b"\n", self._place)
        return self._read(max(end + 1 - self._place, 1))[:-1].decode()

    # The stack.

    def _push(self, *values: Any) -> None:
        self._spend(len(values))
        self._stack += values

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _too_many(self._most)

    def _popped(self, count: int) -> list[Any]:
        """Removes and returns the uppermost values."""
        begin = len(self._stack) - count
        if begin < (self._marks[-1] if self._marks else 0):
            msg = f"a pickled array lacks {count} values on its stack"
            raise ValueError(msg)
        popped = self._stack[begin:]
        del self._stack[begin:]
        return popped

    def _since_mark(self) -> list[Any]:
        """Removes and returns the values above the last mark, and removes the mark."""
        mark = self._marks.pop()
        marked = self._stack[mark:]
        del self._stack[mark:]
        return marked

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            msg = f"a pickled array appends to {type(target).__name__}"
            raise ValueError(msg)
        target.extend(values)

    def _remember(self, number: int) -> None:
        self._spend(1)
        self._memo[number] = self._stack[-1]

    # Objects.

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            msg = "a pickled array must name classes by strings"
            raise ValueError(msg)
        if (module, name) not in _NAMES:
            msg = f"the file has a pickled {module}.{name}, which no data set needs: refused"
            raise ValueError(msg)
        self._push(_Named(module, name))

    def _call(self, function: Any, arguments: Any) -> None:
        name = function.name if isinstance(function, _Named) else None
        if name == "_reconstruct":
            self._push(_PickledArray())
        elif name == "dtype":
            self._push(_PickledDtype(arguments[0]))
        elif name == "encode":
            self._push(arguments[0].encode("latin1"))
        elif name == "scalar":
            (value,) = _integers(*arguments)
            self._push(value)
        else:
            msg = f"a pickled array calls an object of {type(function).__name__}"
            raise ValueError(msg)

    def _set_state(self, state: Any) -> None:
        instance = self._stack[-1]
        if isinstance(instance, _PickledDtype):
            instance.order = state[1]
        elif isinstance(instance, _PickledArray):
            _, shape, dtype, _, values = state
            if dtype.code[:1] != "O":
                values = _integers(dtype, values)
                self._spend(len(values))
            if type(values) is not list or shape != (len(values),):
                msg = "a pickled array must have one axis, and the announced length"
                raise ValueError(msg)
            instance.values = values
        else:
            msg = f"a pickled array sets the state of {type(instance).__name__}"
            raise ValueError(msg)


def _places_in(piece: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Returns where the instructions at the beginning of a program begin, up to the first one of no fixed size."""
    end = len(piece)
    after = np.append(np.minimum(np.arange(end, dtype=np.int32) + _SIZES[piece], end), np.int32(end))
    positions: NDArray[np.int32] = np.zeros(1, np.int32)
    # `places` are the first 1, 2, 4, ... instructions, and `after` is where as many more lead to from any byte.
    while True:
        positions = np.concatenate([positions, after[positions]])
        if positions[-1] == positions[-2]:  # the end, or an instruction of no fixed size
            last = np.searchsorted(positions, positions[-1])
            return positions[:last] if positions[-1] == end else positions[: last + 1]
        after = after[after]


def _numbers_in(
    piece: NDArray[np.uint8], positions: NDArray[np.int32], sizes: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Returns the number after each instruction, of 1, 2 or 4 bytes; for other instructions any number."""
    padded = np.append(piece, np.zeros(4, np.uint8)).astype(np.int64)
    numbers = padded[positions + 1]
    for byte, least_size in ((2, 3), (3, 5), (4, 5)):
        numbers += np.where(sizes >= least_size, padded[positions + byte] << 8 * (byte - 1), 0)
    signed = piece[positions] == pickle.BININT[0]
    return np.where(signed, numbers.astype(np.int32), numbers)


def _integers(dtype: _PickledDtype, values: bytes) -> list[int]:
    """Returns the integers of a dtype in these bytes."""
    if not _INTEGER_DTYPE.fullmatch(dtype.code) or dtype.order not in ("<", ">", "|", "="):
        msg = f"a pickled array must hold integers, got dtype {dtype.code:.20}"
        raise ValueError(msg)
    integers: list[int] = np.frombuffer(values, dtype.order + dtype.code).tolist()
    return integers
