"""Compares callbacks with Keras: epochs, learning rates, weights and files."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from common import compiled
from twins import Twins, assert_same_histories, twins

Callbacks = Callable[[Any], list[Any]]


def make(api: Any) -> Any:
    model = api.Sequential([api.Input((6,)), api.layers.Dense(8, "relu"), api.layers.Dense(3, "softmax")])
    return compiled(model, api.optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])


def both(callbacks: Callbacks, **options: Any) -> tuple[Twins, Any, Any]:
    """Trains both models with callbacks of their libraries. Returns the models and the histories."""
    import keras

    import engine

    rng = np.random.default_rng(1)
    x, y = rng.random((60, 6), np.float32), rng.integers(0, 3, 60)
    pair = twins(make)
    results = [
        model.fit(
            x,
            y,
            verbose=0,
            shuffle=False,
            validation_split=0.25,
            callbacks=callbacks(api),
            **({"epochs": 8} | options),
        )
        for model, api in ((pair.keras, keras), (pair.engine, engine))
    ]
    return pair, *results


CASES: dict[str, Callbacks] = {
    "stop": lambda api: [api.callbacks.EarlyStopping(min_delta=0.01, patience=1)],
    "stop on accuracy": lambda api: [api.callbacks.EarlyStopping("val_accuracy", patience=2)],
    "restore": lambda api: [
        api.callbacks.EarlyStopping(min_delta=0.01, patience=2, restore_best_weights=True, start_from_epoch=1)
    ],
    "restore without a stop": lambda api: [
        api.callbacks.EarlyStopping("loss", mode="max", patience=99, restore_best_weights=True)
    ],
    "baseline": lambda api: [api.callbacks.EarlyStopping("loss", baseline=0.1, patience=3)],
    "plateau": lambda api: [api.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=0.05, cooldown=1)],
    "plateau to a limit": lambda api: [
        api.callbacks.ReduceLROnPlateau("accuracy", patience=1, min_delta=1, min_lr=0.01)
    ],
    "schedule": lambda api: [api.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8)],
    "old schedule": lambda api: [api.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))],
    "together": lambda api: [
        api.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8),
        api.callbacks.TerminateOnNaN(),
        api.callbacks.EarlyStopping(min_delta=0.02),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_same_training(case: str) -> None:
    pair, theirs, ours = both(CASES[case])
    assert ours.epoch == theirs.epoch
    assert_same_histories(theirs.history, ours.history)
    pair.assert_same_weights()


@pytest.mark.parametrize(
    "options", [{}, {"validation_freq": 2}, {"validation_freq": [1, 3]}, {"initial_epoch": 6}]
)
def test_same_epochs(options: dict[str, Any]) -> None:
    pair, theirs, ours = both(lambda api: [], **options)
    assert (ours.epoch, ours.params) == (theirs.epoch, theirs.params)
    assert_same_histories(theirs.history, ours.history)
    pair.assert_same_weights()


@pytest.mark.parametrize("append", [False, True])
def test_same_csv(append: bool, tmp_path: Path) -> None:
    def log(api: Any) -> list[Any]:
        names.append(tmp_path / api.__name__)
        names[-1].write_text("epoch;earlier\n" if append else "")
        return [
            api.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: logs.update(loss=epoch / 4, val_loss=1.0)
            ),
            api.callbacks.CSVLogger(str(names[-1]), separator=";", append=append),
        ]

    names: list[Path] = []
    both(log, epochs=3)
    theirs, ours = (
        [line.split(b";") for line in name.read_bytes().splitlines(keepends=True)] for name in names
    )
    assert [line[:1] + line[2:3] + line[4:] for line in ours] == [
        line[:1] + line[2:3] + line[4:] for line in theirs
    ]


def test_same_order_of_hooks() -> None:
    calls: dict[str, list[tuple[Any, ...]]] = {}

    def watch(api: Any) -> list[Any]:
        seen = calls.setdefault(api.__name__, [])

        class Watch(api.callbacks.Callback):  # of either library
            def __getattribute__(self, name: str) -> Any:
                value = super().__getattribute__(name)
                if not name.startswith("on_") or name in ("on_batch_begin", "on_batch_end"):
                    return value

                def note(*given: Any, logs: Any = None) -> None:
                    *numbers, last = (*given, logs) if logs is not None else given
                    seen.append((name, *numbers, *sorted(last or {})))

                return note

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                """Receives batches."""

            on_train_batch_begin = on_test_batch_begin = on_test_batch_end = on_train_batch_end

        return [Watch()]

    both(watch, epochs=2, batch_size=20)
    assert calls["engine"] == calls["keras"]


@pytest.mark.parametrize("swap_on_epoch", [False, True])
@pytest.mark.parametrize("overwrite", [None, 3])
def test_same_averages(swap_on_epoch: bool, overwrite: int | None) -> None:
    import keras

    import engine

    def averaged(api: Any) -> Any:
        model = make(api)
        optimizer = api.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=overwrite)
        return compiled(model, optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])

    rng = np.random.default_rng(1)
    x, y = rng.random((60, 6), np.float32), rng.integers(0, 3, 60)
    pair = twins(averaged)
    histories = [
        model.fit(
            x, y, epochs=3, verbose=0, shuffle=False, validation_data=(x, y),
            callbacks=[api.callbacks.SwapEMAWeights(swap_on_epoch)],
        ).history
        for model, api in ((pair.keras, keras), (pair.engine, engine))
    ]  # fmt: skip
    assert_same_histories(*histories)
    pair.assert_same_weights()


class Requests(BaseHTTPRequestHandler):
    """Records posted data."""

    received: ClassVar[list[tuple[str, Any, bytes]]] = []
    status = 200

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers, content))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """Yields the URL of a web server that answers with `Requests.status`."""
    with HTTPServer(("127.0.0.1", 0), Requests) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        Requests.received.clear()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("as_json", [False, True])
def test_remote_monitor(server: str, as_json: bool, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras posts with the package `requests`, which may be missing."""
    from keras.src.callbacks import remote_monitor

    posted: list[tuple[Any, ...]] = []

    def post(url: str, data: Any = None, json: Any = None, headers: Any = None) -> None:
        posted.append((url, data, json, headers))

    errors = SimpleNamespace(RequestException=OSError)
    monkeypatch.setattr(remote_monitor, "requests", SimpleNamespace(post=post, exceptions=errors))
    monkeypatch.setattr(Requests, "status", status)
    headers = {"X-Run": "7"}
    both(
        lambda api: [
            api.callbacks.RemoteMonitor(server, "/here", "logs", headers=headers, send_as_json=as_json)
        ],
        epochs=2,
    )
    assert len(posted) == 2
    for (url, data, document, theirs), (path, ours, content) in zip(posted, Requests.received, strict=True):
        assert (url, theirs) == (server + path, headers)
        assert ours["X-Run"] == "7"
        kind = "json" if as_json else "x-www-form-urlencoded"
        assert ours["Content-Type"] == f"application/{kind}"
        expected = document if as_json else json.loads(data["logs"])
        text = content.decode()
        found = json.loads(text if as_json else urllib.parse.parse_qs(text)["logs"][0])
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-4)


