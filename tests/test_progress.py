"""Tests of what fit, evaluate and predict print."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from conftest import Blobs, classifier

import engine as keras
from engine._printing import progress as progress_module
from engine._printing.progress import Progress

BAR = "━" * 20
COLOR = re.compile(r"\x1b\[\d*m|\x08")
COLOR_CODE = re.compile(r"\x1b\[\d*m")
# A time such as 25ms/step, which depends on the machine
PACE = r"\d+s \d+(s|ms|us)/step"


class Terminal(io.StringIO):
    """A standard output that claims to be a terminal."""

    def isatty(self) -> bool:
        return True

    def plain(self) -> str:
        return COLOR.sub("", self.getvalue())


class Clock:
    """A clock that tests set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(progress_module, "sys", SimpleNamespace(stdout=terminal, modules={}))
    return terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(time=clock))
    return clock


def test_a_bar(terminal: Terminal, clock: Clock) -> None:
    with Progress("auto", 29) as progress:
        progress.restart("Epoch 1/2")
        clock.now += 0.5
        progress.update(1, {"loss": 3.0})
        clock.now += 0.01
        progress.update(2, {"loss": 2.9})
        clock.now += 0.89
        progress.update(10, {"loss": 2.5})
        clock.now += 1.9
        progress.finish({"accuracy": 0.1067, "loss": 0.0005}, 29)
    title, rest = terminal.plain().split("\n", 1)
    assert title == "Epoch 1/2"
    assert rest.split("\r") == [
        "",
        f" 1/29 {BAR} 14s 500ms/step - loss: 3.0000",
        f"10/29 {BAR} 1s 100ms/step - loss: 2.5000 ",
        f"29/29 {BAR} 3s 100ms/step - loss: 5.0000e-04 - accuracy: 0.1067\n",
    ]
    green = "\x1b[32m" + "━" * 6 + "\x1b[0m"
    assert f"{green}\x1b[37m{'━' * 14}\x1b[0m" in terminal.getvalue()


class Notebook(io.StringIO):
    """The standard output of ipykernel. It is no terminal, but handles carriage returns."""

    def shown(self) -> list[str]:
        """Returns the lines that Jupyter shows."""
        lines = COLOR_CODE.sub("", self.getvalue()).split("\n")
        for number, line in enumerate(lines):
            shown = ""
            for part in line.split("\r"):
                shown = part + shown[len(part) :]
            lines[number] = shown.rstrip()
        return lines


