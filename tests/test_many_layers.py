"""The work for models with many layers and files with many names is proportional to their number."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import h5py
import numpy as np
import pytest
from common import compiled
from conftest import same_weights

import engine as keras
from engine import layers, models
from engine.saving import _h5

SUFFIXES = [".keras", ".npz", ".safetensors", ".h5", ".weights.h5"]
FEW = 8


class Steps:
    """Counts the instructions that Python executes. Unlike seconds, their number is reproducible."""

    def __init__(self) -> None:
        self.taken = 0

    def trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.taken += event == "opcode"
        return self.trace


@contextmanager
def counted() -> Iterator[Steps]:
    steps, before = Steps(), sys.gettrace()
    sys.settrace(steps.trace)
    try:
        yield steps
    finally:
        sys.settrace(before)


def grows_in_proportion(prepare: Callable[[int], Callable[[], object]]) -> bool:
    """Returns whether twice the size takes about twice the steps, without a constant part."""
    taken = []
    for size in (FEW, FEW, 2 * FEW, 4 * FEW):  # in the first run, modules are imported
        action = prepare(size)
        with counted() as steps:
            action()
        taken.append(steps.taken)
    _, one, two, four = taken
    return four - two < 2.5 * (two - one)  # 2 if proportional, 4 if quadratic


def stack(count: int) -> list[Any]:
    return [layers.Dense(2) for _ in range(count)]


def sequential(count: int) -> Any:
    return keras.Sequential([keras.Input((2,)), *stack(count)])


def functional(count: int) -> Any:
    inputs = outputs = keras.Input((2,))
    for layer in stack(count):
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def nested(count: int) -> Any:
    return keras.Sequential([keras.Input((2,)), *(keras.Sequential(stack(2)) for _ in range(count // 2))])


@pytest.mark.parametrize("make", [sequential, functional, nested])
def test_making_a_model(make: Callable[[int], Any]) -> None:
    assert grows_in_proportion(lambda count: lambda: make(count).compile("adam", "mse"))
    assert grows_in_proportion(lambda count: partial(models.model_from_json, make(count).to_json()))
    assert grows_in_proportion(lambda count: partial(models.clone_model, make(count)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_and_loading(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"

    def saving(count: int) -> Callable[[], object]:
        model = compiled(sequential(count), "adam", "mse")
        save = model.save_weights if suffix == ".weights.h5" else model.save
        return lambda: save(path)

    def loading(count: int) -> Callable[[], object]:
        saving(count)()
        model = compiled(sequential(count), "adam", "mse")
        return lambda: model.load_weights(path) if suffix == ".weights.h5" else models.load_model(path)

    assert grows_in_proportion(saving)
    assert grows_in_proportion(loading)


def test_weights_in_shards(tmp_path: Path) -> None:
    def loading(count: int) -> Callable[[], object]:
        model = sequential(count)
        model.save_weights(tmp_path / "m.weights.json", max_shard_size=64 / 2**30)
        return lambda: model.load_weights(tmp_path / "m.weights.json")

    assert grows_in_proportion(loading)


@pytest.mark.parametrize("suffix", [".npz", ".weights.h5", ".safetensors"])
def test_names_that_no_layer_has(suffix: str, tmp_path: Path) -> None:
    """Each unknown name, in other groups or the first layer, is checked once, and not once for every layer."""
    path = tmp_path / f"m{suffix}"

    def loading(count: int) -> Callable[[], object]:
        model = sequential(count)
        model.save_weights(path)
        names = [f"layers/dense/vars/{number}" for number in range(2, count)]
        names += [f"other_{number}/vars/0" for number in range(count)]
        add(path, names)
        return lambda: refused(model, path)

    def refused(model: Any, path: Path) -> None:
        with pytest.raises(ValueError, match="expected 2 variables"):
            model.load_weights(path)

    assert grows_in_proportion(loading)


def add(path: Path, names: list[str]) -> None:
    """Adds arrays of these names to an existing file."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path, "a") as archive:
            for name in names:
                with archive.open(f"{name}.npy", "w") as member:
                    np.save(member, np.float32(0))
    elif path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            for name in names:
                file[name] = np.float32(0)
    else:
        from safetensors.numpy import load_file, save_file

        save_file(load_file(path) | dict.fromkeys(names, np.zeros((), np.float32)), path)


