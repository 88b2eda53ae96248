# Everything runs in .venv, which is made on first use. The stamp files in it say which extras are installed, and when.
PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# pip would install these into a temporary environment. Here they are installed into .venv, so that include paths stay the
# same, and a second installation compiles only what has changed.
BUILD_REQUIRES := cmake ninja $(shell sed -n 's/^requires = \[\(.*\)\]$$/\1/p' pyproject.toml | tr -d ',')
WHEEL := build/wheel
# The sanitizers use Clang, since GCC takes 15 minutes for the kernels of one instruction set.
CLANG ?= $(shell for c in clang++ $(addprefix clang++-,19 18 17 16 15 14); do command -v $$c && break; done)
SANITIZED ?= $(patsubst %,tests/test_%.py,bad_input concurrency executor golden kernels_* layers_numbers learning \
	metric_states ops* prediction random several_readers sparse_rows)
ISAS ?=
# The parts of nvcc, for machines without it.
NVCC_PACKAGES := $(shell sed -n 's/^ *\("nvidia-[^"]*"\).*/\1/p' pyproject.toml)
# The command that puts the OpenMP library into a wheel.
REPAIR := $(if $(filter Darwin,$(shell uname)),delocate-wheel,auditwheel repair)
# Folders are sources too: their time changes when a file is removed.
SOURCES := pyproject.toml CMakeLists.txt $(wildcard LICENSE README.md) \
	$(shell find python csrc tests/cpp/bindings -name __pycache__ -prune -o -name '.*' -prune -o -print)

.PHONY: help mnist test test-keras fuzz fuzz-networks array-api test-kernels test-cuda cuda test-arm64 sanitize lint docs bench strict sdist wheel clean

help:
	@echo 'make mnist   train the textbook network on MNIST; ARGS="--seed 1 --epochs 5" go to "engine mnist"'
	@echo 'make test    run the tests; ARGS="-k dense" go to pytest'
	@echo 'make test-keras   compare with real Keras, on JAX'
	@echo 'make fuzz    compare values and derivatives of 1,000 random functions with JAX'
	@echo 'make fuzz-networks   train random networks by every kind of program, and compare with formulas in float64;'
	@echo '             NETWORKS=1000 is how many, FIRST_NETWORK=7 the number of the first'
	@echo 'make array-api   run the tests of the array API standard with engine.array_api; ARGS="--max-examples 1000" go to pytest'
	@echo 'make test-kernels   compare the bits of every instruction set, without Python'
	@echo 'make test-cuda   train on an emulated GPU, whose accesses to memory are checked'
	@echo 'make cuda    compile csrc/cuda with nvcc, every warning an error, and check its machine code;'
	@echo '             CARDS=90-real does so for that kind of card alone'
	@echo 'make test-arm64     the same for arm64, cross-compiled and emulated'
	@echo 'make sanitize   run tests with the sanitizers of Clang; needs its libomp'
	@echo 'make lint    check style and types'
	@echo 'make docs    build the documentation in build/docs; runs every block of code in it'
	@echo 'make strict  compile the C++ with every warning an error'
	@echo 'make sdist   pack the sources: dist/'
	@echo 'make wheel   build a wheel from them, with OpenMP in it, and try it in an empty environment: dist/'
	@echo 'make bench   measure the engine and compare it with other libraries; ARGS go to the benchmark'
	@echo 'make clean   remove .venv, build and caches'
	@echo 'PYTHON=/path/to/python3 chooses the interpreter when .venv is made'

mnist: $(VENV)/installed-plot
	@$(BIN)/engine mnist $(ARGS)

# Two processes. The tests of a file run in the same one, since many share results.
test: $(VENV)/installed-test
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

# Two processes, as most of the time is that of the compiler XLA, which uses one core.
test-keras: $(VENV)/installed-keras
	@$(BIN)/python -m pytest tests/keras -n 2 $(ARGS)

fuzz: $(VENV)/installed-keras
	@RANDOM_FUNCTIONS=1000 $(BIN)/python -m pytest tests/keras/test_keras_random_functions.py -n 2 $(ARGS)

# The number of a network is the seed of all that is random in it.
NETWORKS ?= 300
FIRST_NETWORK ?= 0
fuzz-networks: $(VENV)/installed-keras
	@echo 'Training $(NETWORKS) random networks, from number $(FIRST_NETWORK) on ...'
	@RANDOM_NETWORKS=$(NETWORKS) FIRST_NETWORK=$(FIRST_NETWORK) \
	$(BIN)/python -m pytest tests/keras/test_keras_random_networks.py -n 2 $(ARGS)

# The tests of the array API standard, as they were in April 2026, with the description of the standard that belongs to them.
ARRAY_API_TESTS = build/array-api-tests
array-api: $(VENV)/installed-test
	@test -d $(ARRAY_API_TESTS) || git clone -q https://github.com/data-apis/array-api-tests $(ARRAY_API_TESTS)
	@git -C $(ARRAY_API_TESTS) checkout -q 55fcc60 && git -C $(ARRAY_API_TESTS) submodule -q update --init
	@$(PIP) install -q ndindex pytest-json-report
	@cd $(ARRAY_API_TESTS) && ARRAY_API_TESTS_MODULE=engine.array_api \
	$(CURDIR)/$(BIN)/python -m pytest array_api_tests -q -n 2 --disable-deadline $(ARGS)

bench: $(VENV)/installed-bench
	@$(BIN)/python -m bench $(ARGS)

# -E runs all pages again, since the engine may have changed.
docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build -W --keep-going -n -E -j 2 -b html docs build/docs $(ARGS)

test-kernels: $(VENV)/ready
	@$(BIN)/cmake --workflow --preset kernels

