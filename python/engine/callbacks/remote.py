"""A callback that sends the logs of every epoch to a server."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine._base.checks import flag, require
from engine.callbacks.base import Callback, Logs

# The number of seconds that training waits for the server.
_PATIENCE = 30.0


class RemoteMonitor(Callback):
    """Sends the logs of every epoch, and its number `epoch` from 0, by an HTTP POST.

    A server that can't be reached is a warning; what it answers has no effect.

    Args:
        root: the server, "http://..." or "https://...".
        path: joined to `root`.
        field: name of the form's field that holds the logs as JSON, unless `send_as_json`.
        headers: of the request, by name.
        send_as_json: whether the JSON is the content of the request itself.

    Raises:
        ValueError: if `root` is no address of a web server.
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        if urllib.parse.urlsplit(str(root)).scheme not in ("http", "https"):
            msg = f"`root` must be the address of a server such as 'http://localhost:9000', got {root!r}"
            raise ValueError(msg)
        require(str, path, "path", "a string")
        require(str, field, "field", "a string")
        require(Mapping, headers, "headers", "a dict of strings")
        self.root, self.path, self.field = root, path, field
        self.headers = headers
        self.send_as_json = flag(send_as_json, "send_as_json")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Sends the logs."""
        values = {name: _plain(value) for name, value in (logs or {}).items()}
        text = json.dumps({"epoch": epoch, **values})
        if self.send_as_json:
            content, kind = text, "application/json"
        else:
            content, kind = urllib.parse.urlencode({self.field: text}), "application/x-www-form-urlencoded"
        headers = {"Content-Type": kind, **(self.headers or {})}
        request = urllib.request.Request(self.root + self.path, content.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE):
                pass
        except urllib.error.HTTPError as answer:
            answer.close()
        except OSError as error:
            warnings.warn(f"Could not reach RemoteMonitor root server at {self.root}: {error}", stacklevel=2)


def _plain(value: Any) -> Any:
    """Returns an array as a list, and one of one number as this number, as Keras does."""
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    return value.item() if value.size == 1 else value.tolist()
