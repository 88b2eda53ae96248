"""The command `engine demo`: it serves a page on which one draws a digit and sees how a network reads it.

`server` is the web server, and `reader` turns a drawing into an image like those of MNIST and asks the network.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from engine import datasets, utils
from engine._command.demo.reader import DigitReader
from engine._command.demo.server import Server
from engine._command.recipes import RECIPES

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_FAILED = 1
_SEED = 7  # the default of `engine mnist`
_RECIPE = "fast"


def run(args: argparse.Namespace) -> int:
    """Runs the command until Ctrl-C.

    Args:
        args: `model`, `port` and `no_browser`.

    Returns:
        The exit status: 0 after Ctrl-C while the page was served, 1 when the work failed.
    """
    try:
        server = Server(args.port)
    except OSError as error:  # the port is tried before the training, which would be useless without it
        hint = "give another with --port; --port 0 takes any that is free"
        print(
            f"engine demo: error: can't listen on port {args.port}: {error.strerror}; {hint}", file=sys.stderr
        )
        return _FAILED
    with server:
        try:
            reader, about = _trained() if args.model is None else _loaded(args.model)
        except (ImportError, OSError, ValueError) as error:
            print(f"engine demo: error: {error}", file=sys.stderr)
            return _FAILED
        server.read, server.about = reader, about
        print(f"{about}\nDraw on {server.url} (Ctrl-C ends this)", flush=True)
        if not args.no_browser:
            _open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nstopped")
    return 0


def _trained() -> tuple[DigitReader, str]:
    """Trains a network on MNIST, and returns its reader and a sentence about it."""
    recipe = RECIPES[_RECIPE]
    print("Training on 60,000 images ...", flush=True)
    (images, labels), (test_images, test_labels) = datasets.mnist.load_data()
    utils.set_random_seed(_SEED)
    start = time.perf_counter()
    model = recipe.model()
    recipe.compile(model, len(images))
    recipe.fit(model, images, labels, verbose=0)
    seconds = time.perf_counter() - start
    right = float(np.mean(model.predict(test_images, verbose=0).argmax(axis=1) == test_labels))
    return DigitReader(model), (
        f"Trained in {seconds:.2f} s on {len(images):,} digits of MNIST; it reads {right:.1%} of {len(test_images):,} "
        "others right."
    )


def _loaded(path: Path) -> tuple[DigitReader, str]:
    """Loads a network from a file, and returns its reader and a sentence about it."""
    from engine.saving import load_model

    return DigitReader(load_model(path, compile=False)), f"The network of {path}."


def _open(url: str) -> None:
    """Opens the page in a browser if there is a screen. Without one a text browser would take over the terminal."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    import webbrowser

    webbrowser.open(url)
