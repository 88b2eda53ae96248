"""Checks the machine code of csrc/cuda for every kind of card: `python tests/machine_code.py MODULE`, as `make cuda` does.

The kernels that take nearly all of a training must not spill registers to memory, and each kernel must fit the registers of
a multiprocessor as often as it was planned for.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

REGISTERS = 65_536  # of a multiprocessor
GRANULE = 8  # registers of a thread are given out in so many

# By a part of its name: threads of a block, blocks that should fit a multiprocessor at the same time, and the most bytes of
# stack. A product's 64 sums would take 256 bytes if they were spilled. The stack of the kernel of many batches holds what the
# formula of a loss is told of a row. What says where the elements of arrays lie has its place in shared memory.
KERNELS = {
    "12DenseForward": (256, 1, 16),
    "13DenseBackward": (256, 1, 16),
    "12DenseWeights": (256, 1, 16),
    "chains5train": (512, 1, 160),
    "chains13sum_gradients": (512, 1, 192),
    "15SumTeamsAndStep": (256, 1, 0),
    "12ArrayProduct": (256, 1, 32),
    "9Transpose": (256, 1, 16),
}


def find_cuobjdump() -> str:
    """Returns the path of cuobjdump: on PATH, or of NVIDIA's package for pip."""
    on_path = shutil.which("cuobjdump")
    if on_path:
        return on_path
    package = importlib.util.find_spec("nvidia.cu13") if importlib.util.find_spec("nvidia") else None
    for folder in (package.submodule_search_locations or []) if package else []:
        if (Path(folder) / "bin" / "cuobjdump").exists():
            return str(Path(folder) / "bin" / "cuobjdump")
    sys.exit("there is no cuobjdump: python -m pip install nvidia-cuda-cuobjdump")


def resource_usage(module: str) -> list[tuple[str, str, int, int]]:
    """Returns architecture, name, registers and bytes of stack of each kernel."""
    text = subprocess.run(
        [find_cuobjdump(), "--dump-resource-usage", module], capture_output=True, text=True, check=True
    ).stdout
    found, architecture, kernel = [], "", ""
    for line in text.splitlines():
        header = re.search(r"arch = (sm_\w+)", line)
        architecture = header[1] if header else architecture
        name = re.search(r"Function (\S+):", line)
        kernel = name[1] if name else kernel
        usage = re.search(r"REG:(\d+) STACK:(\d+)", line)
        if usage:
            found.append((architecture, kernel, int(usage[1]), int(usage[2])))
    return found


def main() -> int:
    """Prints a line for each kind of kernel and card, and returns 1 if one is not as planned."""
    used = resource_usage(sys.argv[1])
    wrong = 0
    for part, (threads, blocks, most_stack) in KERNELS.items():
        chosen = [each for each in used if part in each[1]]
        for architecture in sorted({each[0] for each in chosen}):
            registers = max(each[2] for each in chosen if each[0] == architecture)
            stack = max(each[3] for each in chosen if each[0] == architecture)
            fit = REGISTERS // (-(-registers // GRANULE) * GRANULE * threads)
            good = fit >= blocks and stack <= most_stack
            wrong += not good
            verdict = (
                "" if good else f"   WRONG: planned {blocks} blocks, and at most {most_stack} bytes of stack"
            )
            print(
                f"{part.lstrip('0123456789'):16} {architecture:6} {registers:4} registers, {stack:4} bytes of stack, "
                f"{fit} blocks of {threads} threads{verdict}"
            )
        if not chosen:
            print(f"{part}: no such kernel")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
