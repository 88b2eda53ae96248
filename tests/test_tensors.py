"""Tensors of other libraries in memory of the host, and what builds without a GPU do with others."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers
from engine._core_interface.cpp import build_info, device_array
from engine._data.array_conversion import input_rows, real_array

without_gpu = pytest.mark.skipif(
    not build_info()["cuda"].startswith("not built"), reason="is about builds without CUDA"
)


class Tensor:
    """Has DLPack alone, as tensors have it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_dlpack_is_read_where_it_is(dtype: Any) -> None:
    array = np.arange(12, dtype=dtype).reshape(4, 3)
    rows = input_rows(Tensor(array), (3,))
    assert np.shares_memory(rows, array)
    assert device_array(Tensor(array)) is None


def test_tensors_of_torch_on_the_cpu() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.rand(32, 6), torch.arange(32) % 3
    rows = input_rows(x, (6,))
    assert rows.ctypes.data == x.data_ptr()
    assert real_array(y, "y").ctypes.data == y.data_ptr()
    strided = input_rows(x[:, ::2], (3,))
    np.testing.assert_array_equal(strided, x.numpy()[:, ::2])

    def model() -> keras.Model:
        keras.utils.set_random_seed(1)
        made = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="softmax")])
        made.compile("adam", "sparse_categorical_crossentropy")
        return made

    ours, expected = model(), model()
    history = ours.fit(x, y, shuffle=False, verbose=0).history
    assert history == expected.fit(x.numpy(), y.numpy(), shuffle=False, verbose=0).history
    np.testing.assert_array_equal(ours(x), expected.predict(x.numpy(), verbose=0))
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8)
    ours.fit(batches, verbose=0)
    np.testing.assert_array_equal(torch.from_dlpack(ours(x)).numpy(), ours(x))


WITH_JAX = """
import jax.numpy
from engine._data.array_conversion import input_rows

array = jax.numpy.arange(12, dtype="float32").reshape(4, 3)
print(input_rows(array, (3,)).ctypes.data == array.unsafe_buffer_pointer())
"""


def test_arrays_of_jax_on_the_cpu() -> None:
    """In a process of its own, since JAX warns of every later fork."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    run = subprocess.run([sys.executable, "-c", WITH_JAX], capture_output=True, text=True, check=False)
    assert run.stdout == "True\n", run.stderr


class OnGpu:
    """A tensor on a GPU that this build can't reach."""

    shape = (4, 3)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": (4, 3), "typestr": "<f4", "data": (8, False), "version": 3}

    def __len__(self) -> int:
        return 4

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **_: Any) -> Any:
        msg = "it is on a GPU: use .cpu() first"
        raise BufferError(msg)


@without_gpu
def test_builds_without_cuda_leave_tensors_on_gpus_to_their_library() -> None:
    assert device_array(OnGpu()) is None
    with pytest.raises(TypeError, match=r"`x` of type OnGpu can't be read as an array of NumPy: .*"):
        input_rows(OnGpu(), (3,))


def test_device_arrays_are_made_by_models() -> None:
    with pytest.raises(TypeError):
        keras.DeviceArray()
