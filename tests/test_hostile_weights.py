"""Malicious files of weights cause an error that says what is wrong, and nothing else."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import classifier

import engine as keras
from engine import layers, models

NEEDS_FIFO = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")


def change_h5(path: Path, content: bytes, change: Callable[[Any], object]) -> Path:
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def test_hdf5_that_points_elsewhere(tmp_path: Path) -> None:
    model, path = classifier(), tmp_path / "m.weights.h5"
    model.save_weights(path)
    content, before = path.read_bytes(), model.get_weights()
    (tmp_path / "secret").write_bytes(b"\1" * 1024)

    def replace(make: Callable[[Any], object]) -> Callable[[Any], None]:
        def change(file: Any) -> None:
            group = file["layers/dense/vars"]
            del group["0"]
            make(group)

        return change

    layout = h5py.VirtualLayout((6, 8), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (6, 8))
    changes: list[tuple[Callable[[Any], object], str]] = [
        (lambda g: g.__setitem__("0", h5py.SoftLink("/layers/dense_1/vars/0")), "link to another place"),
        (lambda g: g.__setitem__("0", h5py.ExternalLink("secret", "/x")), "holds what no model's file does"),
        (
            lambda g: g.create_dataset("0", (6, 8), "f4", external=[(str(tmp_path / "secret"), 0, 192)]),
            "in another file",
        ),
        (lambda g: g.create_virtual_dataset("0", layout), "in another file"),
        (lambda g: g.create_group("0"), "must be a dataset"),
        (lambda g: g.create_dataset("0", (2**20, 2**20), "f4", chunks=(64, 64)), "claims to hold"),
        (lambda g: g.create_dataset("0", (2**40,), "f4", chunks=(64,), compression="gzip"), "claims to hold"),
        (lambda g: g.create_dataset("0", data=["text"]), "must hold real numbers"),
        (lambda g: g.create_dataset("0", dtype="f4", data=h5py.Empty("f4")), "holds what no model's file does"),
        (lambda g: g.create_dataset("0", data=np.zeros((6, 8), "c8")), "must hold real numbers"),
        (lambda g: g.create_dataset("0", data=np.full((6, 8), 1e300)), "float32's range"),
        (lambda g: g.create_dataset("0", data=np.zeros((8, 6), "f4")), r"must have shape \(6, 8\), got \(8, 6\)"),
        (lambda g: [g.create_dataset(str(i), data=np.float32(0)) for i in range(5, 9)], "expected 2 variables"),
        (lambda g: None, "expected 2 variables"),
    ]  # fmt: skip
    for make, message in changes:
        change_h5(path, content, replace(make))
        with pytest.raises(ValueError, match=message):
            model.load_weights(path)
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    with h5py.File(path, "w") as file:
        file["layers"] = file["/"]  # a group that contains itself
    with pytest.raises(ValueError, match="expected 2 variables"):
        model.load_weights(path)


def test_a_hostile_optimizer_state_changes_nothing(tmp_path: Path) -> None:
    model, path = classifier(optimizer="nadam"), tmp_path / "m.weights.h5"
    model.train_on_batch(np.ones((2, 6), np.float32), [0, 1])
    model.save_weights(path)
    content = path.read_bytes()
    before = [variable.numpy() for variable in model.optimizer.variables]
    weights = model.get_weights()
    for key, value in (
        ("0", np.int64(-1)),
        ("0", np.float64("nan")),
        ("0", np.int64(2**40)),
        ("1", np.float32("nan")),
        ("1", np.float32(-1)),
        ("3", np.zeros((2, 2))),
    ):

        def change(file: Any, key: str = key, value: Any = value) -> None:
            group = file["optimizer/vars"]
            del group[key]
            group[key] = value
            file["layers/dense/vars/0"][...] = 5.0

        change_h5(path, content, change)
        with pytest.raises(ValueError, match=r"m\.weights\.h5"):
            model.load_weights(path)
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))
        after = [variable.numpy() for variable in model.optimizer.variables]
        assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))


def test_a_model_that_can_not_be_read_in_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for length in (2**62, 2**20, 8):
        path.write_bytes(struct.pack("<Q", length) + b'{"a": 1}')
        with pytest.raises(ValueError, match="safetensors"):
            models.load_model(path)
    content = json.dumps({"layers/dense/vars/0": {"dtype": "BF16", "shape": [6, 8], "data_offsets": [0, 96]}})
    path.write_bytes(struct.pack("<Q", len(content)) + content.encode() + b"\0" * 96)
    with pytest.raises(ValueError, match="must hold numbers that NumPy knows, got BF16"):
        keras.Sequential([keras.Input((6,)), layers.Dense(8)]).load_weights(path)


def test_chunks_that_unpack_to_more_than_their_part(tmp_path: Path) -> None:
    model, path = classifier(), tmp_path / "m.weights.h5"
    model.save_weights(path)
    content, before = path.read_bytes(), model.get_weights()
    packed = zlib.compress(bytes(2**26))

    def replace(data: bytes, **options: Any) -> Callable[[Any], None]:
        def change(file: Any) -> None:
            group = file["layers/dense/vars"]
            del group["0"]
            group.create_dataset("0", (6, 8), "f4", **options).id.write_direct_chunk((0, 0), data)

        return change

    tracemalloc.start()
    for change, message in (
        (replace(packed, chunks=(6, 8), compression="gzip"), r"unpacks to more than the 196 bytes"),
        (replace(packed, chunks=(3, 8), compression="gzip"), r"unpacks to more than the 100 bytes"),
        (replace(packed, chunks=(6, 8), compression="gzip", shuffle=True), r"unpacks to more than the 196 bytes"),
        (replace(b"no zlib", chunks=(6, 8), compression="gzip"), "holds what no model's file does"),
        (replace(bytes(192), chunks=(6, 8), maxshape=(None, None)), None),
        (replace(zlib.compress(bytes(192)), chunks=(6, 8), compression="gzip"), None),
    ):  # fmt: skip
        change_h5(path, content, change)
        model.set_weights(before)
        if message is None:
            model.load_weights(path)
            assert not model.get_weights()[0].any()
            continue
        with pytest.raises(ValueError, match=message):
            model.load_weights(path)
        assert all(map(np.array_equal, model.get_weights(), before))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


def test_chunks_far_larger_than_their_array(tmp_path: Path) -> None:
    """Chunks are read as a whole, so their size is limited."""
    model, path = classifier(), tmp_path / "m.weights.h5"
    model.save_weights(path)

    def change(file: Any) -> None:
        group = file["layers/dense/vars"]
        del group["0"]
        group.create_dataset(
            "0", (6, 8), "f4", chunks=(2**12, 2**12), maxshape=(None, None), compression="gzip"
        )

    change_h5(path, path.read_bytes(), change)
    with pytest.raises(ValueError, match="claims to hold 67108864 bytes"):
        model.load_weights(path)


def test_names_without_ends(tmp_path: Path) -> None:
    """1,000 names lack their ends, so that each continues to the end of all: 30 MB from a file of 1 MB."""
    path, count = tmp_path / "m.weights.h5", 1000
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        for number in range(count):
            group.create_group(f"{number:06}{'a' * 42}")
    content = bytearray(path.read_bytes())
    at = content.index(b"HEAP")
    while struct.unpack_from("<Q", content, at + 8)[0] < count * 48:
        at = content.index(b"HEAP", at + 1)
    size, free, start = struct.unpack_from("<QQQ", content, at + 8)
    end = start + min(size, free) - 1
    content[start:end] = bytes(content[start:end]).replace(b"\0", b"a")
    content[end] = 0
    path.write_bytes(content)
    model = classifier()
    before = model.get_weights()
    model.save_weights(tmp_path / "good.weights.h5")
    # What reads the format is imported now, since that takes memory as well.
    model.load_weights(tmp_path / "good.weights.h5")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="again and again") as caught:
            model.load_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 12 * len(content)
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000
    assert all(map(np.array_equal, before, model.get_weights()))


@NEEDS_FIFO
@pytest.mark.parametrize(
    "name", ["m.keras", "m.npz", "m.safetensors", "m.h5", "m.weights.h5", "m.weights.json"]
)
def test_devices_are_not_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    os.mkfifo(path)  # reading a pipe would wait for ever; reading other devices would fill the memory
    with pytest.raises(OSError, match="is a device or the like"):
        classifier().load_weights(path)
    if ".weights" not in name:
        with pytest.raises(OSError, match="is a device or the like"):
            models.load_model(path)


@NEEDS_FIFO
@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_devices_in_folders_are_not_read(name: str, tmp_path: Path) -> None:
    classifier().save(tmp_path / "m", zipped=False)
    (tmp_path / "m" / name).unlink()
    os.mkfifo(tmp_path / "m" / name)
    with pytest.raises(OSError, match="is a device or the like"):
        models.load_model(tmp_path / "m")
