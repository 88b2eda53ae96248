"""Checks the rules of the code base: imports between folders, what a folder may use, exported symbols."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "engine"
CSRC = ROOT / "csrc"

# The folders and modules of the package's root by rank: each imports from its own row or a lower one. A folder whose name
# begins with `_` is private to the package. Modules within it have plain names.
LAYERS = [
    {"_core"},
    {"_core_interface"},
    {"_base"},
    {"_data", "_printing", "_tracing"},
    {
        "_gradients",
        "activations",
        "callbacks",
        "constraints",
        "initializers",
        "layers",
        "losses",
        "metrics",
        "optimizers",
    }
    | {
        "config",
        "datasets",
        "dtype_policies",
        "mixed_precision",
        "ops",
        "plots",
        "preprocessing",
        "random",
        "regularizers",
    }
    | {"tree", "utils"},
    {"_cluster", "saving"},
    {"_training", "export"},
    {"models"},
    {"_many", "array_api", "backend", "distillation"},
    {"distributed", "tuning"},
    {"sklearn"},
    {"wrappers"},
    {"_keras2"},
    {"__init__"},
    {"tensorflow"},
    {"_command", "cli"},
    {"__main__"},
]
RANK = {module: i for i, row in enumerate(LAYERS) for module in row}

# The headers of other rooms that a room may include. Of `kernels/`, all others belong to an instruction set.
DOORS = {
    "formulas/kinds.h",
    "formulas/map_operations.h",
    "formulas/philox.h",
    "formulas/reductions.h",
    "formulas/sorting.h",
    "formulas/summation.h",
    "formulas/weight_scales.h",
    "kernels/compressed_rows.h",
    "kernels/layout.h",
    "kernels/packed_blocks.h",
    "kernels/nonzeros.h",
    "kernels/table.h",
}
ROOMS: dict[str, set[str]] = {
    "formulas": set(),
    "kernels": {"formulas/"},
    # The graph records formulas of activations and losses, and computes no numbers with them.
    "graph": {
        f"formulas/{name}.h"
        for name in ("activations", "elementary", "kinds", "losses", "map_operations", "summation")
    },
    "runtime": DOORS | {"graph/"},
    "cpu": DOORS | {"graph/", "runtime/"},
    "cuda": {"formulas/", "graph/", "runtime/"},
    "bindings": DOORS | {"graph/", "runtime/", "cpu/", "cuda/"},
}

# The only header that formulas include besides each other has integer types. So any device can compile them.
FORMULAS_MAY_INCLUDE = {"cstddef", "cstdint"}

# What a folder must not use, with the folders for which that holds.
FORBIDDEN = {
    "pybind11 outside bindings": (r"\bpy::|\bpybind11\b|\bPython\.h\b", ROOMS.keys() - {"bindings"}),
    "OpenMP outside cpu": (r"#\s*pragma\s+omp|\bomp\.h\b|\bomp_\w+\(", ROOMS.keys() - {"cpu"}),
    "a container in a kernel": (
        r"\bstd::(vector|string|string_view|map|unordered_map|set|unordered_set|list|deque|function|optional|variant"
        r"|unique_ptr|shared_ptr)\b",
        {"formulas", "kernels"},
    ),
    "allocation in a kernel": (
        r"\bnew\b|\b(malloc|calloc|realloc|aligned_alloc|free|alloca)\s*\(",
        {"formulas", "kernels"},
    ),
    "an exception in a kernel": (r"\b(throw|try|catch)\b", {"formulas", "kernels"}),
    "a C library function in a kernel": (
        r"\bstd::(exp|log|tanh|pow|erf|sin|cos)\w*\(|#include <c?math(\.h)?>",
        {"formulas", "kernels"},
    ),
    "#if 0": (r"#\s*if\s+0\b", ROOMS.keys()),
    "a macro of more than 3 lines": (r"#\s*define\b(.*\\\n){3}", ROOMS.keys()),
}

# The functions of other libraries that a kernel may call. All others could compute numbers, which differ by library.
KERNELS_MAY_CALL = {"memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_"}


def python_sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def cpp_sources() -> list[Path]:
    return sorted(path for path in CSRC.rglob("*") if path.suffix in {".h", ".cpp", ".cu"})


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_comments(source: str) -> str:
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    return re.sub(r"//[^\n]*", "", source)


@functools.cache
def imports(path: Path) -> list[tuple[str, ...]]:
    """Returns the modules of the package that a file imports, at its top or inside a function, as paths below `engine`."""
    inside = list(path.relative_to(PACKAGE.parent).parent.parts)
    found: list[list[str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            found += [[*base, alias.name] for alias in node.names]
    return [tuple(name[1:]) for name in found if name[0] == "engine"]


def imported_modules(path: Path) -> Iterator[str]:
    """Returns the first part of each of these paths, which determines the row of a module."""
    yield from (name[0] if name else "__init__" for name in imports(path))


def module_file(name: tuple[str, ...]) -> Path | None:
    """Returns the file of a module or package; None if it is neither."""
    base = PACKAGE.joinpath(*name)
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def imported_files(path: Path) -> Iterator[Path]:
    """Returns the files of the modules that a file imports."""
    for name in imports(path):
        file = module_file(name) or module_file(name[:-1])
        if file is not None:
            yield file


def headers(path: Path) -> list[str]:
    return re.findall(r'#include "([^"]+)"', path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    return path.relative_to(CSRC).parts[0]


def module_name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_every_module_has_its_place() -> None:
    assert {module_name(path) for path in python_sources()} <= RANK.keys(), (
        "give the new module a row in LAYERS"
    )


def test_the_root_has_public_modules_and_folders_only() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py") if path.stem.startswith("_")} == {
        "__init__",
        "__main__",
    }


def test_private_modules_have_names_of_their_own() -> None:
    """If two private modules had one name, a reader of an import would have to guess which one it is."""
    folders = [folder for folder in PACKAGE.iterdir() if re.match("_[a-z]", folder.name) and folder.is_dir()]
    within = [path.stem for folder in folders for path in folder.glob("*.py") if path.stem != "__init__"]
    assert not [name for name in within if name.startswith("_")]
    others = [path.stem[1:] for path in PACKAGE.rglob("_[a-z]*.py")]
    assert {name: count for name, count in Counter(within + others).items() if count > 1} == {}


def test_modules_with_an_underscore_are_imported_in_their_folder_alone() -> None:
    outside = {
        f"{relative(path)} imports {relative(file)}"
        for path in python_sources()
        for file in imported_files(path)
        if re.match("_[a-z]", file.name) and not path.is_relative_to(file.parent)
    }
    assert not outside


def test_python_imports_go_one_way() -> None:
    upward = {
        f"{relative(path)} imports {name}"
        for path in python_sources()
        for name in imported_modules(path)
        if RANK.get(name, 0) > RANK[module_name(path)]
    }
    assert not upward


def test_python_imports_go_round_in_no_circle() -> None:
    known = {PACKAGE / "__init__.py"}
    graph = {path: set(imported_files(path)) - {path} - known for path in python_sources()}
    graphlib.TopologicalSorter(graph).prepare()  # raises an error that names the circle


def test_names_of_older_versions_stand_apart() -> None:
    """Readers of Keras 3's API never meet them: what is in the folder is added to the package, by the root alone."""
    outside = {
        relative(path)
        for path in python_sources()
        if "_keras2" in imported_modules(path) and "_keras2" not in path.parts
    }
    assert outside == {"python/engine/__init__.py"}


