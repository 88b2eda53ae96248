"""Describes the machine, and sets the CPUs and environment variables of the contenders' processes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

# Read by OpenMP, by the usual BLAS libraries, by macOS' Accelerate, and by TensorFlow.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
# These force OpenBLAS to use kernels or block sizes that may not suit the machine and would slow NumPy down.
SLOWING_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

CALM_LOAD = 0.5  # a higher load average means that other programs are running


def environment(threads: int) -> dict[str, str]:
    """Returns the environment variables of every contender."""
    kept = {key: value for key, value in os.environ.items() if key not in SLOWING_VARIABLES}
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"PYTHONPATH": path}


def allowed_cpus() -> list[int]:
    """Returns the CPUs that this process may use: first one hardware thread of each core, then the others."""
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return list(range(os.cpu_count() or 1))
    cpus = sorted(os.sched_getaffinity(0))
    firsts = {_core(cpu): cpu for cpu in reversed(cpus)}.values()
    return [*sorted(firsts), *(cpu for cpu in cpus if cpu not in firsts)]


def _core(cpu: int) -> str:
    """Returns a name for the core of a CPU: the list of its hardware threads."""
    file = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return file.read_text(encoding="utf-8").strip() if file.exists() else str(cpu)


def confine(threads: int) -> None:
    """Lets this process and its children use as many CPUs as threads. Some libraries obey nothing else."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, allowed_cpus()[:threads])


def load() -> float:
    """Returns the load average: how many processes wanted to run during the last minute."""
    return os.getloadavg()[0]


def describe(threads: int) -> dict[str, Any]:
    """Returns what the JSON of every run says about the machine."""
    return {
        "cpu": _cpu_model(),
        "isa": _widest_isa(),
        "cpus": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "engine": _engine_info(),
        "load": load(),
    }


def _cpu_model() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _widest_isa() -> str:
    """Returns the name of the widest vector instructions that the CPU has."""
    file = Path("/proc/cpuinfo")
    flags = file.read_text(encoding="utf-8").split() if file.exists() else []
    return next((name.upper() for name in ("avx512f", "avx2", "avx", "sse2") if name in flags), "unknown")


def _engine_info() -> list[str]:
    command = [sys.executable, "-m", "engine", "info"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.splitlines()
