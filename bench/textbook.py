"""Runs the textbook script on real Keras: `python -m bench.textbook BACK_END FOLDER`, where FOLDER has MNIST.

The script is the engine's example, unchanged. Here, its `import engine` imports Keras, and `load_data` reads MNIST from
the folder, while Keras would download it.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "examples" / "mnist_script.py"


def main() -> None:
    back_end, folder = sys.argv[1:]
    os.environ["KERAS_BACKEND"] = back_end
    import keras

    from bench.data import load_mnist

    x, y, x_test, y_test = load_mnist(Path(folder))
    keras.datasets.mnist.load_data = lambda: ((x, y), (x_test, y_test))
    sys.modules["engine"] = keras
    runpy.run_path(str(SCRIPT))


if __name__ == "__main__":
    main()
