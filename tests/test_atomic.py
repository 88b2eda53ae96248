"""Tests of atomic writes: a file is replaced only by a complete one."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from engine._base import atomic_files
from engine._base.atomic_files import replacing, replacing_together


class Stop(BaseException):
    """An exception that, like KeyboardInterrupt, is no `Exception`."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    with replacing(tmp_path / "new.bin") as file:
        file.write(b"abc")
        file.flush()
        assert not (tmp_path / "new.bin").exists()
        assert [*contents(tmp_path).values()] == [b"abc"]
    assert contents(tmp_path) == {"new.bin": b"abc"}


def test_text_has_the_same_bytes_everywhere(tmp_path: Path) -> None:
    with replacing(str(tmp_path / "new.txt"), "w") as file:
        file.write("é\n")
    assert contents(tmp_path) == {"new.txt": b"\xc3\xa9\n"}


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    with replacing(tmp_path / "new", "w+b") as file:
        file.write(b"abc")
        file.seek(0)
        assert file.read() == b"abc"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Stop])
@pytest.mark.parametrize("before", [{}, {"file": b"old"}])
def test_an_exception_leaves_everything_as_it_was(
    error: type[BaseException], before: dict[str, bytes], tmp_path: Path
) -> None:
    for name, old in before.items():
        (tmp_path / name).write_bytes(old)

    def write_and_fail() -> None:
        with replacing(tmp_path / "file") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert contents(tmp_path) == before


def test_permissions_are_those_of_any_file_or_stay(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    (tmp_path / "private").touch(0o600)
    for name in ("new", "private"):
        with replacing(tmp_path / name) as file:
            file.write(b"abc")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["new"] == modes["usual"]
    assert modes["private"] == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to("../file")
    with replacing(tmp_path / "here" / "link") as file:
        file.write(b"abc")
    assert (tmp_path / "here" / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_name_may_be_as_long_as_the_system_takes(tmp_path: Path) -> None:
    name = "é" * 127
    with replacing(tmp_path / name) as file:
        file.write(b"abc")
    assert contents(tmp_path) == {name: b"abc"}


def test_a_folder_that_can_not_be_synced_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That is so for a folder that may not be listed, and for every folder on Windows."""

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with replacing(tmp_path / "file") as file:
        file.write(b"abc")
    monkeypatch.undo()
    assert contents(tmp_path) == {"file": b"abc"}


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("", IsADirectoryError, "it is a folder: give the path of a file"),
        ("none/file", FileNotFoundError, "there is no folder '.*none': make it first"),
        ("file/file", NotADirectoryError, "file' is a file: give another path"),
        ("/dev/null", OSError, "a device"),
        ("/proc/file", OSError, r"can't write '/proc/file': No such file or directory, in folder '/proc'"),
        ("x" * 256, OSError, "File name too long"),
    ],
)
def test_places_where_no_file_can_be(path: str, error: type[OSError], message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(error, match=message), replacing(tmp_path / path):
        pass
    assert contents(tmp_path) == {"file": b"old"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every file")
def test_a_protected_file_stays(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o400)
    with pytest.raises(PermissionError, match="may not be written to"), replacing(tmp_path / "file"):
        pass


def test_the_owner_of_a_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "chown", lambda _, owner, group: given.append((owner, group)))
    real = Path.stat

    def of_another(self: Path, **options: Any) -> os.stat_result:
        found = list(real(self, **options))
        if self == path:
            found[4:6] = 12345, 54321
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", of_another)
    with replacing(path) as file:
        file.write(b"new")
    monkeypatch.undo()
    assert given == [(12345, 54321)]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)


@pytest.mark.parametrize("waiting", [True, False])
def test_no_old_file_stays_after_an_interrupt_at_the_very_end(
    waiting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt comes while the disk synchronizes, or right after the last file has been renamed."""
    replace = Path.replace

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    def replaced(self: Path, target: Path) -> Path:
        replace(self, target)
        if target.name == "b":
            raise KeyboardInterrupt
        return target

    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    if waiting:
        monkeypatch.setattr("engine._base.atomic_files._sync", interrupted)
    else:
        monkeypatch.setattr(Path, "replace", replaced)

    def save() -> None:
        with replacing_together() as opened:
            for name in ("a", "b"):
                with opened(tmp_path / name, "w") as file:
                    file.write("new")

    with pytest.raises(KeyboardInterrupt):
        save()
    assert contents(tmp_path) == {"a": b"new", "b": b"new"}


def test_an_interrupt_right_after_a_renaming_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def interrupted(self: Path, target: Path) -> Path:
        real_rename(self, target)
        if not marked:
            marked.append(target)
            return target
        raise KeyboardInterrupt

    marked: list[Path] = []
    real_rename = Path.rename
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
    assert contents(tmp_path) == {"a": b"old"}


# The warnings are about open files, which an interrupt may leave open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_leaves_one_whole_file(tmp_path: Path) -> None:
    """The exception is raised before each instruction of the module in turn, since Ctrl-C may come at any of them."""
    path = tmp_path / "a.txt"

    def interrupted_at(number: int) -> bool:
        count = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal count
            if frame.f_code.co_filename != atomic_files.__file__:
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event == "opcode":
                count += 1
                if count == number:
                    raise KeyboardInterrupt
            return trace

        path.write_text("old")
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            with replacing(path, "w") as file:
                file.write("new")
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    number, left = 1, dict[str, list[int]]()
    while interrupted_at(number):
        assert path.read_text() in {"old", "new"}
        for name in set(os.listdir(tmp_path)) - {path.name}:  # noqa: PTH208 # names
            left.setdefault(Path(name).suffix, []).append(number)
            (tmp_path / name).unlink()
        number += 1
    assert number > 100
    assert not left
