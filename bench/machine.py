"""The machine that times are taken on, and the surroundings a contender's process gets."""

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
# They force OpenBLAS to kernels or blocks that may not suit the machine, which would slow NumPy down.
SLOWING_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

CALM_LOAD = 0.5  # load average above which something else is running


def environment(threads: int) -> dict[str, str]:
    """The environment of every contender."""
    kept = {key: value for key, value in os.environ.items() if key not in SLOWING_VARIABLES}
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"PYTHONPATH": path}


def allowed_cpus() -> list[int]:
    """CPUs that this process may use, one of each core first."""
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return list(range(os.cpu_count() or 1))
    cpus = sorted(os.sched_getaffinity(0))
    firsts = {_core(cpu): cpu for cpu in reversed(cpus)}.values()
    return [*sorted(firsts), *(cpu for cpu in cpus if cpu not in firsts)]


def _core(cpu: int) -> str:
    """What names the core of a CPU: the list of its hardware threads."""
    file = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return file.read_text(encoding="utf-8").strip() if file.exists() else str(cpu)


def confine(threads: int) -> None:
    """Let this process and those it starts use as many CPUs as threads: some libraries ask for nothing else."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, allowed_cpus()[:threads])


def load() -> float:
    """Processes that wanted to run over the last minute, on average."""
    return os.getloadavg()[0]


def describe(threads: int) -> dict[str, Any]:
    """What belongs in the record of every run."""
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
    """Of the vector instructions that the CPU has, the widest."""
    file = Path("/proc/cpuinfo")
    flags = file.read_text(encoding="utf-8").split() if file.exists() else []
    return next((name.upper() for name in ("avx512f", "avx2", "avx", "sse2") if name in flags), "unknown")


def _engine_info() -> list[str]:
    command = [sys.executable, "-m", "engine", "info"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.splitlines()