def test_a_notebook_shows_a_bar_per_epoch(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook()
    monkeypatch.setattr(progress_module, "sys", SimpleNamespace(stdout=notebook, modules={"ipykernel": None}))
    model = classifier()
    model.fit(blobs.x, blobs.y, epochs=2, validation_split=0.2)
    values = r" - accuracy: \S+ - loss: \S+ - val_accuracy: \S+ - val_loss: \S+"
    titles, bars = notebook.shown()[:4:2], notebook.shown()[1:4:2]
    assert titles == ["Epoch 1/2", "Epoch 2/2"]
    assert all(re.fullmatch(rf"4/4 {BAR} {PACE}{values}", bar) for bar in bars)
    assert notebook.shown()[4:] == [""]
    assert notebook.getvalue().count("\r") > 2
    assert "\b" not in notebook.getvalue()
    model.evaluate(blobs.x, blobs.y)
    bar, last = notebook.shown()[4:]
    assert re.fullmatch(rf"5/5 {BAR} {PACE} - accuracy: \S+ - loss: \S+", bar)
    assert last == ""


def test_a_notebook_is_not_flooded(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    notebook = Notebook()
    monkeypatch.setattr(progress_module, "sys", SimpleNamespace(stdout=notebook, modules={"ipykernel": None}))
    with Progress("auto", 100) as progress:
        for step in range(1, 100):
            clock.now += 0.01
            progress.update(step, {})
        progress.finish({}, 100)
    assert notebook.getvalue().count("\r") <= 1 + 1 / progress_module.NOTEBOOK_INTERVAL + 1


def test_a_shorter_line_covers_a_longer_one(terminal: Terminal, clock: Clock) -> None:
    with Progress(1, 10) as progress:
        clock.now += 1.0
        progress.update(5, {"loss": 0.00001})
        clock.now += 1.0
        progress.finish({"loss": 1.0}, 10)
    lines = terminal.plain().split("\r")[1:]
    assert len(lines[1].rstrip("\n")) == len(lines[0])


@pytest.mark.parametrize(
    ("seconds", "steps", "expected"),
    [
        (30.0, 10, "30s 3s/step"),
        (0.25, 10, "0s 25ms/step"),
        (0.0025, 10, "0s 250us/step"),
        (0.0, 10, "0s 0s/step"),
    ],
)
def test_paces(seconds: float, steps: int, expected: str, terminal: Terminal, clock: Clock) -> None:
    with Progress(1, steps) as progress:
        clock.now += seconds
        progress.finish({}, steps)
    assert terminal.plain().strip("\r\n") == f"{steps}/{steps} {BAR} {expected}"


@pytest.mark.parametrize(("seconds", "left"), [(10.0, "10s"), (100.0, "1:40"), (4000.0, "1:06:40")])
def test_time_left(seconds: float, left: str, terminal: Terminal, clock: Clock) -> None:
    with Progress(1, 10) as progress:
        clock.now += seconds
        progress.update(5, {})
    assert f" {left} " in terminal.plain()


def test_steps_that_nobody_knows_are_counted_in_the_first_pass(terminal: Terminal, clock: Clock) -> None:
    with Progress(1, None) as progress:
        progress.update(3, {})
        progress.finish({}, 7)
        progress.restart()
        clock.now += 1.0
        progress.update(3, {})
    assert (
        terminal.plain() == f"\r      3/Unknown 0s 0s/step\r7/7 {BAR} 0s 0s/step\n\r3/7 {BAR} 1s 333ms/step\n"
    )


def test_progbar_averages_what_is_not_stateful(terminal: Terminal, clock: Clock) -> None:
    bar = keras.utils.Progbar(4, verbose=2, stateful_metrics=["best"], unit_name="sample")
    bar.add(2, [("loss", 1.0), ("best", 5.0)])
    clock.now += 4.0
    bar.add(2, [("loss", 2.0), ("best", 6.0), ("note", "late")])
    assert terminal.getvalue() == "4/4 - 4s - 1s/sample - loss: 2.0000 - best: 6.0000 - note: late\n"
    bar = keras.utils.Progbar(4, interval=0.0)
    bar.update(2, [("loss", 1.0)])
    bar.update(3, [("loss", 4.0)])
    assert terminal.plain().endswith("loss: 2.0000")
    with pytest.raises(ValueError, match="give `stateful_metrics` or `stateless_metrics`, not both"):
        keras.utils.Progbar(4, stateful_metrics=[], stateless_metrics=[])


def test_fit_prints_a_line_per_epoch(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    classifier().fit(blobs.x, blobs.y, epochs=2, verbose=2, validation_split=0.2)
    values = r"accuracy: \S+ - loss: \d\.\d{4} - val_accuracy: \S+ - val_loss: \d\.\d{4}"
    line = f"4/4 - {PACE.replace(' ', ' - ')} - {values}"
    assert re.fullmatch(f"Epoch 1/2\n{line}\nEpoch 2/2\n{line}\n", capsys.readouterr().out)


def test_one_epoch_has_no_title(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    classifier().fit(blobs.x, blobs.y, verbose=2)
    assert "Epoch" not in capsys.readouterr().out


def test_fit_shows_a_bar(blobs: Blobs, terminal: Terminal) -> None:
    classifier().fit(blobs.x, blobs.y, epochs=2, validation_split=0.2)
    values = r" - accuracy: \S+ - loss: \S+"
    first = rf"\r1/4 {BAR} {PACE}{values}"
    last = rf"\r4/4 {BAR} {PACE}{values} - val_accuracy: \S+ - val_loss: \S+ *\n"
    assert re.fullmatch(f"Epoch 1/2\n{first}{last}Epoch 2/2\n{first}{last}", terminal.plain())


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
    model.evaluate(blobs.x, blobs.y, verbose=0)
    model.predict(blobs.x)
    assert terminal.getvalue() == ""


def test_evaluate_and_predict_print_when_told(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    model = classifier(metrics=None)
    model.evaluate(blobs.x, blobs.y, verbose=1)
    shown = COLOR.sub("", capsys.readouterr().out)
    assert re.search(rf"\r5/5 {BAR} {PACE} - loss: \d\.\d{{4}} *\n$", shown)
    model.evaluate(blobs.x, blobs.y, batch_size=100, verbose=2)
    assert re.fullmatch(rf"2/2 - {PACE.replace(' ', ' - ')} - loss: \d\.\d{{4}}\n", capsys.readouterr().out)
    model.predict(blobs.x, verbose=1)
    assert re.search(rf"\r5/5 {BAR} {PACE} *\n$", COLOR.sub("", capsys.readouterr().out))


def test_evaluate_prints_its_result(
    blobs: Blobs, terminal: Terminal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = classifier()
    model.evaluate(blobs.x, blobs.y)
    shown = COLOR.sub("", terminal.getvalue())
    assert re.search(rf"\r5/5 {BAR} {PACE} - accuracy: \S+ - loss: \S+ *\n$", shown)
    monkeypatch.undo()  # from here on, the output is no terminal
    model.evaluate(blobs.x, blobs.y)
    line = rf"5/5 - {PACE.replace(' ', ' - ')} - accuracy: \S+ - loss: \S+\n"
    assert re.fullmatch(line, capsys.readouterr().out)


def test_a_log_file_gets_lines(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    classifier(metrics=None).fit(blobs.x, blobs.y, epochs=2)
    line = rf"5/5 - {PACE.replace(' ', ' - ')} - loss: \d\.\d{{4}}\n"
    assert re.fullmatch(rf"Epoch 1/2\n{line}Epoch 2/2\n{line}", capsys.readouterr().out)


def test_evaluate_and_predict_lose_patience(terminal: Terminal, clock: Clock) -> None:
    with Progress("auto", 10, patience=0.5) as progress:
        clock.now += 0.4
        progress.update(4, {})
        assert terminal.getvalue() == ""
        clock.now += 0.2
        progress.update(6, {})
        assert " 6/10 " in terminal.plain()
        progress.finish({}, 10)
    assert "10/10" in terminal.plain()


def test_steps_per_epoch_count_from_their_own_start(blobs: Blobs, terminal: Terminal, clock: Clock) -> None:
    def pass_time(*_: object) -> None:
        clock.now += 1.0

    tick = keras.callbacks.LambdaCallback(on_train_batch_end=pass_time)
    classifier().fit(blobs.x, blobs.y, batch_size=30, steps_per_epoch=2, epochs=2, callbacks=[tick])
    counts = re.findall(r"(\d)/2 ━", terminal.plain())
    assert counts == ["1", "2", "2", "1", "2", "2"]


def test_what_the_terminal_cannot_show_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(progress_module, "sys", SimpleNamespace(stdout=out))
    progress_module.print_message("5/5 ━━ lösung", end="")
    out.seek(0)
    assert out.read() == "5/5 == lsung"


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_without_a_console_nothing_is_printed(
    verbose: int | str, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = classifier()
    monkeypatch.setattr("sys.stdout", None)
    model.summary()
    assert model.fit(blobs.x, blobs.y, verbose=verbose).epoch == [0]


def test_callbacks_may_log_text(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logs.update(note="fine"))
    classifier().fit(blobs.x, blobs.y, verbose=2, callbacks=[note])
    assert "note: fine" in capsys.readouterr().out


def test_messages_may_go_to_a_logger(
    blobs: Blobs, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", "engine")
    keras.config.disable_interactive_logging()
    try:
        assert not keras.config.is_interactive_logging_enabled()
        classifier().fit(blobs.x, blobs.y, verbose=2)
    finally:
        keras.config.enable_interactive_logging()
    assert keras.config.is_interactive_logging_enabled()
    assert capsys.readouterr().out == ""
    assert "5/5 - 0s" in caplog.text
