"""Malicious files cause an error that says what is wrong, and nothing else."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged import FORMATS, refused, saved_models, with_config  # noqa: F401 # saved_models is a fixture

import engine as keras
from engine import layers, models

# Intent


def test_a_bomb_is_not_unpacked(tmp_path: Path, saved: dict[str, bytes]) -> None:
    for name in ("model.weights.h5", "config.json"):
        path = tmp_path / "bomb.keras"
        with zipfile.ZipFile(io.BytesIO(saved[".keras"])) as old, zipfile.ZipFile(path, "w") as new:
            for member in old.namelist():
                if member != name:
                    new.writestr(member, old.read(member))
            new.writestr(name, b"\0" * 2**26, zipfile.ZIP_DEFLATED)
        refused(path, "claims to hold|must not be longer")


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header((2**40, 2**20)), "says that its shape is"),
        (header((6, 8)) + b"\0" * 100, "but has 100 bytes"),
        (header((6, 8), "|O") + b"\0" * 384, "must hold real numbers, got dtype object"),
        (header((6, 8), "<c8") + b"\0" * 384, "must hold real numbers"),
        (header((6, 9)) + b"\0" * 216, "needs weights of shapes"),
        (header((-6, -8)) + b"\0" * 192, "has no shape|says that its shape"),
        (header((6, 8), "__import__('os').system('true')"), "m.npz"),
        (b"\x93NUMPY\x09\x00", "version"),
        (b"", "m.npz"),
        (b"cos\nsystem\n(S'true'\ntR.", "m.npz"),
    ],
)
def test_arrays_that_are_none(content: bytes, message: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(io.BytesIO(saved[".npz"])) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == "layers/dense/vars/0.npy" else old.read(name))
    refused(path, message)


@pytest.mark.parametrize("name", ["../evil.json", "/tmp/evil.json", "a/../../b", "..\\evil", "config.json"])
def test_names_that_lead_elsewhere(name: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    for suffix in (".keras", ".npz"):
        path = tmp_path / f"m{suffix}"
        path.write_bytes(saved[suffix])
        again = pytest.warns(UserWarning, match="Duplicate") if name == "config.json" else nullcontext()
        with zipfile.ZipFile(path, "a") as archive, again:
            archive.writestr(name, "{}")
        refused(path, "outside of it or there twice")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.keras", "m.npz"]


def test_missing_parts(saved: dict[str, bytes], tmp_path: Path) -> None:
    for suffix in (".keras", ".npz"):
        with zipfile.ZipFile(io.BytesIO(saved[suffix])) as old:
            names = old.namelist()
            for missing in names:
                if missing in ("metadata.json", "engine/rounded/vars/0.npy"):  # optional in Keras
                    continue
                path = tmp_path / f"m{suffix}"
                with zipfile.ZipFile(path, "w") as new:
                    for name in names:
                        if name != missing:
                            new.writestr(name, old.read(name))
                if missing.startswith("optimizer"):
                    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
                        models.load_model(path)
                else:
                    refused(path)


LAYERS: list[tuple[Callable[[Any], object], str]] = [
    (lambda layer: layer.update(units=10**6), "needs weights of shapes"),
    (lambda layer: layer.update(units=10**9), "16777216 numbers at most"),
    (lambda layer: layer.update(units=-1), "`units` must be at least 1"),
    (lambda layer: layer.update(units=float("nan")), "must hold finite numbers, got NaN"),
    (lambda layer: layer.update(units=float("inf")), "must hold finite numbers, got Infinity"),
    (lambda layer: layer.update(units="8"), "`units` must be an integer"),
    (lambda layer: layer.update(evil=1), "has no argument `evil`"),
    (lambda layer: layer.update(activation="os.system"), "unknown `activation`"),
    (
        lambda layer: layer.update(activation={"class_name": "function", "config": "exec"}),
        "unknown `activation`",
    ),
    (
        lambda layer: layer.update(
            kernel_initializer={"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}
        ),
        "__lambda__",
    ),
    (
        lambda layer: layer.update(
            kernel_initializer={
                "class_name": "__numpy__",
                "config": {"value": [1], "dtype": "S2147483647"},
            }
        ),
        "real numbers",
    ),
]


@pytest.mark.parametrize(("change", "message"), LAYERS)
def test_layers_that_are_none(
    change: Callable[[Any], object], message: str, saved: dict[str, bytes], tmp_path: Path
) -> None:
    path = with_config(
        tmp_path / "m.npz", saved, lambda config: change(config["config"]["layers"][1]["config"])
    )
    refused(path, message)


def stack(*stacked: dict[str, Any]) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        config["config"]["layers"] = list(stacked)
        config.pop("compile_config")

    return change


def layer(class_name: str, module: str = "keras.layers", /, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def compiled(**options: Any) -> Callable[[Any], None]:
    return lambda config: config["compile_config"].update(options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (stack(layer("InputLayer", shape=[2**30])), "16777216 numbers at most|m.npz"),
        (
            stack(layer("InputLayer", shape=[2**20]), layer("RepeatVector", n=2**20)),
            "16777216 numbers at most",
        ),
        (stack(layer("InputLayer", shape=[4]), layer("Reshape", target_shape=[2, 3])), "can't reshape"),
        (stack(layer("Lambda", function="exec")), "`function` must be a function of arrays, got 'exec'"),
        (stack(layer("Popen", "subprocess", args="true")), "unknown `layer` 'Popen'"),
        (stack(layer("system", "os")), "unknown `layer` 'system'"),
        (
            stack(layer("Dense", units=3, name=5), layer("Dense", units=3, name="5")),
            "`name` must be a string, got 5",
        ),
        (stack(*[layer("Dense", units=1)] * 3), "m.npz"),
        (
            lambda config: config.update(module="os", class_name="system"),
            "unknown class or function 'system'",
        ),
        (
            lambda config: config.update(module="engine.cli", class_name="function", config="main"),
            "must be that of a Sequential",
        ),
        (lambda config: config.update(class_name="Subclassed"), "unknown class or function 'Subclassed'"),
        (lambda config: config.update(config=3), "must be that of a Sequential"),
        (lambda config: config["config"].pop("layers"), "must be that of a Sequential"),
        (lambda config: config["config"].update(layers=[[[]]]), "`layer` must be a name"),
        (lambda config: "[1, 2]", "must be an object of JSON"),
        (lambda config: "{", "no JSON"),
        (lambda config: "[" * 10**5, "recursion|no JSON"),
        (lambda config: '{"a":' * 10**5, "recursion|no JSON"),
        (compiled(optimizer="os"), "unknown `optimizer` 'os'"),
        (compiled(optimizer={"class_name": "Adam", "config": {"learning_rate": -1}}), "learning_rate"),
        (
            compiled(loss={"class_name": "function", "module": "os", "config": "system"}),
            "unknown class or function 'system' of module 'os'",
        ),
        (
            compiled(loss={"class_name": "function", "module": "engine.models", "config": "load_model"}),
            "unknown class or function 'load_model' of module 'engine.models'",
        ),
        (compiled(metrics=["exec"]), "unknown `metric` 'exec'"),
        (
            compiled(metrics=[{"class_name": "AUC", "config": {"num_thresholds": 2**31 - 1}}]),
            "`num_thresholds` must be at most",
        ),
        (compiled(metrics=[{"class_name": "MeanMetricWrapper", "config": {"fn": "exec"}}]), "m.npz"),
    ],
)
def test_configs_of_no_model(
    change: Callable[[Any], Any], message: str, saved: dict[str, bytes], tmp_path: Path
) -> None:
    refused(with_config(tmp_path / "m.npz", saved, change), f"(?i){message}")


def test_nothing_of_the_library_can_be_called_by_a_file() -> None:
    from engine.utils import deserialize_keras_object

    for module, name in (
        ("engine.utils", "set_random_seed"),
        ("engine.models", "clone_model"),
        ("engine.losses", "get"),
        ("engine._core_interface.cpp", "set_threads"),
        ("engine.losses.loss", "np"),
        ("keras", "importlib"),
        ("builtins", "exec"),
    ):
        config = {"module": module, "class_name": "function", "config": name, "registered_name": name}
        with pytest.raises(ValueError, match="unknown class or function"):
            deserialize_keras_object(config)
    with pytest.raises(ValueError, match="lambda is code in a file"):
        deserialize_keras_object({"class_name": "__lambda__", "config": {"value": ""}}, safe_mode=False)


def patched(archive: bytes, name: str, **fields: int) -> bytes:
    """Returns the archive with another `packed` size, `size` or `place` of a member in its directory."""
    places = {"packed": 20, "size": 24, "place": 42}
    content = bytearray(archive)
    entry = content.rindex(b"PK\1\2", 0, content.rindex(name.encode()))
    for field, value in fields.items():
        struct.pack_into("<I", content, entry + places[field], value)
    return bytes(content)


def bomb(unpacked: int, shape: tuple[int, ...] = (6, 8)) -> tuple[bytes, int]:
    """Returns an archive with zeros as an array of that shape, and the size of the compressed array."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("layers/dense/vars/0.npy", header(shape) + bytes(unpacked))
    return buffer.getvalue(), archive.infolist()[0].compress_size


