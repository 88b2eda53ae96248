"""Tests of utils.get_file: complete files, checksums, and archives that must not write outside of their folder."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import URLError

import pytest

import engine as keras
from engine.utils import get_file

DATA = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    keras.config.disable_interactive_logging()
    yield
    keras.config.enable_interactive_logging()


@pytest.fixture
def origin(tmp_path: Path) -> str:
    file = tmp_path / "numbers.bin"
    file.write_bytes(DATA)
    return file.as_uri()


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a server that sends DATA, too little of it, or an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/missing":
                self.send_error(404)
                return
            self.send_response(200)
            if self.path != "/unsized":
                self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA[:1000] if self.path == "/cut" else DATA)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_downloads_once(origin: str, tmp_path: Path) -> None:
    path = get_file(origin=origin, cache_dir=tmp_path / "cache")
    assert Path(path) == tmp_path / "cache" / "datasets" / "numbers.bin"
    assert Path(path).read_bytes() == DATA
    Path(path).write_bytes(b"changed")
    assert get_file("numbers.bin", origin, cache_dir=tmp_path / "cache") == path
    assert Path(path).read_bytes() == b"changed"
    get_file(origin=origin, cache_dir=tmp_path / "cache", force_download=True)
    assert Path(path).read_bytes() == DATA


@pytest.mark.parametrize(
    "options",
    [
        {"file_hash": SHA256},
        {"file_hash": SHA256.upper(), "hash_algorithm": "sha256"},
        {"file_hash": MD5},
        {"md5_hash": MD5},
        {"file_hash": MD5, "hash_algorithm": "md5"},
    ],
)
def test_what_has_another_checksum_is_downloaded_again(
    origin: str, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = Path(get_file(origin=origin, cache_dir=tmp_path / "cache", **options))
    inode = path.stat().st_ino
    get_file(origin=origin, cache_dir=tmp_path / "cache", **options)
    assert path.stat().st_ino == inode
    path.write_bytes(DATA[:-1])
    get_file(origin=origin, cache_dir=tmp_path / "cache", **options)
    assert path.read_bytes() == DATA


def test_a_wrong_checksum_leaves_nothing(origin: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"has the sha256 checksum {SHA256}, expected {'0' * 64}"):
        get_file(origin=origin, cache_dir=tmp_path / "cache", file_hash="0" * 64)
    assert list((tmp_path / "cache" / "datasets").iterdir()) == []


def test_what_was_there_stays_after_an_error(server: str, tmp_path: Path) -> None:
    path = tmp_path / "datasets" / "data"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with pytest.raises(URLError, match=f"can't download {server}/missing: 404"):
        get_file("data", f"{server}/missing", cache_dir=tmp_path, force_download=True)
    with pytest.raises(ConnectionError, match=r"the connection ended after 1000 of 256000 bytes"):
        get_file("data", f"{server}/cut", cache_dir=tmp_path, force_download=True)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    for name in ("whole", "unsized"):
        get_file("data", f"{server}/{name}", cache_dir=tmp_path, force_download=True)
        assert path.read_bytes() == DATA


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(URLError, match=r"can't download http://127\.0\.0\.1:1/x"):
        get_file(origin="http://127.0.0.1:1/x", cache_dir=tmp_path)


def test_the_folder_of_the_environment(origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    assert get_file(origin=origin) == str(tmp_path / "home" / "datasets" / "numbers.bin")
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert get_file(origin=origin, cache_subdir="other") == str(tmp_path / ".keras" / "other" / "numbers.bin")


def tar_of(add: Callable[[tarfile.TarFile], None], path: Path) -> str:
    with tarfile.open(path, "w:gz") as archive:
        add(archive)
    return path.as_uri()


def entry(archive: tarfile.TarFile, name: str, **options: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = 0 if options else 3
    for key, value in options.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(b"abc"))


@pytest.mark.parametrize(
    ("fname", "file", "folder"),
    [
        (None, "d.tgz_archive", "d.tgz"),
        ("a.tar.gz", "a.tar.gz", "a_extracted"),
        ("plain", "plain_archive", "plain"),
    ],
)
def test_archives_are_extracted(tmp_path: Path, fname: str | None, file: str, folder: str) -> None:
    origin = tar_of(lambda archive: entry(archive, "in/x.txt"), tmp_path / "d.tgz")
    path = Path(get_file(fname, origin, cache_dir=tmp_path, extract=True))
    assert path == tmp_path / "datasets" / folder
    assert (path / "in" / "x.txt").read_bytes() == b"abc"
    assert (path.parent / file).exists()
    inode = path.stat().st_ino
    (path / "in" / "more").touch()
    assert get_file(fname, origin, cache_dir=tmp_path, untar=True) == str(path)
    assert path.stat().st_ino == inode  # it is there already
    assert (path / "in" / "more").exists()
    tar_of(lambda archive: entry(archive, "in/y.txt"), tmp_path / "d.tgz")
    get_file(fname, origin, cache_dir=tmp_path, extract=True, force_download=True)
    assert [each.name for each in (path / "in").iterdir()] == ["y.txt"]
    shutil.rmtree(path)
    get_file(fname, origin, cache_dir=tmp_path, extract=True)
    assert [each.name for each in (path / "in").iterdir()] == ["y.txt"]
    assert sorted(each.name for each in path.parent.iterdir()) == sorted(
        [file, folder, f".{folder}.extracted"]
    )


def test_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("in/x.txt", b"abc")
    origin = (tmp_path / "z.zip").as_uri()
    for archive_format in ("auto", "zip", ["tar", "zip"]):
        path = get_file("z.zip", origin, cache_dir=tmp_path, extract=True, archive_format=archive_format)
        assert (Path(path) / "in" / "x.txt").read_bytes() == b"abc"
    for archive_format in (None, "tar"):
        with pytest.warns(UserWarning, match="is no archive of the format"):
            get_file("z.zip", origin, cache_dir=tmp_path, extract=True, archive_format=archive_format)


EVIL: dict[str, Callable[[tarfile.TarFile], None]] = {
    "parent": lambda archive: entry(archive, "../evil"),
    "absolute": lambda archive: entry(archive, "/evil"),
    "deep": lambda archive: entry(archive, "in/../../evil"),
    "drive": lambda archive: entry(archive, "C:\\evil"),
    "link": lambda archive: entry(archive, "x", type=tarfile.SYMTYPE, linkname="../../evil"),
    "hard link": lambda archive: entry(archive, "x", type=tarfile.LNKTYPE, linkname="../evil"),
    "absolute link": lambda archive: entry(archive, "x", type=tarfile.SYMTYPE, linkname="/etc"),
    "device": lambda archive: entry(archive, "x", type=tarfile.FIFOTYPE),
    "link by a link": lambda archive: [
        entry(archive, "a/b/up", type=tarfile.SYMTYPE, linkname="../.."),
        entry(archive, "a/b/out", type=tarfile.SYMTYPE, linkname="up/../../evil"),
    ],
}


def beyond_the_longest_path(archive: tarfile.TarFile) -> None:
    """Adds links whose real path is so long that Python looks at no more of it (CVE-2025-4517), and a file behind them."""
    folder, steps = "d" * 247, "abcdefghijklmnop"
    path = ""
    for step in steps:
        entry(archive, path + folder, type=tarfile.DIRTYPE)
        entry(archive, path + step, type=tarfile.SYMTYPE, linkname=folder)
        path += f"{folder}/"
    short = "/".join(steps)
    long = f"{short}/{'l' * 254}"
    entry(archive, long, type=tarfile.SYMTYPE, linkname="../" * len(steps))
    entry(archive, "escape", type=tarfile.SYMTYPE, linkname=f"{long}/../../..")
    entry(archive, "evil", type=tarfile.LNKTYPE, linkname="escape/evil")
    entry(archive, "evil")


@pytest.mark.parametrize("name", EVIL)
def test_archives_that_leave_their_folder(tmp_path: Path, name: str) -> None:
    origin = tar_of(EVIL[name], tmp_path / "e.tgz")
    with pytest.raises(ValueError, match="extract it by hand, if you trust it"):
        get_file("e.tgz", origin, cache_dir=tmp_path / "cache", extract=True)
    left = {path.name for path in (tmp_path / "cache").rglob("*")}
    assert left == {"datasets", "e.tgz", ".e_extracted.extracted"}  # which says that nothing was extracted
    assert (tmp_path / "cache" / "datasets" / ".e_extracted.extracted").read_bytes() == b""
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "e.tgz"}


def test_an_archive_that_confuses_filters_of_tarfile(tmp_path: Path) -> None:
    (tmp_path / "cache" / "datasets").mkdir(parents=True)
    victim = tmp_path / "cache" / "evil"
    victim.write_bytes(b"before")
    origin = tar_of(beyond_the_longest_path, tmp_path / "e.tgz")
    with pytest.raises((ValueError, OSError)):
        get_file("e.tgz", origin, cache_dir=tmp_path / "cache", extract=True)
    assert victim.read_bytes() == b"before"
    assert not (tmp_path / "cache" / "datasets" / "e_extracted").exists()


def test_a_file_below_a_link(tmp_path: Path) -> None:
    """No file is written through a link, also not to a place within the folder."""

    def add(archive: tarfile.TarFile) -> None:
        entry(archive, "in/x")
        entry(archive, "link", type=tarfile.SYMTYPE, linkname="in")
        entry(archive, "link/x")

    with pytest.raises(OSError, match="link"):
        get_file("l.tgz", tar_of(add, tmp_path / "l.tgz"), cache_dir=tmp_path, extract=True)


# Each process asks for the same archive again and again, and looks whether all of it is there.
ASKING = """
import sys
from pathlib import Path
import engine as keras
keras.config.disable_interactive_logging()
for _ in range(15):
    path = Path(keras.utils.get_file("d.tgz", sys.argv[1], cache_dir=sys.argv[2], extract=True))
    assert len(list(path.iterdir())) == 40, list(path.iterdir())