def test_names_of_tensorflow_stand_apart() -> None:
    """They are a table of what the package has: nothing in it reads them."""
    assert {relative(path.parent) for path in python_sources() if "tensorflow" in imported_modules(path)} == {
        "python/engine/tensorflow"
    }


def test_what_cython_imports_exists() -> None:
    """These imports run in a compiled module, so that linters and type checkers don't see them."""
    source = (PACKAGE / "cython_api.pyx").read_text(encoding="utf-8")
    names = re.findall(r"^\s*from engine\.([\w.]+) import", source, flags=re.MULTILINE)
    assert names
    assert not [name for name in names if module_file(tuple(name.split("."))) is None]


def test_only_one_module_talks_to_the_extension() -> None:
    doors = {path for path in python_sources() if "_core" in imported_modules(path)}
    assert doors == {PACKAGE / "_core_interface" / "cpp.py"}


def test_locks_are_those_of_one_module() -> None:
    """Those of `threading` stay locked in forked children, and may be held by a thread that was interrupted.

    `functools.cached_property` holds such a lock up to Python 3.11.
    """
    kinds = r"\b(threading|multiprocessing)\.(R?Lock|Condition|(Bounded)?Semaphore)\b|\bfrom (threading|_thread|multiprocessing) import"
    kinds += r"|\bimport .*\bcached_property\b|@functools\.cached_property"
    found = {
        relative(path) for path in python_sources() if re.search(kinds, path.read_text(encoding="utf-8"))
    }
    assert found == {"python/engine/_base/locks.py"}


def test_includes_name_files_from_the_root() -> None:
    assert not {
        f"{relative(path)}: {h}" for path in cpp_sources() for h in headers(path) if not (CSRC / h).is_file()
    }


