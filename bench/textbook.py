"""The textbook script on real Keras: `python -m bench.textbook BACK_END FOLDER`, FOLDER holding MNIST.

The script is the engine's own example, word for word. Its `import engine` gets Keras, and `load_data` reads from the
folder what Keras would otherwise fetch over the network.
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