"""


def test_several_processes_ask_for_one_archive(tmp_path: Path) -> None:
    def add(archive: tarfile.TarFile) -> None:
        for number in range(40):
            entry(archive, f"{number}")

    command = [sys.executable, "-c", ASKING, tar_of(add, tmp_path / "d.tgz"), str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for each in running:
        _, errors = each.communicate()
        assert each.returncode == 0, errors


def test_an_archive_that_is_cut_off(tmp_path: Path) -> None:
    origin = tar_of(lambda archive: [entry(archive, f"{i}" * 99) for i in range(9)], tmp_path / "c.tgz")
    whole = (tmp_path / "c.tgz").read_bytes()
    path = get_file("c.tgz", origin, cache_dir=tmp_path / "cache", extract=True)
    (tmp_path / "c.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is a damaged archive, or not all of one"):
        get_file("c.tgz", origin, cache_dir=tmp_path / "cache", extract=True, force_download=True)
    assert len(list(Path(path).iterdir())) == 9  # what was there before


def test_zip_that_leaves_its_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("../evil", "/evil", "in/../../evil")):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as archive:
            archive.writestr(name, b"abc")
        with pytest.raises(ValueError, match="would lie outside of its folder"):
            get_file(origin=(tmp_path / f"{number}.zip").as_uri(), cache_dir=tmp_path / "cache", extract=True)
    assert not list(tmp_path.rglob("evil"))


def test_links_within_an_archive(tmp_path: Path) -> None:
    def add(archive: tarfile.TarFile) -> None:
        entry(archive, "in/x")
        entry(archive, "in/y", type=tarfile.SYMTYPE, linkname="x")
        entry(archive, "in/z", type=tarfile.LNKTYPE, linkname="in/x")
        entry(archive, "in/deep/up", type=tarfile.SYMTYPE, linkname="../../in")
        entry(archive, "script", size=3, mode=0o755)

    path = Path(get_file("l.tgz", tar_of(add, tmp_path / "l.tgz"), cache_dir=tmp_path, extract=True))
    for name in ("in/y", "in/z", "in/deep/up/x"):
        assert (path / name).read_bytes() == b"abc"
    assert os.access(path / "script", os.X_OK)
    assert not os.access(path / "in" / "x", os.X_OK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`origin` must be the URL"),
        ({"origin": "http://127.0.0.1/"}, "give `fname`"),
        ({"origin": "x", "fname": "a/b"}, "without folders, got 'a/b'"),
        ({"origin": "x", "fname": ".."}, "without folders"),
        ({"origin": "x", "fname": "a\\b"}, "without folders"),
        ({"origin": "file:///x", "hash_algorithm": "crc"}, "`hash_algorithm` must be one of"),
        ({"origin": "file:///x", "extract": True, "archive_format": "rar"}, "`archive_format` must be"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_file(**arguments, cache_dir=tmp_path)


@pytest.mark.parametrize("end", ["", "folder/", "folder/.", "folder/.."])
def test_an_address_without_a_file_is_refused(end: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="Can't parse the file name from the origin"):
        keras.utils.get_file(origin=f"file://{tmp_path}/{end}", cache_dir=tmp_path)