def test_arrays_of_one_layer(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"

    def loading(count: int) -> Callable[[], object]:
        keras.Sequential([keras.Input((2,)), layers.Dense(2)]).save(path)
        add(path, [f"layers/dense/vars/{number}" for number in range(2, 8 * count)])

        def load() -> None:
            with pytest.raises(ValueError, match="needs weights of shapes"):
                models.load_model(path)

        return load

    assert grows_in_proportion(loading)


def test_too_many_arrays_are_not_even_looked_at(tmp_path: Path) -> None:
    model, path = keras.Sequential([keras.Input((2,)), layers.Dense(2)]), tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2**16 + 1):
            archive.writestr(f"layers/dense/vars/{number}.npy", b"no array")
    with pytest.raises(ValueError, match="must not hold more than 65536 arrays, got 65537"):
        model.load_weights(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_groups_that_are_one_and_the_same(legacy: bool, tmp_path: Path) -> None:
    """The groups of all layers are links to one group with many arrays, so that a small file means much reading."""
    count, arrays = 400, 400
    path = tmp_path / ("m.h5" if legacy else "m.weights.h5")
    names = ["dense", *(f"dense_{number}" for number in range(1, count))]
    with h5py.File(path, "w") as file:
        group = file.create_group("shared/vars")
        for number in range(arrays):
            group[str(number)] = np.float32(0)
        group.attrs["weight_names"] = [str(number) for number in range(arrays)]
        for name in names:
            file[name if legacy else f"layers/{name}"] = group if legacy else file["shared"]
        file.attrs["layer_names"] = names
    with pytest.raises(ValueError, match=r"lists \d+ names or more but|parts of the file lead to each"):
        sequential(count).load_weights(path)


def test_one_array_for_all_layers(tmp_path: Path) -> None:
    """All layers share one array as large as the file, so the model would be as large as many files."""
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w") as file:
        file["large"] = np.zeros((512, 512), np.float32)
        file["small"] = np.zeros(512, np.float32)
        for number in range(200):
            group = file.create_group(f"layers/dense_{number}/vars" if number else "layers/dense/vars")
            group["0"], group["1"] = file["large"], file["small"]
    model = keras.Sequential([keras.Input((512,)), *(layers.Dense(512) for _ in range(200))])
    with pytest.raises(ValueError, match="'0' claims to hold"):
        model.load_weights(path)


def test_trees_that_lead_back(tmp_path: Path) -> None:
    """A node in the tree of names has many children that are the same node, each of which would be read again."""
    model, path = sequential(300), tmp_path / "m.weights.h5"
    model.save_weights(path)
    before = model.get_weights()
    content = bytearray(path.read_bytes())
    nodes = [place for place in range(len(content)) if content[place : place + 6] == b"TREE\0\1"]
    assert len(nodes) == 1  # the node of `layers`; its children are leaves
    child, repeated = nodes[0].to_bytes(8, "little"), 20_000
    root = len(content).to_bytes(8, "little")
    tree = b"TREE\0\2" + repeated.to_bytes(2, "little") + b"\xff" * 16
    content = content.replace(child, root)
    content += tree + (bytes(8) + child) * repeated + bytes(8)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="lead to each other again and again, as reading them took 8 times"):
        model.load_weights(path)
    assert all(map(np.array_equal, model.get_weights(), before))


def test_lines_of_large_arrays(tmp_path: Path) -> None:
    """By itself, pyfive reads such arrays wrongly from `.keras`, where the file is in memory."""
    kernel = np.arange(2 * 1_500_001, dtype=np.float32).reshape(2, -1)
    model = keras.Sequential([keras.Input((2,)), layers.Dense(kernel.shape[1], use_bias=False)])
    model.set_weights([kernel])
    model.save(tmp_path / "m.keras")
    assert same_weights(models.load_model(tmp_path / "m.keras"), model)


def test_files_with_a_block_of_the_user_before(tmp_path: Path) -> None:
    model, twin = sequential(3), sequential(3)
    model.save_weights(tmp_path / "m.weights.h5")
    with (
        h5py.File(tmp_path / "m.weights.h5") as file,
        h5py.File(tmp_path / "n.weights.h5", "w", userblock_size=512) as copy,
    ):
        for name in file:
            file.copy(name, copy)
    twin.load_weights(tmp_path / "n.weights.h5")
    assert same_weights(twin, model)


def test_honest_files_are_far_from_the_limit(tmp_path: Path) -> None:
    """Compressed arrays are read twice. All other reading is little compared with that."""
    model, twin = keras.Sequential([keras.Input((40,)), layers.Dense(300)]), None
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "a") as file:
        for name in ("0", "1"):
            values = file[f"layers/dense/vars/{name}"][()]
            del file[f"layers/dense/vars/{name}"]
            options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
            file.create_dataset(f"layers/dense/vars/{name}", data=values, chunks=True, **options)
    twin = keras.Sequential([keras.Input((40,)), layers.Dense(300)])
    twin.load_weights(tmp_path / "m.weights.h5")
    assert same_weights(twin, model)
    for size in (0, 1, 2**20):
        assert _h5._READINGS * size + _h5._FEW_BYTES > 2 * size