# The package with a core whose GPU is emulated, in a folder of its own. The GPU runs streams as late as it may, then has a
# single multiprocessor, and then slow tensor cores, as GeForce cards do. `pytest tests/cuda` tests an installed package on a real GPU.
EMULATED = build/emulated-cuda/site
test-cuda: $(VENV)/installed-test
	@$(BIN)/cmake --preset emulated-cuda >/dev/null
	@$(BIN)/cmake --build --preset emulated-cuda
	@rm -rf $(EMULATED) && mkdir -p $(EMULATED) && cp -r python/engine $(EMULATED)
	@$(BIN)/cmake --install build/emulated-cuda --prefix $(EMULATED) >/dev/null
	@export PYTHONPATH=$(CURDIR)/$(EMULATED); \
	EMULATED_CUDA_LATE=1 $(BIN)/python -m pytest tests/cuda -n 2 $(ARGS) && \
	EMULATED_CUDA_MULTIPROCESSORS=1 $(BIN)/python -m pytest tests/cuda -k 'large or same_bits' $(ARGS) && \
	EMULATED_CUDA_CAPABILITY=120 $(BIN)/python -m pytest tests/cuda -n 2 -k 'chains or persistent or data_parallel' $(ARGS)

# Compiles csrc/cuda with the nvcc that is at hand, or with that of pip, for all cards or for some: CARDS=90-real.
CARDS ?=
cuda: $(VENV)/ready
	@command -v nvcc >/dev/null || $(BIN)/python -m pip install -q $(NVCC_PACKAGES)
	@$(BIN)/cmake --preset cuda $(if $(CARDS),-DENGINE_CUDA_ARCHITECTURES="$(CARDS)",-UENGINE_CUDA_ARCHITECTURES)
	@$(BIN)/cmake --build --preset cuda
	@command -v cuobjdump >/dev/null || $(PIP) install -q nvidia-cuda-cuobjdump
	@$(BIN)/python tests/machine_code.py build/cuda/_core*.so

test-arm64: $(VENV)/ready
	@$(BIN)/cmake --workflow --preset arm64

# The tests of the Python module run with the address sanitizer alone and without its check for leaks, since Python does not
# free all of its memory.
sanitize: $(VENV)/installed-test
	@find() { $(CLANG) -print-file-name="$$1"; }; \
	for kind in tsan asan; do \
	  $(BIN)/cmake --preset $$kind -DCMAKE_CXX_COMPILER=$(CLANG) -DENGINE_ONLY="$(ISAS)" && \
	  $(BIN)/cmake --build --preset $$kind && $(BIN)/ctest --preset $$kind || exit; \
	done; \
	$(BIN)/cmake --install build/asan --prefix build/asan/site && cp -R python/engine build/asan/site/ && \
	LD_PRELOAD="$$(find libclang_rt.asan-$$(uname -m).so) $$(find libstdc++.so.6)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONPATH=build/asan/site:build/asan/tests \
	  $(BIN)/python -m pytest $(SANITIZED) $(ARGS)

lint: $(VENV)/tools-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	find csrc tests/cpp -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/gersemi --check CMakeLists.txt csrc/CMakeLists.txt csrc/cuda/CMakeLists.txt tests/cpp/CMakeLists.txt tests/cpp/bindings/CMakeLists.txt
	$(BIN)/codespell

strict: $(VENV)/ready
	$(BIN)/cmake --preset dev
	$(BIN)/cmake --build --preset dev

sdist: $(VENV)/installed-wheel
	@$(BIN)/python -m build --no-isolation --sdist

# The wheel is built from the sdist, as others will build it, and without the objects of this checkout.
wheel: $(VENV)/installed-wheel
	@rm -rf $(WHEEL)
	@$(BIN)/python -m build --no-isolation --outdir $(WHEEL)/built
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(REPAIR) -w $(WHEEL)/repaired $(WHEEL)/built/*.whl
	@$(BIN)/python -m venv $(WHEEL)/venv
	@$(WHEEL)/venv/bin/python -m pip --disable-pip-version-check install -q $(WHEEL)/repaired/*.whl
	@$(WHEEL)/venv/bin/python -I tests/smoke.py
	@mkdir -p dist
	@mv -v $(WHEEL)/repaired/*.whl $(WHEEL)/built/*.tar.gz dist

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -prune -exec rm -rf {} +

# Says what is missing before anything is downloaded.
$(VENV)/ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'make: $(PYTHON) not found; install Python >= 3.10 (Debian, Ubuntu: apt-get install python3)' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo 'make: $(PYTHON) is older than 3.10; install a newer one and run make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo 'make: $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv)' >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; \
	  sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || { \
	  echo 'make: $(PYTHON) has no Python.h; install its headers (Debian, Ubuntu: apt-get install python3-dev)' >&2; exit 1; }
	@for compiler in $${CXX:-c++ g++ clang++}; do command -v $$compiler >/dev/null && exit 0; done; \
	  echo 'make: no C++ compiler; install GCC >= 11 or Clang >= 14 (Debian, Ubuntu: apt-get install g++)' >&2; exit 1
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing the build tools ...'
	@$(PIP) install -q $(BUILD_REQUIRES)
	@touch $@

# The compiled module of the tests is not installed: the tests find it in the build folder.
$(VENV)/installed-%: $(VENV)/ready $(SOURCES)
	@echo 'Building and installing engine[$*] (a few minutes the first time) ...'
	@$(PIP) install -q --no-build-isolation -C cmake.define.ENGINE_TEST_MODULE=ON '.[$*]'
	@touch $@

# The linters read the sources, and need no new installation when these change. mypy needs the types of matplotlib.
$(VENV)/tools-lint: $(VENV)/ready pyproject.toml
	@echo 'Installing the linters ...'
	@$(PIP) install -q --no-build-isolation '.[lint,plot]'
	@touch $@
