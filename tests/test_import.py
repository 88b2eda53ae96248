"""Limits the modules that `import engine` loads in addition to NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest
from numerics import run_script

# Other modules that may be loaded, with those that they import.
BASE = "__future__, numpy, numpy.typing, copy, dataclasses, threading"
# The most modules of the engine. Modules that few programs need are imported on first use.
MOST_MODULES = 209


def run(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=inherited | environment,
    )


def test_import_loads_little() -> None:
    code = f"import sys, {BASE}; before = set(sys.modules); import engine; print(*set(sys.modules) - before)"
    modules = set(run(code).stdout.split())
    own = {name for name in modules if name.split(".")[0] == "engine"}
    assert not modules - own, "import these inside functions, or a few hundred microseconds at most in BASE"
    assert len(own) <= MOST_MODULES


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has its GIL")
def test_import_leaves_the_gil_off() -> None:
    code = "import sys, engine, engine.cython_api; print(sys._is_gil_enabled())"
    assert run(code, PYTHON_GIL="").stdout == "False\n"


IN_A_SUB_INTERPRETER = """
import sys
try:
    import _interpreters as interpreters  # from Python 3.13 on
except ImportError:
    import _xxsubinterpreters as interpreters
    number = interpreters.create(isolated=False)  # as mod_wsgi makes it
else:
    number = interpreters.create("legacy")
script = (
    "import sys, warnings",
    "warnings.simplefilter('ignore')",  # NumPy's
    f"sys.path[:] = {sys.path}",
    "try:",
    "    import engine",
    "except ImportError as error:",
    "    print(error, flush=True)",
)
interpreters.run_string(number, chr(10).join(script))
"""


def test_a_sub_interpreter_is_refused() -> None:
    assert "engine can't be used in a sub-interpreter: import it in the main" in run_script(
        IN_A_SUB_INTERPRETER
    )