def test_a_member_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    content, packed = bomb(2**25, (64, 64))  # more than the few KiB from which its shape is read
    size = len(header((64, 64))) + 2**14
    assert packed < 2**16
    path, model = tmp_path / "m.npz", keras.Sequential([keras.Input((64,)), layers.Dense(64, use_bias=False)])
    path.write_bytes(patched(content, "layers/dense/vars/0.npy", size=size))
    before = model.get_weights()
    tracemalloc.start()
    with pytest.raises(ValueError, match="Bad CRC-32"):
        model.load_weights(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21
    assert (model.get_weights()[0] == before[0]).all()


def test_a_member_that_is_shorter_than_it_says(tmp_path: Path) -> None:
    content, _ = bomb(96)
    size = len(header((6, 8))) + 192
    path, model = tmp_path / "m.npz", keras.Sequential([keras.Input((6,)), layers.Dense(8, use_bias=False)])
    path.write_bytes(patched(content, "layers/dense/vars/0.npy", size=size))
    with pytest.raises(ValueError, match=r"says that it has 320 bytes, but has 224|Bad CRC-32"):
        model.load_weights(path)
    path.write_bytes(patched(content, "layers/dense/vars/0.npy", packed=2**20))
    with pytest.raises(ValueError, match="say that they are longer than all of it"):
        model.load_weights(path)


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    """Such archives unpack to thousands of times their size, though no member does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(64):
            archive.writestr(f"layers/dense/vars/{number:02}.npy", header((6, 8)) + bytes(192))
        size = archive.infolist()[0].file_size
    content = buffer.getvalue()
    directory = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    start = content[: content.index(b"PK\3\4", 4)]  # the one member, to which all entries refer
    entries = bytearray(content[directory:end])
    place = -1
    while (place := entries.find(b"PK\1\2", place + 1)) >= 0:
        struct.pack_into("<I", entries, place + 42, 0)
    tail = bytearray(content[end:])
    struct.pack_into("<I", tail, 16, len(start))
    (tmp_path / "m.npz").write_bytes(start + entries + tail)
    assert 64 * size > (tmp_path / "m.npz").stat().st_size
    refused(tmp_path / "m.npz", "the members of the archive say that they are longer than all of it")


def folder_of_a_model(path: Path) -> Path:
    """Writes a model with a vocabulary in a file of its own into a folder, as Keras does, and returns the folder."""
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")
    model = keras.Sequential([keras.Input((1,), dtype="string"), lookup, layers.Dense(2)])
    model.save(path, zipped=False)
    config = json.loads((path / "config.json").read_text())
    (stored,) = [each for each in config["config"]["layers"] if each["class_name"] == "StringLookup"]
    stored["config"]["vocabulary"] = None
    stored["config"]["vocabulary_size"] = 3
    (path / "config.json").write_text(json.dumps(config))
    terms = path / "assets" / "layers" / "string_lookup"
    terms.mkdir(parents=True)
    (terms / "vocabulary.txt").write_text("[UNK]\na\nb")
    return path


@pytest.mark.parametrize("linked", ["assets", "assets/layers/string_lookup/vocabulary.txt", "config.json"])
def test_a_folder_has_no_links_to_files_outside(linked: str, tmp_path: Path) -> None:
    folder = folder_of_a_model(tmp_path / "model")
    models.load_model(folder)
    outside = tmp_path / "outside"
    (folder / linked).rename(outside)
    (folder / linked).symlink_to(outside)
    refused(folder, "is a link to .*, outside of the folder")
    (folder / linked).unlink()
    outside.rename(folder / "moved")
    (folder / linked).symlink_to(folder / "moved")  # within the folder links are welcome
    assert models.load_model(folder).built


def test_a_snapshot_of_hugging_face_links_to_the_files_of_its_model_alone(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    root = tmp_path / "models--me--mine"
    blobs, folder = root / "blobs", root / "snapshots" / "0123"
    model.save(folder, zipped=False)
    blobs.mkdir()
    for number, path in enumerate([each for each in folder.rglob("*") if each.is_file()]):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    again = keras.models.load_model(folder)
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    other, link = tmp_path / "models--me--other" / "blobs", folder / "config.json"
    shutil.copytree(blobs, other)
    target = link.readlink()
    link.unlink()
    link.symlink_to(other / target.name)
    refused(folder, "is a link to .*, outside of the folder")
    link.unlink()
    link.symlink_to(target)
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    refused(folder, "is a link to .*, outside of the folder")


def test_only_files_that_a_model_needs_are_read_of_a_folder(tmp_path: Path) -> None:
    folder = folder_of_a_model(tmp_path / "model")
    (folder / "assets" / "endless.txt").symlink_to("/dev/zero")
    (folder / "assets" / "other").symlink_to("/usr")
    assert models.load_model(folder).layers[0].get_vocabulary() == ["[UNK]", "a", "b"]
    (folder / "metadata.json").unlink()
    os.mkfifo(folder / "metadata.json")  # to read it would wait for ever
    with pytest.raises(OSError, match="it is a device or the like"):
        models.load_model(folder)


def test_a_long_text_in_place_of_a_name(saved: dict[str, bytes], tmp_path: Path) -> None:
    """To look for similar names would take hours."""
    path = with_config(
        tmp_path / "m.npz",
        saved,
        lambda config: config["config"]["layers"][1].update(class_name="DenseLayer" * 10**5),
    )
    refused(path, "unknown `layer` 'DenseLayer")
