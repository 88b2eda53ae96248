"""The command `engine`: train the MNIST example, or say what this build and machine can do."""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from engine import callbacks, datasets, layers, utils
from engine._program import build_info
from engine.datasets import _cache
from engine.models import Sequential

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

_SEED = 7  # of 0, 1, 2, 3, 7, 42, 1234 (97.50 to 97.87 % right) the one with the median accuracy
_EPOCHS = 5
_BATCH_SIZE = 32
_REPORT = Path("reports/mnist.png")
_MODEL = "Flatten → Dense 128 relu → Dense 10 softmax, Adam"

_TESTED_EPOCHS = 100  # points of the report's test curve, and copies of the weights (0.4 MB each), at most
_MAX_SEED = 2**32 - 1  # what `set_random_seed` takes
_MAX_COUNT = 2**31 - 1

_FAILED = 1
_BAD_ARGUMENT = 2  # as argparse
_INTERRUPTED = 130  # as a shell reports SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after the command's name; None means those of the process.

    Returns:
        The exit status: 0, 1 when the work failed, 2 for a bad argument, 130 after Ctrl-C.

    Raises:
        SystemExit: after `--help` and `--version`, and for arguments that can't be parsed.
    """
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        status = run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nengine: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="engine", description="Dense neural networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"mlp-engine {build_info()['version']}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    info = commands.add_parser(
        "info",
        help="what this build and machine can do",
        description="Print the version, instruction sets, threads, OpenMP and CUDA state.",
    )
    info.set_defaults(run=_info)

    mnist = commands.add_parser(
        "mnist",
        help="train the textbook network on MNIST",
        description="Train Dense 128 relu, Dense 10 softmax with Adam on MNIST's 60,000 training images,"
        " and test it on the other 10,000.",
    )
    mnist.set_defaults(run=_mnist)
    mnist.add_argument(
        "--seed",
        type=_whole_number(0, _MAX_SEED),
        default=_SEED,
        metavar="N",
        help="the same seed gives the same weights, bit for bit (default: %(default)s)",
    )
    mnist.add_argument(
        "--epochs",
        type=_whole_number(1, _MAX_COUNT),
        default=_EPOCHS,
        metavar="N",
        help="passes over the images (default: %(default)s)",
    )
    mnist.add_argument(
        "--batch-size",
        type=_whole_number(1, _MAX_COUNT),
        default=_BATCH_SIZE,
        metavar="N",
        help="images per step (default: %(default)s)",
    )
    report = mnist.add_mutually_exclusive_group()
    report.add_argument(
        "--report", type=_png, default=_REPORT, metavar="PATH", help="picture to write (default: %(default)s)"
    )
    report.add_argument("--no-report", action="store_true", help="write no picture")
    return parser


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            msg = f"expected a whole number from {low} to {high}, got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return value

    return parse


def _png(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() != ".png":
        msg = f"expected a file name that ends in .png, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return path


def _info(_: argparse.Namespace) -> int:
    build = build_info()
    forced = os.environ.get("ENGINE_ISA")
    rows = [
        ("version", f"mlp-engine {build['version']}"),
        ("compiler", build["compiler"]),
        ("instruction sets", f"{', '.join(build['isas'])} (compiled)"),
        ("", f"{', '.join(build['runnable'])} (runnable here)"),
        ("", f"{build['isa']} (chosen{f' by ENGINE_ISA={forced}' if forced else ''})"),
        ("threads", build["threads"]),
        ("OpenMP", "yes" if build["openmp"] else "no: built single-threaded"),
        ("CUDA", build["cuda"]),
        ("data cache", _cache.folder() or "none: no home folder"),
        ("NumPy", np.__version__),
        ("Python", f"{platform.python_version()} ({platform.system()}, {platform.machine()})"),
    ]
    for name, value in rows:
        print(f"{name:18}{value}")
    return 0


class _Trained(NamedTuple):
    """What a training run leaves."""

    model: Sequential
    history: dict[str, list[float]]
    weights: dict[int, list[NDArray[np.float32]]]  # by the number of epochs done
    seconds: dict[str, float]
    sha256: str


def _mnist(args: argparse.Namespace) -> int:
    drawing, reason = (None, "") if args.no_report else _drawing()
    if drawing:
        try:
            args.report.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(f"engine mnist: error: argument --report: can't make the folder: {error}", file=sys.stderr)
            return _BAD_ARGUMENT

    seconds: dict[str, float] = {}
    try:
        with _timed(seconds, "loading"):
            (x_train, y_train), test = datasets.mnist.load_data()
    except (ImportError, OSError) as error:
        print(f"engine mnist: error: {error}", file=sys.stderr)
        return _FAILED
    trained = _train(args, x_train, y_train, seconds, keep=drawing is not None)
    with _timed(seconds, "evaluating"):
        _, accuracy = _evaluate(trained.model, *test)

    for step, taken in seconds.items():
        print(f"{step:12}{taken:.3f} s")
    print(f"{'accuracy':12}{accuracy:.2%} of the {len(test[0]):,} test images")
    print(f"{'SHA-256':12}{trained.sha256} (trained weights)")
    if drawing:
        return _draw(drawing, args, trained, test)
    if not args.no_report:
        print(f"{'report':12}none: {reason}")
    return 0


def _train(
    args: argparse.Namespace,
    x: NDArray[np.uint8],
    y: NDArray[np.uint8],
    seconds: dict[str, float],
    keep: bool,
) -> _Trained:
    utils.set_random_seed(args.seed)
    with _timed(seconds, "compiling"):
        model = Sequential(
            [
                layers.Flatten(input_shape=(28, 28)),
                layers.Rescaling(1 / 255),
                layers.Dense(128, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    weights: dict[int, list[NDArray[np.float32]]] = {}
    spacing = -(-args.epochs // _TESTED_EPOCHS)

    def keep_weights(epoch: int, logs: object) -> None:
        done = epoch + 1
        if done % spacing == 0 or done == args.epochs:
            weights[done] = model.get_weights()

    hooks = [callbacks.LambdaCallback(on_epoch_end=keep_weights)] if keep else []
    with _timed(seconds, "training"):
        history = model.fit(x, y, batch_size=args.batch_size, epochs=args.epochs, callbacks=hooks)
    return _Trained(model, history.history, weights, seconds, _sha256(model.get_weights()))


def _evaluate(model: Sequential, x: NDArray[np.uint8], y: NDArray[np.uint8]) -> list[float]:
    """Loss and accuracy."""
    return cast("list[float]", model.evaluate(x, y, verbose=0))


def _sha256(weights: Sequence[NDArray[np.float32]]) -> str:
    """SHA-256 of the weights as contiguous little-endian float32, in the order of `get_weights`."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start


