"""Tests of damaged files: an error says what is wrong, and nothing else happens."""

from __future__ import annotations

import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import classifier
from damaged import FORMATS, refused, saved_models, with_config  # noqa: F401 # saved_models is a fixture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import layers, models

# Damage


@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated_files(suffix: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    whole, path = saved[suffix], tmp_path / f"m{suffix}"
    for size in sorted({0, 1, 7, 100, len(whole) - 1, *range(0, len(whole) - 1, max(1, len(whole) // 40))}):
        path.write_bytes(whole[:size])
        refused(path)


@pytest.mark.parametrize("suffix", [".keras", ".npz"])
def test_members_before_the_beginning(suffix: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    damaged, path = bytearray(saved[suffix]), tmp_path / f"m{suffix}"
    # Here the end of a zip archive says where its directory begins.
    directory = damaged.rindex(b"PK\x05\x06") + 16
    struct.pack_into("<I", damaged, directory, struct.unpack_from("<I", damaged, directory)[0] + 2**20)
    path.write_bytes(damaged)
    model = classifier(layers.BatchNormalization())
    for load in (models.load_model, model.load_weights):
        with pytest.raises(ValueError, match=f"m{suffix} can't be read, as it is damaged"):
            load(path)


# This runs in a new process, so that a crash would be noticed.
FLIPPED = """
import random, sys, warnings
from pathlib import Path
import engine as keras
whole, path, seed = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), int(sys.argv[3])
model = keras.models.load_model(sys.argv[1])
weights = [w.tobytes() for w in model.get_weights()]
rng = random.Random(seed)
warnings.simplefilter("ignore")
for _ in range(int(sys.argv[4])):
    damaged = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    for load in (keras.models.load_model, model.load_weights):
        try:
            load(path)
        except (ValueError, OSError) as error:
            assert str(error)
            if load == model.load_weights:
                assert [w.tobytes() for w in model.get_weights()] == weights, "half loaded"
        else:
            if load == model.load_weights:
                model.load_weights(sys.argv[1])
"""


@pytest.mark.parametrize("suffix", FORMATS)
def test_flipped_bits_in_many_files(suffix: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / f"m{suffix}").write_bytes(saved[suffix])
    paths = [str(tmp_path / f"{name}{suffix}") for name in ("m", "damaged")]
    command = [sys.executable, "-c", FLIPPED, *paths, "1", "150"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits(data: Any, saved: dict[str, bytes], tmp_path: Path) -> None:
    whole = saved[".npz"]
    places = data.draw(st.lists(st.integers(0, len(whole) * 8 - 1), min_size=1, max_size=4))
    damaged = bytearray(whole)
    for place in places:
        damaged[place // 8] ^= 1 << place % 8
    path = tmp_path / "m.npz"
    path.write_bytes(damaged)
    with suppress(ValueError, OSError, UserWarning):
        assert models.load_model(path).built  # if the damage is outside of all contents


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(config: Any) -> list[tuple[Any, Any]]:
    """Returns every container in a config, with each of its keys."""
    keys = list(config) if isinstance(config, dict) else list(range(len(config)))
    inner = [config[key] for key in keys if isinstance(config[key], (dict, list))]
    return [(config, key) for key in keys] + [place for each in inner for place in places(each)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 2**16), value=JSON)
def test_any_value_at_any_place_of_the_config(
    number: int, value: Any, saved: dict[str, bytes], tmp_path: Path
) -> None:
    def change(config: Any) -> None:
        found = places(config)
        inner, key = found[number % len(found)]
        inner[key] = value

    path = with_config(tmp_path / "m.npz", saved, change)
    with suppress(ValueError, OSError, UserWarning):
        models.load_model(path)


def test_a_damaged_list_of_members_hides_no_array(saved: dict[str, bytes], tmp_path: Path) -> None:
    """Without the check of names, the optimizer state was only reset with a warning."""
    path, content = tmp_path / "m.npz", bytearray(saved[".npz"])
    content[content.rindex(b"optimizer/vars/1.npy")] ^= 1
    path.write_bytes(content)
    refused(path)
