"""Extensions of others that break the rules of CPython."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

# A function that lets a C++ exception out into CPython, which has no rule for that.
THROWS = """
#include <Python.h>
#include <stdexcept>

static PyObject* fail(PyObject*, PyObject*) { throw std::runtime_error("thrown by an extension"); }
static PyMethodDef methods[] = {{"fail", fail, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "throws", nullptr, -1, methods};
PyMODINIT_FUNC PyInit_throws() { return PyModule_Create(&definition); }
"""

CALLS_IT = """
import sys

sys.path.insert(0, sys.argv[1])
import numpy as np
import throws

import engine as keras


class Fails(keras.layers.Layer):
    def call(self, inputs):
        if len(np.array(inputs)) == 7:
            throws.fail()
        return np.array(inputs) * 2.0


model = keras.Sequential([keras.Input((3,)), Fails()])
model.predict(np.ones((7, 3)), verbose=0)
"""

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("c++") is None, reason="builds an extension on Linux, with c++"
)


@needs_compiler
def test_a_cpp_exception_of_an_extension_ends_the_process_with_its_message(tmp_path: Path) -> None:
    """Not with a wait for ever: it has skipped frames of CPython, which can't go on."""
    source = tmp_path / "throws.cpp"
    source.write_text(THROWS)
    module = tmp_path / f"throws{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_paths()["include"]
    subprocess.run(["c++", "-shared", "-fPIC", f"-I{include}", source, "-o", module], check=True)
    done = subprocess.run(
        [sys.executable, "-c", CALLS_IT, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "thrown by an extension" in done.stderr