def _drawing() -> tuple[ModuleType | None, str]:
    """The module that draws the report, or why there is none."""
    try:
        from engine import _report
    except ImportError as error:
        return None, f"{error}. pip install 'mlp-engine[plot]' brings what it needs."
    return _report, ""


def _draw(
    drawing: ModuleType,
    args: argparse.Namespace,
    trained: _Trained,
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> int:
    images, labels = test
    model = trained.model
    # The test curve is drawn from the weights kept, so that training neither waits for it nor sees it.
    losses, accuracies = [], []
    for weights in trained.weights.values():
        model.set_weights(weights)
        loss, accuracy = _evaluate(model, images, labels)
        losses.append(loss)
        accuracies.append(accuracy)
    settings = f"{args.epochs} epoch{'s' * (args.epochs > 1)}, batch {args.batch_size}, seed {args.seed}"
    try:
        drawing.write(
            args.report,
            facts=[
                f"{_MODEL} · {settings} · trained in {trained.seconds['training']:.2f} s",
                f"mlp-engine {build_info()['version']} · SHA-256 of the trained weights {trained.sha256}",
            ],
            train={name: trained.history[name] for name in ("loss", "accuracy")},
            test={"loss": losses, "accuracy": accuracies},
            tested=list(trained.weights),
            images=images,
            labels=labels,
            probabilities=model.predict(images, verbose=0),
        )
    except OSError as error:
        print(f"engine mnist: error: can't write the report: {error}", file=sys.stderr)
        return _FAILED
    print(f"{'report':12}{args.report}")
    return 0
