"""The web server of the demo. It answers only pages and programs on this machine."""

from __future__ import annotations

import json
import sys
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from engine._command.demo.reader import DigitReading

SIDE = 140  # pixels of a drawing as the page sends it, one byte each
_DIGITS = len(str(SIDE * SIDE))  # the number of digits in the length of a request
_HOST = "127.0.0.1"
_PAGES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    # The browser loads nothing but the files above, even if somebody manages to insert text into the page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LARGEST = 127  # the attributions are scaled to integers up to this one for the page


class Server(ThreadingHTTPServer):
    """Serves the page, and reads the drawings that it sends.

    Args:
        port: the port to listen on; 0 takes any free one.

    Attributes:
        about: a sentence about the network, for the page.
        read: reads a drawing.

    Raises:
        OSError: if the port is not available.
    """

    daemon_threads = True
    about = ""
    read: Callable[[NDArray[np.uint8]], DigitReading]

    def __init__(self, port: int) -> None:
        super().__init__((_HOST, port), _Handler)
        number = self.server_address[1]
        self.hosts = {f"{name}:{number}" for name in (_HOST, "localhost")}
        self.url = f"http://{_HOST}:{number}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores errors of connections that a browser has closed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # the types of socketserver


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"  # one connection for all drawings
    server_version, sys_version = "engine", ""
    timeout = 60  # seconds after which an idle connection is closed, so that its thread ends

    def do_GET(self) -> None:
        """Serves a file of the page."""
        if not self._from_here():
            return
        name, kind = _PAGES.get(self.path, ("", ""))
        if not name:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        text = files("engine._command.demo").joinpath("page", name).read_text(encoding="utf-8")
        self._send(text.replace("{about}", escape(self.server.about)).encode(), f"{kind}; charset=utf-8")

    def do_POST(self) -> None:
        """Reads a drawing and answers with the result."""
        if not self._from_here():
            return
        refusal = self._refusal()
        if refusal is not None:
            self.close_connection = True  # the body of the request is not read
            self.send_error(refusal)
            return
        body = self.rfile.read(SIDE * SIDE)
        if len(body) < SIDE * SIDE:
            self.close_connection = True
            return
        reading = self.server.read(np.frombuffer(body, np.uint8).reshape(SIDE, SIDE))
        largest = float(np.abs(reading.attribution).max()) or 1.0
        answer = {
            "probabilities": [round(float(probability), 5) for probability in reading.probabilities],
            "image": reading.image.reshape(-1).tolist(),
            "attribution": np.rint(reading.attribution.reshape(-1) * (_LARGEST / largest))
            .astype(int)
            .tolist(),
        }
        self._send(json.dumps(answer, separators=(",", ":")).encode(), "application/json")

    def _from_here(self) -> bool:
        """Returns whether the request is from this page, and refuses it if not.

        Another page could send requests here, also under a name of its own that it lets point to this machine.
        """
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        here = host in self.server.hosts and origin in (
            None,
            *(f"http://{name}" for name in self.server.hosts),
        )
        if not here:
            self.close_connection = True
            self.send_error(HTTPStatus.FORBIDDEN)
        return here

    def _refusal(self) -> HTTPStatus | None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/read":
            return HTTPStatus.NOT_FOUND
        if not length.isdecimal():
            return HTTPStatus.LENGTH_REQUIRED
        # The number of digits is checked first, since `int` refuses texts of thousands of digits.
        if len(length.lstrip("0")) > _DIGITS or int(length[-_DIGITS:]) > SIDE * SIDE:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if int(length[-_DIGITS:]) < SIDE * SIDE:
            return HTTPStatus.BAD_REQUEST
        # Forms of other pages can't send this type.
        if self.headers.get("Content-Type") != "application/octet-stream":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        return None

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        """Adds the headers that every response has."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing, since a page sends dozens of requests for each drawing."""