def test_includes_go_one_way() -> None:
    wrong = {
        f"{relative(path)} includes {header}"
        for path in cpp_sources()
        for header in headers(path)
        if room(path) != header.split("/")[0] and not header.startswith(tuple(ROOMS[room(path)]))
    }
    assert not wrong


def test_formulas_include_nothing_that_a_device_lacks() -> None:
    files = [path for path in cpp_sources() if room(path) == "formulas"]
    assert files
    for path in files:
        included = set(re.findall(r"#\s*include <([^>]+)>", path.read_text(encoding="utf-8")))
        assert included <= FORMULAS_MAY_INCLUDE, relative(path)


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_rooms_keep_their_rules(rule: str) -> None:
    pattern, rooms = FORBIDDEN[rule]
    sources = {
        path: without_comments(path.read_text(encoding="utf-8"))
        for path in cpp_sources()
        if room(path) in rooms
    }
    found = {relative(path): re.search(pattern, source) for path, source in sources.items()}
    assert not {path: match.group() for path, match in found.items() if match}


def test_every_source_is_compiled() -> None:
    cmake = (CSRC / "CMakeLists.txt").read_text(encoding="utf-8")
    named = {f"csrc/{path}" for path in re.findall(r"\w+/\w+\.cpp", cmake)}
    for pattern in re.findall(r"[\w/]+/\*\.cpp", cmake):
        named |= {relative(path) for path in CSRC.glob(pattern)}
    assert named == {relative(path) for path in CSRC.rglob("*.cpp")}


def newest_kernel_objects() -> dict[tuple[str, str], Path]:
    """Returns the newest objects by instruction set and source file, from a build without sanitizers."""
    objects: dict[tuple[str, str], Path] = {}
    for cache in ROOT.glob("build/*/CMakeCache.txt"):
        if re.search(r"^ENGINE_SANITIZE:\w+=.", cache.read_text(encoding="utf-8"), flags=re.MULTILINE):
            continue
        for path in cache.parent.glob("csrc/CMakeFiles/engine_kernels_*.dir/**/*.o"):
            isa = re.search(r"engine_kernels_(\w+)\.dir", path.as_posix())
            assert isa is not None
            key = isa[1], path.name
            if not (CSRC / "kernels" / path.stem).is_file():
                continue  # the source file does not exist any more
            old = objects.get(key)
            if old is None or old.stat().st_mtime < path.stat().st_mtime:
                objects[key] = path
    return objects


def symbols(path: Path, *options: str) -> set[str]:
    result = subprocess.run(["nm", *options, str(path)], check=True, capture_output=True, text=True)
    return {line.split(maxsplit=1)[0] for line in result.stdout.splitlines() if line}


needs_nm = pytest.mark.skipif(shutil.which("nm") is None, reason="nm (binutils) is not installed")


@needs_nm
def test_kernels_export_nothing_but_what_fills_their_table() -> None:
    objects = newest_kernel_objects()
    if not objects:
        pytest.skip("no build folder: the package was not built from this checkout")
    for (isa, _), path in objects.items():
        # Weak symbols are checked too: the linker keeps one of them, perhaps with instructions that this CPU lacks.
        (exported,) = symbols(path, "--defined-only", "--extern-only", "--format=posix", "--demangle")
        filler = rf"engine::{isa}::fill_\w+\(engine::KernelTable&\)"
        assert re.fullmatch(filler, exported)
        undefined = symbols(path, "--undefined-only", "--format=posix", "--demangle")
        assert {name for name in undefined if not re.fullmatch(filler, name)} <= KERNELS_MAY_CALL


@needs_nm
@pytest.mark.parametrize("module", ["_core", "cython_api"])
def test_module_exports_its_entry_alone(module: str) -> None:
    spec = importlib.util.find_spec(f"engine.{module}")
    assert spec is not None
    assert spec.origin is not None
    assert symbols(Path(spec.origin), "--dynamic", "--defined-only", "--format=posix") == {f"PyInit_{module}"}


def test_every_path_in_contributing_exists() -> None:
    """A path may begin at any folder, such as `graph/layer.cpp` or `layers.cpp`. `NAME` stands for any name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    words = re.findall(r"`([.\w/-]+)`", text)
    endings = (".h", ".cpp", ".py", ".md", ".css", ".toml", ".txt", ".yml")
    named = {word for word in words if word.endswith(endings) or ("/" in word and "=" not in word)}
    made = {word for word in named if word.startswith((".venv/", "build/")) or "NAME" in word} | {*endings}
    folders = ("csrc", "python", "tests", "docs", "bench", ".ci", ".github")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("*"))
    there = [f"/{relative(path)}/" for path in files]
    missing = {word for word in named - made if not any(f"/{word.strip('/')}/" in path for path in there)}
    assert len(named) > 50
    assert not missing