def test_remote_monitor_without_a_server() -> None:
    import engine

    with HTTPServer(("127.0.0.1", 0), Requests) as http:
        root = f"http://127.0.0.1:{http.server_port}"  # nothing answers after it is closed
    monitor = engine.callbacks.RemoteMonitor(root)
    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server at http://127"):
        monitor.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(ValueError, match="`root` must be the address of a server"):
        engine.callbacks.RemoteMonitor("file:///etc")


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_progress_by_a_callback(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The callback replaces the default progress bar, and shows the same."""
    texts = []
    import engine

    for callbacks in ([], [engine.callbacks.ProgbarLogger()]):
        model = make(engine)
        x, y = np.ones((20, 6), np.float32), np.zeros(20)
        options: dict[str, Any] = {"verbose": verbose, "callbacks": callbacks, "batch_size": 4}
        model.fit(x, y, epochs=2, validation_split=0.4, **options)
        model.evaluate(x, y, **options)
        model.predict(x, **options)
        lines = capsys.readouterr().out.replace("\r", "\n").split("\n")
        plain = [re.sub(r"\d+(us|ms|s)|\d\.\d+(e-\d+)?|[\b ]+|\x1b\[\d*m", "", line) for line in lines]
        # Without times, numbers and overwritten text.
        kept = [line for line in plain if line and not re.match(r"[1-4]/5|[12]/3", line)]
        texts.append([line for line, _ in groupby(kept)])
    assert texts[1] == texts[0]
    assert bool(texts[0]) == bool(verbose)


def test_a_subclass_of_the_progress_callback() -> None:
    import keras

    import engine

    counts = []
    for api in (keras, engine):

        class Counts(api.callbacks.ProgbarLogger):  # type: ignore[misc, name-defined] # of either library
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                super().on_epoch_end(epoch, logs)
                counts.append((self.seen, self.target, self.epochs))

        model = make(api)
        model.fit(
            np.ones((20, 6), np.float32),
            np.zeros(20),
            batch_size=8,
            epochs=2,
            verbose=0,
            callbacks=[Counts()],
        )
    assert counts[:2] == counts[2:] == [(3, 3, 2)] * 2
