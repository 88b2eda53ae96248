"""Tests of the command `engine` as users run it, and of its picture."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import cli
from engine._command import mnist_training
from engine._core_interface.cpp import build_info

QUICK = ("--epochs", "1", "--batch-size", "200")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def run(
    *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(environment or {})},
    )


def value(output: str, name: str) -> str:
    """Returns the text of the line `name` of the output."""
    found = re.search(rf"^{name} +(.+)$", output, flags=re.MULTILINE)
    assert found is not None, output
    return found[1]


def png_size(path: Path) -> tuple[int, int]:
    start = path.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", start[16:24])
    return width, height


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m engine {command}'],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("command", ["info", f"mnist {' '.join(QUICK)} --no-report"])
def test_output_that_can_not_be_written(command: str) -> None:
    result = shell(f"{command} > /dev/full")
    assert result.returncode == 1
    assert result.stderr == "engine: error: [Errno 28] No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="a shell closes it")
def test_output_that_is_closed() -> None:
    result = shell("info >&-")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="a shell makes the pipe")
def test_a_reader_that_has_seen_enough() -> None:
    result = shell(f"mnist {' '.join(QUICK)} --no-report | true")
    assert result.stderr == ""


def test_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"mlp-engine {build_info()['version']}\n")


@pytest.mark.parametrize(
    "arguments", [("--help",), ("mnist", "--help"), ("info", "--help"), ("demo", "--help")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_help(arguments: tuple[str, ...], encoding: str) -> None:
    result = run(*arguments, environment={"PYTHONIOENCODING": encoding})
    assert result.returncode == 0
    assert result.stdout.startswith("usage: engine")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("train",), "invalid choice: 'train'"),
        (("mnist", "--epochs", "0"), "--epochs: expected a whole number from 1 to 2147483647, got '0'"),
        (("mnist", "--epochs", "1.5"), "argument --epochs: expected a whole number"),
        (("mnist", "--batch-size", "-1"), "argument --batch-size: expected a whole number from 1"),
        (("mnist", "--seed", "abc"), "--seed: expected a whole number from 0 to 4294967295, got 'abc'"),
        (("mnist", "--seed", "4294967296"), "argument --seed: expected a whole number"),
        (("mnist", "--report", "a.jpg"), "--report: expected a file name that ends in .png, got 'a.jpg'"),
        (("mnist", "--no-report", "--report", "a.png"), "not allowed with argument --no-report"),
        (("mnist", "--speed", "fast"), "unrecognized arguments"),
        (("mnist", "--recipe", "quick"), "argument --recipe: invalid choice: 'quick'"),
        (("mnist", "--seeds", "0"), "--seeds: expected a whole number from 1 to 2147483647, got '0'"),
        (("mnist", "--recipe", "fast", "--epochs", "3"), "--epochs: not allowed with --recipe fast"),
        (("info", "more"), "unrecognized arguments: more"),
    ],
)
def test_bad_arguments(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = cli.main(arguments)
    except SystemExit as ended:  # of what argparse refuses
        status = ended.code
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert message in printed.err


def test_info() -> None:
    result = run("info")
    build = build_info()
    assert result.returncode == 0
    assert result.stderr == ""
    assert value(result.stdout, "version") == f"mlp-engine {build['version']}"
    assert value(result.stdout, "instruction sets") == f"{', '.join(build['isas'])} (compiled)"
    assert f" {', '.join(build['runnable'])} (runnable here)\n" in result.stdout
    assert f" {build['isa']} (chosen" in result.stdout
    assert int(value(result.stdout, "threads")) >= 1
    assert value(result.stdout, "OpenMP").startswith("yes" if build["openmp"] else "no")
    assert value(result.stdout, "CUDA") == build["cuda"]
    assert value(result.stdout, "NumPy") == np.__version__
    assert value(result.stdout, "Python").startswith(".".join(map(str, sys.version_info[:3])))


def test_info_says_what_chose_the_instruction_set() -> None:
    result = run("info", environment={"ENGINE_ISA": "baseline"})
    assert "baseline (chosen by ENGINE_ISA=baseline)" in result.stdout


def test_mnist_trains_and_reports(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = run("mnist", "--epochs", "2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    accuracy = re.fullmatch(r"([\d.]+)% of the 10,000 test images", value(result.stdout, "accuracy"))
    assert accuracy is not None
    assert 95.5 < float(accuracy[1]) < 98.5
    for step in ("loading", "compiling", "training", "evaluating"):
        assert re.fullmatch(r"\d+\.\d{3} s", value(result.stdout, step))
    assert re.fullmatch(r"[0-9a-f]{64} \(trained weights\)", value(result.stdout, "SHA-256"))
    assert Path(value(result.stdout, "report")) == Path("reports/mnist.png")
    assert min(png_size(tmp_path / "reports" / "mnist.png")) > 1000


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    outputs = [
        run("mnist", *QUICK, "--no-report", "--seed", seed, cwd=tmp_path).stdout for seed in ("7", "7", "8")
    ]
    first, again, other = (value(output, "SHA-256") for output in outputs)
    assert first == again
    assert first != other
    assert list(tmp_path.iterdir()) == []


def test_drawing_the_report_does_not_change_the_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with_report = run("mnist", *QUICK, "--report", "deep/er.png", cwd=tmp_path)
    without = run("mnist", *QUICK, "--no-report", cwd=tmp_path)
    for name in ("SHA-256", "accuracy"):
        assert value(with_report.stdout, name) == value(without.stdout, name)
    assert png_size(tmp_path / "deep" / "er.png")


def test_many_epochs_are_tested_at_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = pytest.importorskip("engine._command.mnist_report", exc_type=ImportError)
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(report, "write", lambda path, **what: drawn.update(what))
    monkeypatch.setattr(mnist_training, "_TESTED_EPOCHS", 2)
    arguments = ["mnist", "--epochs", "5", "--batch-size", "1000", "--report", str(tmp_path / "report.png")]
    assert cli.main(arguments) == 0
    assert drawn["tested"] == [3, 5]
    assert len(drawn["train"]["loss"]) == 5
    assert len(drawn["test"]["loss"]) == len(drawn["test"]["accuracy"]) == 2
    assert drawn["test"]["loss"][1] < drawn["test"]["loss"][0]


def test_without_matplotlib(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "matplotlib.py").write_text("raise ModuleNotFoundError(\"No module named 'matplotlib'\")")
    path = os.pathsep.join(filter(None, (str(hidden), os.environ.get("PYTHONPATH"))))
    result = run("mnist", *QUICK, cwd=tmp_path, environment={"PYTHONPATH": path})
    assert result.returncode == 0, result.stderr
    assert value(result.stdout, "report") == (
        "none: the report needs matplotlib, which can't be imported (No module named 'matplotlib'): "
        "pip install matplotlib"
    )
    assert not (tmp_path / "reports").exists()


def test_report_folder_that_cannot_be_made(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    result = run("mnist", "--report", "file/report.png", cwd=tmp_path)
    assert result.returncode == 2
    assert "argument --report: can't make the folder" in result.stderr
    assert result.stdout == ""  # the error comes before the training


def test_report_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "report.png").mkdir()
    result = run("mnist", *QUICK, "--report", "report.png", cwd=tmp_path)
    assert result.returncode == 1
    assert "engine mnist: error: can't write the report: " in result.stderr
    assert "Traceback" not in result.stderr
    assert value(result.stdout, "SHA-256")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c() -> None:
    # A test run in the background inherits an ignored SIGINT; the command must not.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from engine.cli import main; sys.exit(main(['mnist', '--epochs', '100000', '--no-report']))"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            assert "1/100000" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == "\nengine: interrupted\n"


# ---- The picture


@pytest.mark.parametrize("epochs", [1, 5, 40])
@pytest.mark.parametrize("mistakes", [0, 1, 3, 500])
def test_report(tmp_path: Path, epochs: int, mistakes: int) -> None:
    pytest.importorskip("matplotlib")
    from engine._command import mnist_report

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, 600, np.uint8)  # no nine: a class without images
    probabilities = np.full((600, 10), 0.01, np.float32)
    answers = labels.copy()
    answers[:mistakes] = (answers[:mistakes] + 1) % 10
    probabilities[np.arange(600), answers] = 0.91
    tested = sorted({*range(3, epochs, 3), epochs})
    mnist_report.write(
        tmp_path / "report.png",
        facts=["one line", "and another"],
        train={"loss": [1 / n for n in range(1, epochs + 1)], "accuracy": [0.9] * epochs},
        test={"loss": [1 / n for n in tested], "accuracy": [0.8] * len(tested)},
        tested=tested,
        images=rng.integers(0, 256, (600, 28, 28), np.uint8),
        labels=labels,
        probabilities=probabilities,
    )
    width, height = png_size(tmp_path / "report.png")
    assert width > 1000
    assert height > 1000


SCRIPT = """
import numpy as np
import engine as keras

