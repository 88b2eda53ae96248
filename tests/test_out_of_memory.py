"""Without memory there is a MemoryError, and without threads the engine uses fewer. The process never ends.

`FAULTS_EVERY=1` lets every allocation fail once, which takes minutes. By default, one of 149 fails.
"""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest
from faults import build_faults, needs_faults
from numerics import run_python, run_script

EVERY = int(os.environ.get("FAULTS_EVERY", "149"))
ALL_THAT_FOLLOW = 10**9
THREADS = 2

WORKER = str(Path(__file__).with_name("faults_worker.py"))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_faults(tmp_path_factory.mktemp("faults"))


@needs_faults
@pytest.mark.parametrize("count", [1, ALL_THAT_FOLLOW], ids=["one", "all"])
def test_a_failing_allocation_is_a_memory_error(library: str, count: int) -> None:
    """Afterwards, the model is unchanged, or as the last complete step left it."""
    result = run_python([WORKER, *map(str, (THREADS, EVERY // 2, EVERY, count))], LD_PRELOAD=library)
    assert result.returncode == 0, result.stderr
    troubles = [line for line in result.stdout.splitlines() if not line.endswith("allocations")]
    assert not troubles, "\n".join([*troubles, result.stderr])


STATE_BEYOND_THE_LIMIT = """
    import math, resource
    from pathlib import Path
    import numpy as np
    import engine as keras

    keras.config.set_threads(1)
    units = 2048
    model = keras.Sequential([keras.Input((units,)), keras.layers.Dense(units, use_bias=False)])
    model.compile("adam", "mse")
    rows = np.ones((4, units), np.float32)
    model.train_on_batch(rows, rows)
    variable = max(model.optimizer.variables, key=lambda variable: math.prod(variable.shape))
    before = np.array(variable)
    values = np.zeros(variable.shape, np.float32)
    refused = 0
    for megabytes in range(0, 64, 4):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            variable.assign(values)
        except MemoryError:
            refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        after = np.array(variable)
        assert np.array_equal(after, before) or np.array_equal(after, values)
        variable.assign(before)
    assert refused
    model.predict(rows, verbose=0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a process on Linux")
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer takes all of the address space")
def test_a_variable_that_does_not_fit_is_a_memory_error() -> None:
    run_script(STATE_BEYOND_THE_LIMIT)


# One of the two scripts below follows. They print the digest of weights and outputs for several limits.
TRAININGS = """
    import hashlib, os, resource
    import numpy as np
    import engine as keras

    keras.config.set_threads(4)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((256, 256), np.float32)
    y = rng.integers(0, 10, 256)

    def digest():
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(512, "relu"), keras.layers.Dense(10, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=128, epochs=2, verbose=0)
        model.evaluate(x, y, verbose=0)
        arrays = [*model.get_weights(), model.predict(x, verbose=0)]
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
"""
LIMITED_BY_LIBRARY = """
    import threading
    from faults import Faults
    faults = Faults()

    def train(limit):
        faults.limit_threads(limit)
        print(digest())
        faults.limit_threads(100)
        print(digest())

    for limit in (3, 0, 2, 1):
        thread = threading.Thread(target=train, args=(limit,))  # which begins without a team
        thread.start()
        thread.join()
"""
# Each script below lets the engine start a given number of threads, where it would use 4, and prints the digests.
STARTS = """
    import sys, threading
    from faults import Faults
    faults, starts = Faults(), int(sys.argv[1])

    def train():
        faults.limit_starts(starts)
        print(digest(), flush=True)
        faults.limit_starts(-1)
"""
FIRST_USE = """
    train()
    print(digest())
"""
SECOND_THREAD = """
    print(digest())
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    train()
"""
GROWING = """
    keras.config.set_threads(2)
    print(digest())
    for threads in (3, 8, 2, 5):
        keras.config.set_threads(threads)
        train()
"""
FORKED = """
    print(digest(), flush=True)
    child = os.fork()
    if child == 0:
        train()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    train()
"""
LIMITED_BY_SYSTEM = """
    if os.getuid() == 0:  # whom no limit stops
        os.setgid(65534)
        os.setuid(65534)
    for limit in (1, 2, 3, 4):
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
        print(digest())
"""


@needs_faults
def test_fewer_threads_than_asked_for_give_the_same_bits(library: str) -> None:
    found = run_script(TRAININGS + LIMITED_BY_LIBRARY, LD_PRELOAD=library).split()
    assert len(found) == 8
    assert len(set(found)) == 1


@needs_faults
@pytest.mark.parametrize("starts", [0, 1, 4])
@pytest.mark.parametrize(
    "script", [FIRST_USE, SECOND_THREAD, GROWING, FORKED], ids=["first", "second", "growing", "forked"]
)
def test_threads_that_run_out_at_any_moment_leave_the_bits(library: str, script: str, starts: int) -> None:
    text = textwrap.dedent(TRAININGS + STARTS + script)
    # Python warns of a fork of a process with threads.
    result = run_python(["-W", "ignore::DeprecationWarning", "-c", text, str(starts)], LD_PRELOAD=library)
    assert result.returncode == 0, result.stderr
    found = result.stdout.split()
    assert len(found) >= 2
    assert len(set(found)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits the number of threads of a user on Linux")
def test_a_user_who_may_have_no_more_threads_can_train() -> None:
    found = run_script(TRAININGS + LIMITED_BY_SYSTEM).split()
    assert len(found) == 4
    assert len(set(found)) == 1
