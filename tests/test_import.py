"""What `import engine` costs beyond NumPy's own import, by what it loads and by its share of the time."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from numerics import run_script

# What may be loaded beside the engine's own modules: these, and whatever they load by themselves.
BASE = "__future__, numpy, numpy.typing, copy, threading"
# Modules of the engine, with room for some more; what few programs need is imported on first use.
MOST_MODULES = 117
# Seconds differ by machine and moment, and half as much by what else a machine does; their ratio hardly does.
# It was 0.4 when this was written.
MOST_OF_NUMPY = 0.7
ROUNDS = 5


def run(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=inherited | environment,
    )


def share(caches: Path) -> float:
    """Of NumPy's import time, what importing the engine takes after it, with bytecode from `caches`."""
    report = run("import numpy; import engine", "-X", "importtime", PYTHONPYCACHEPREFIX=str(caches)).stderr
    found = re.findall(r"\|\s+(\d+) \| (numpy|engine)$", report, re.MULTILINE)
    cumulative = {name: int(microseconds) for microseconds, name in found}
    return cumulative["engine"] / cumulative["numpy"]


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
    number = interpreters.create()
else:
    number = interpreters.create("legacy")  # as mod_wsgi makes it
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


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer slows Python down, but no C code")
def test_import_takes_little(tmp_path: Path) -> None:
    share(tmp_path)  # compiles
    assert statistics.median(share(tmp_path) for _ in range(ROUNDS)) <= MOST_OF_NUMPY