x = np.random.default_rng(0).normal(size=(80, 3))
y = x.sum(axis=1)


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(hp.Int("units", 2, 8), "relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-1, sampling="log")), "mse")
    return model


if __name__ == "__main__":
    raise SystemExit("the script was run as a program")
"""


def test_tune(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    options = (
        "--trials",
        "5",
        "--epochs",
        "2",
        "--validation-split",
        "0.2",
        "--seed",
        "1",
        "--file",
        "trials.jsonl",
    )
    found = run("tune", "script.py", *options, "--save", "best.keras", "--plots", "plots", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0].startswith("5/5 - ")
    assert lines[1].split() == ["trial", "val_loss", "epochs", "units", "rate"]
    scores = [float(line.split()[1]) for line in lines[2:7]]
    assert scores == sorted(scores)
    assert lines[7:] == ["the best model is in best.keras", "pictures are in plots"]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "curves.png",
        "importances.png",
        "parallel.png",
    }
    # With the same file, nothing is trained again.
    again = run("tune", "script.py", *options, cwd=tmp_path)
    assert again.stdout.splitlines() == lines[1:7]


def test_tune_on_processes(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = ("tune", "script.py", "--trials", "3", "--epochs", "2", "--seed", "1")
    here = run(*command, cwd=tmp_path)
    there = run(*command, "--backend", "joblib", cwd=tmp_path)
    assert there.returncode == 0, there.stderr
    assert there.stdout.splitlines()[1:] == here.stdout.splitlines()[1:]
    unknown = run(*command, "--backend", "spark", cwd=tmp_path)
    assert unknown.returncode == 1
    assert "engine tune: `backend` must be" in unknown.stderr


def test_tune_without_what_it_needs(tmp_path: Path) -> None:
    found = run("tune", "missing.py", cwd=tmp_path)
    assert found.returncode == 2
    assert "there is no file 'missing.py'" in found.stderr
    script = tmp_path / "script.py"
    script.write_text("x = 1\n", encoding="utf-8")
    found = run("tune", "script.py", cwd=tmp_path)
    assert found.returncode == 2
    assert "engine tune: script.py must define a function build(hp) and data x" in found.stderr
    script.write_text(SCRIPT, encoding="utf-8")
    found = run("tune", "script.py", "--save", "missing/best.keras", cwd=tmp_path)
    assert found.returncode == 2
    assert "engine tune: there is no folder 'missing' for --save" in found.stderr
    found = run("tune", "script.py", "--objective", "val_acc", cwd=tmp_path)
    assert found.returncode == 1
    assert (
        "engine tune: it is not known whether more or less of `objective` 'val_acc' is better" in found.stderr
    )
