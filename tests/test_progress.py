"""What fit, evaluate and predict print."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from conftest import Blobs, classifier

import engine as keras
from engine import _progress
from engine._progress import Progress

BAR = "━" * 20
COLOR = re.compile(r"\x1b\[\d*m")
# A pace such as 25ms/step, whose number depends on the machine
PACE = r"\d+s \d+(s|ms|us)/step"


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def plain(self) -> str:
        return COLOR.sub("", self.getvalue())


class Clock:
    """Time that passes when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(_progress, "sys", SimpleNamespace(stdout=terminal, modules={}))
    return terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_progress, "time", SimpleNamespace(perf_counter=clock))
    return clock


def test_a_bar_on_a_terminal(terminal: Terminal, clock: Clock) -> None:
    with Progress("auto", 29) as progress:
        progress.restart("Epoch 1/2")
        clock.now = 0.01
        progress.update(1, {"loss": 3.0})
        clock.now = 1.0
        progress.update(10, {"loss": 2.5})
        clock.now = 2.9
        progress.finish({"accuracy": 0.1067, "loss": 0.0005})
    title, rest = terminal.plain().split("\n", 1)
    assert title == "Epoch 1/2"
    assert rest.split("\r") == [
        "",
        f"10/29 {BAR} 1s 100ms/step - loss: 2.5000",
        f"29/29 {BAR} 3s 100ms/step - accuracy: 0.1067 - loss: 5.0000e-04\n",
    ]
    green = "\x1b[32m" + "━" * 6 + "\x1b[0m"
    assert f"{green}\x1b[37m{'━' * 14}\x1b[0m" in terminal.getvalue()


def test_a_shorter_line_covers_a_longer_one(terminal: Terminal, clock: Clock) -> None:
    with Progress(1, 10) as progress:
        clock.now = 1.0
        progress.update(5, {"loss": 0.00001})
        clock.now = 2.0
        progress.finish({"loss": 1.0})
    lines = terminal.plain().split("\r")[1:]
    assert len(lines[1].rstrip("\n")) == len(lines[0])


@pytest.mark.parametrize(
    ("seconds", "steps", "expected"),
    [
        (30.0, 10, "30s 3s/step"),
        (0.25, 10, "0s 25ms/step"),
        (0.0025, 10, "0s 250us/step"),
        (0.0, 10, "0s 0us/step"),
    ],
)
def test_paces(seconds: float, steps: int, expected: str, terminal: Terminal, clock: Clock) -> None:
    with Progress(1, steps) as progress:
        clock.now = seconds
        progress.finish({})
    assert terminal.plain().strip("\r\n") == f"{steps}/{steps} {BAR} {expected}"


@pytest.mark.parametrize(("seconds", "left"), [(10.0, "10s"), (100.0, "1:40"), (4000.0, "1:06:40")])
def test_time_left(seconds: float, left: str, terminal: Terminal, clock: Clock) -> None:
    with Progress(1, 10) as progress:
        clock.now = seconds
        progress.update(5, {})
    assert f" {left} " in terminal.plain()


def test_fit_prints_a_line_per_epoch_off_a_terminal(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    classifier().fit(blobs.x, blobs.y, epochs=2, validation_split=0.2)
    values = r"accuracy: \S+ - loss: \d\.\d{4} - val_accuracy: \S+ - val_loss: \d\.\d{4}"
    line = f"4/4 - {PACE.replace(' ', ' - ')} - {values}"
    assert re.fullmatch(f"Epoch 1/2\n{line}\nEpoch 2/2\n{line}\n", capsys.readouterr().out)


def test_one_epoch_has_no_title(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    classifier().fit(blobs.x, blobs.y, verbose=2)
    assert "Epoch" not in capsys.readouterr().out


def test_a_bar_off_a_terminal_is_printed_once(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    classifier(metrics=None).fit(blobs.x, blobs.y, verbose=1)
    assert re.fullmatch(rf"5/5 {BAR} {PACE} - loss: \d\.\d{{4}}\n", capsys.readouterr().out)


def test_fit_shows_a_bar_on_a_terminal(blobs: Blobs, terminal: Terminal) -> None:
    classifier().fit(blobs.x, blobs.y, epochs=2, validation_split=0.2)
    bar = rf"\r4/4 {BAR} {PACE} - accuracy: [^\n]* - loss: [^\n]* - val_accuracy: [^\n]* - val_loss: [^\n]*\n"
    assert re.fullmatch(f"Epoch 1/2\n{bar}Epoch 2/2\n{bar}", terminal.plain())


def test_a_long_epoch_moves_its_bar(blobs: Blobs, terminal: Terminal) -> None:
    model = classifier()
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            blobs.x, blobs.y, batch_size=1, epochs=2000, callbacks=[_interrupt_after(terminal, 3)], verbose=1
        )
    assert terminal.plain().endswith("\n")


def _interrupt_after(terminal: Terminal, lines: int) -> keras.callbacks.Callback:
    def check(batch: int, logs: object) -> None:
        if terminal.getvalue().count("\r") >= lines:
            raise KeyboardInterrupt

    return keras.callbacks.LambdaCallback(on_train_batch_end=check)


def test_silence(blobs: Blobs, terminal: Terminal) -> None:
    model = classifier()
    model.fit(blobs.x, blobs.y, verbose=0)
    model.evaluate(blobs.x, blobs.y)
    model.predict(blobs.x)
    assert terminal.getvalue() == ""


def test_evaluate_and_predict_print_when_told(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    model = classifier(metrics=None)
    model.evaluate(blobs.x, blobs.y, verbose=1)
    assert re.fullmatch(rf"5/5 {BAR} {PACE} - loss: \d\.\d{{4}}\n", capsys.readouterr().out)
    model.evaluate(blobs.x, blobs.y, batch_size=100, verbose=2)
    assert re.fullmatch(rf"2/2 - {PACE.replace(' ', ' - ')} - loss: \d\.\d{{4}}\n", capsys.readouterr().out)
    model.predict(blobs.x, verbose=1)
    assert re.fullmatch(rf"5/5 {BAR} {PACE}\n", capsys.readouterr().out)


def test_evaluate_and_predict_lose_patience(terminal: Terminal, clock: Clock) -> None:
    with Progress("auto", 10, patience=0.5) as progress:
        clock.now = 0.4
        progress.update(4, {})
        assert terminal.getvalue() == ""
        clock.now = 0.6
        progress.update(6, {})
        assert " 6/10 " in terminal.plain()
        progress.finish({})
    assert "10/10" in terminal.plain()


def test_steps_per_epoch_count_from_their_own_start(blobs: Blobs, terminal: Terminal, clock: Clock) -> None:
    def pass_time(*_: object) -> None:
        clock.now += 1.0

    tick = keras.callbacks.LambdaCallback(on_train_batch_end=pass_time)
    classifier().fit(blobs.x, blobs.y, batch_size=30, steps_per_epoch=2, epochs=2, callbacks=[tick])
    counts = re.findall(r"(\d)/2 ━", terminal.plain())
    assert counts == ["1", "2", "2", "1", "2", "2"]


def test_what_the_terminal_cannot_show_is_replaced() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    _progress.write(out, "5/5 ━━ loss")
    out.seek(0)
    assert out.read() == "5/5 ?? loss"
