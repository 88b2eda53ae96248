"""Tests of the command `engine demo`, and of its server with unexpected requests."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import enlarged

import engine as keras
from engine import cli
from engine._command.demo.reader import DigitReader
from engine._command.demo.server import SIDE, Server

PAGE = files("engine._command.demo").joinpath("page")


def ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        kinds = {"Content-Type": "application/octet-stream"} if body is not None else {}
        connection.request(
            method, path, body, kinds | {name.replace("_", "-"): text for name, text in headers.items()}
        )
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_the_page(server: Server) -> None:
    response, body = ask(server, "GET", "/")
    assert response.status == 200
    assert b"Trained &lt;b&gt;well&lt;/b&gt;." in body
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path, kind in (("/page.js", "text/javascript"), ("/page.css", "text/css")):
        response, body = ask(server, "GET", path)
        assert (response.status, response.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert body


def test_the_page_is_small_and_asks_nobody() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGE.iterdir()]
    assert sum(map(len, texts)) < 16 * 2**10
    assert not re.search(r"https?://|\son\w+=|style=", "".join(texts))


def test_a_drawing(server: Server) -> None:
    _, (images, labels) = keras.datasets.mnist.load_data()
    response, body = ask(server, "POST", "/read", enlarged(images[0], 4, (9, 9)).tobytes())
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    answer = json.loads(body)
    assert np.argmax(answer["probabilities"]) == labels[0]
    assert (len(answer["image"]), len(answer["attribution"])) == (784, 784)
    assert max(map(abs, answer["attribution"])) == 127


BODY = bytes(SIDE * SIDE)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/", None, {"Host": "evil.example"}, 403),
        ("GET", "/", None, {"Host": "127.0.0.1:1"}, 403),
        ("GET", "/", None, {"Origin": "https://evil.example"}, 403),
        ("GET", "/../server.py", None, {}, 404),
        ("GET", "/page/index.html", None, {}, 404),
        ("GET", "/read", None, {}, 404),
        ("PUT", "/read", BODY, {}, 501),
        ("POST", "/", BODY, {}, 404),
        ("POST", "/read", BODY, {"Host": "evil.example"}, 403),
        ("POST", "/read", BODY, {"Origin": "null"}, 403),
        ("POST", "/read", BODY[1:], {}, 400),
        ("POST", "/read", BODY + b"x", {}, 413),
        ("POST", "/read", b"", {"Content-Length": "999999999999"}, 413),
        ("POST", "/read", b"", {"Content-Length": "-5"}, 411),
        ("POST", "/read", b"", {"Content-Length": "\u0660"}, 411),
        ("POST", "/read", None, {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/read", BODY, {"Content-Type": "text/plain"}, 415),
    ],
)
def test_strangers(  # noqa: PLR0917 # arguments of the parametrized test
    method: str, path: str, body: bytes | None, headers: dict[str, Any], status: int, server: Server
) -> None:
    response, text = ask(
        server,
        method,
        path,
        body,
        **{name: value.encode("utf-8") if not value.isascii() else value for name, value in headers.items()},
    )
    assert response.status == status
    assert "Content-Security-Policy" in response.headers
    assert b"evil" not in text
    assert ask(server, "GET", "/")[0].status == 200  # it goes on


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("POST /read HTTP/1.1", {"Content-Length": "9" * 5000}, 413),
        ("POST /read HTTP/1.1", {"Content-Length": "0" * 5000}, 400),
        ("POST /read HTTP/1.1", {"Content-Length": "0" * 5000 + "19599"}, 400),
        ("POST /read HTTP/1.1", {"Content-Length": "0" * 5000 + "19601"}, 413),
        ("POST /read HTTP/1.1", {"Content-Length": "1" + "0" * 5000 + "19600"}, 413),
        ("POST /read HTTP/1.1", {"Content-Length": "1e5"}, 411),
        ("POST /read HTTP/1.1", {"Content-Length": ""}, 411),
        ("POST /read HTTP/1.1", {"Content-Length": "+19600"}, 411),
        ("POST /read HTTP/1.1", {"Content-Length": "19_600"}, 411),
        ("POST /read HTTP/1.1", {"Content-Length": "\xb2"}, 411),
        ("GET / HTTP/" + "9" * 5000 + ".1", {}, 400),
        ("GET / HTTP/1." + "9" * 5000, {}, 400),
        ("GET / HTTP/-1.-1", {}, 400),
        ("GET /" + "a" * 70_000 + " HTTP/1.1", {}, 414),
        ("GET / HTTP/1.1", {"X": "a" * 70_000}, 431),
        ("GET / HTTP/1.1", {f"X{number}": "1" for number in range(200)}, 431),
        ("GET / HTTP/1.1", {"Host": "9" * 5000}, 403),
        ("POST /read HTTP/1.1", {"Origin": "http://127.0.0.1:" + "9" * 5000}, 403),
    ],
)
def test_numbers_that_are_none(
    line: str, headers: dict[str, str], status: int, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    host = {"Host": f"127.0.0.1:{server.server_address[1]}", "Content-Type": "application/octet-stream"}
    text = "\r\n".join([line, *(f"{name}: {value}" for name, value in (host | headers).items()), "", ""])
    with socket.create_connection(server.server_address[:2], timeout=10) as connection:
        connection.sendall(text.encode("latin-1"))
        answer = connection.recv(2**12)
    # A request with an invalid version is answered as in HTTP/0.9, without a status line.
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()) or b"Bad request version" in answer
    assert ask(server, "GET", "/")[0].status == 200  # it goes on
    assert capsys.readouterr().err == ""


def test_a_length_with_zeros_before(server: Server) -> None:
    response, _ = ask(server, "POST", "/read", BODY, Content_Length="0" * 5000 + str(SIDE * SIDE))
    assert response.status == 200


def test_own_names_are_welcome(server: Server) -> None:
    port = server.server_address[1]
    for name in (f"localhost:{port}", f"127.0.0.1:{port}"):
        response, _ = ask(server, "POST", "/read", BODY, Host=name, Origin=f"http://{name}")
        assert response.status == 200


def test_half_a_drawing(server: Server) -> None:
    with socket.create_connection(server.server_address[:2], timeout=10) as connection:
        head = f"POST /read HTTP/1.1\r\nHost: 127.0.0.1:{server.server_address[1]}\r\nContent-Length: {SIDE * SIDE}\r\n"
        connection.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\nabc".encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert ask(server, "GET", "/")[0].status == 200


def test_only_this_machine(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


# The command


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_ports_that_are_none(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        cli.main(["demo", f"--port={port}"])
    assert error.value.code == 2
    assert (
        f"argument --port: expected a whole number from 0 to 65535, got '{port}'" in capsys.readouterr().err
    )


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert cli.main(["demo", "--port", str(port), "--no-browser"]) == 1
    output = capsys.readouterr()
    assert output.out == ""  # the error comes before the training
    assert output.err.startswith(f"engine demo: error: can't listen on port {port}: ")
    assert "give another with --port" in output.err


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """Returns the servers that the command makes. They stop at once instead of serving."""
    made: list[Server] = []

    def stop(server: Server) -> None:
        made.append(server)
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", stop)
    return made


def test_a_saved_model(
    at_once: list[Server], reader: DigitReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "digits.npz"
    reader._model.save(path)
    assert cli.main(["demo", "--model", str(path), "--port", "0", "--no-browser"]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"The network of {path}.\nDraw on http://127.0.0.1:")
    _, (images, _) = keras.datasets.mnist.load_data()
    drawing = enlarged(images[0], 4, (9, 9))
    np.testing.assert_array_equal(at_once[0].read(drawing).probabilities, reader(drawing).probabilities)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.npz", "File not found"),
        ("text.npz", "text.npz"),
        ("model.doc", "model.doc"),
        ("wrong.npz", "must take images"),
    ],
)
def test_models_that_are_none(
    name: str, message: str, at_once: list[Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.npz").write_text("no model")
    (tmp_path / "model.doc").write_text("no model")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "wrong.npz")
    assert cli.main(["demo", "--model", str(tmp_path / name), "--port", "0", "--no-browser"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("engine demo: error: ")
    assert message in output.err
    assert "Traceback" not in output.err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_from_start_to_ctrl_c() -> None:
    # A test run in the background inherits an ignored SIGINT; the command must not.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from engine.cli import main; sys.exit(main(['demo', '--port', '0', '--no-browser']))"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            found = re.fullmatch(r"Draw on http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends this\)\n", lines[2])
            assert found is not None, lines
            assert "others right" in lines[1]
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
            connection.request("GET", "/")
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, output, errors) == (0, "\nstopped\n", "")
