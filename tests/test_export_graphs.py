"""Exported graphs compute what `predict` does: ONNX in onnxruntime, C compiled by gcc, the layers of a state dict in torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest
from common import assert_all_close
from exported import TOLERANCE, Array
from onnx.reference import ReferenceEvaluator
from random_graphs import RandomGraph, arrays
from test_export_c import STRICT, C

import engine as keras
from engine import layers as k
from engine.export import c_format, onnx_format
from engine.export.c_format import write_c
from engine.export.graph import MERGING, Graph, ModelInput, ModelOutput, Stage
from engine.export.onnx_format import write_onnx
from engine.layers.merging import _Merging

GRAPHS = int(os.environ.get("RANDOM_GRAPHS", "50"))
ROWS = 5
# Tolerance of random graphs, in which a normalization of a few close numbers may enlarge what rounding changes.
LOOSER = 20 * TOLERANCE


def run(model: Any, x: Any) -> list[Array]:
    """Computes outputs with onnxruntime, from the samples of each input."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # only errors
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return list(session.run(None, dict(zip(names, arrays(x), strict=True))))


def evaluate(model: Any, x: Any) -> list[Array]:
    """Computes outputs with ONNX's reference evaluator."""
    names = [each.name for each in model.graph.input]
    return list(ReferenceEvaluator(model).run(None, dict(zip(names, arrays(x), strict=True))))


def exported(model: keras.Model, folder: Path) -> Any:
    model.export(folder / "m.onnx")
    return onnx.load(folder / "m.onnx")


PROGRAM = """\
static int run_{name}(void)
{{
    static float scratch[{upper}_SCRATCH_SIZE];
{declarations}
    for (int row = 0; row < {rows}; ++row) {{
{reads}
        {name}_predict({arguments}, scratch);
{writes}
    }}
    const float deviation = {name}_test({outputs}, scratch);
    fwrite(&deviation, sizeof(float), 1, stdout);
    return 0;
}}
"""


def program_for(name: str, header: str) -> str:
    """Returns a function in C that predicts the samples from the standard input."""
    (found,) = re.findall(rf"void {name}_predict\((.*)\)", header)
    ends = [each.split("*")[1] for each in found.split(", ") if "scratch" not in each]
    inputs = [each for each in ends if each.startswith("input")]
    outputs = [each for each in ends if each.startswith("output")]
    size = {each: f"{name.upper()}_{each.upper()}_SIZE" for each in ends}
    return PROGRAM.format(
        name=name,
        upper=name.upper(),
        rows=ROWS,
        declarations="\n".join(f"    static float {each}[{size[each]}];" for each in ends),
        reads="\n".join(
            f"        if (fread({each}, sizeof(float), {size[each]}, stdin) != {size[each]}) return 1;"
            for each in inputs
        ),
        arguments=", ".join(ends),
        writes="\n".join(f"        fwrite({each}, sizeof(float), {size[each]}, stdout);" for each in outputs),
        outputs=", ".join(outputs),
    )


def computed_in_c(
    models: list[keras.Model], samples: list[Any], folder: Path, *options: str
) -> list[list[Array]]:
    """Returns the outputs of each model in a compiled program, and as the last array the deviation of its own test.

    `options` go to the compiler: with "-O0", many models are compiled in half the time.
    """
    for number, model in enumerate(models):
        model.export(folder / f"m{number}.h")
    return compiled_and_run(
        folder, [[each.shape[1:] for each in model.outputs] for model in models], samples, *options
    )


def compiled_and_run(
    folder: Path, shapes: list[list[Any]], samples: list[Any], *options: str
) -> list[list[Array]]:
    """The same for headers m0.h, m1.h, ... of models whose outputs have these shapes."""
    names = [f"m{number}" for number in range(len(shapes))]
    texts = [(folder / f"{name}.h").read_text(encoding="utf-8") for name in names]
    source = [
        "#include <stdio.h>",
        *(f'#include "{name}.h"' for name in names),
        *map(program_for, names, texts),
        "int main(void)\n{",
        *(f"    if (run_{name}()) return 1;" for name in names),
        "    return 0;\n}\n",
    ]
    (folder / "main.c").write_text("\n".join(source), encoding="utf-8")
    command = [*C, "main.c", "-o", "main", *STRICT, *options, "-fsanitize=address,undefined", "-lm"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[:4000]
    given = b"".join(
        np.asarray(each[row], np.float32).tobytes()
        for x in samples
        for row in range(ROWS)
        for each in arrays(x)
    )
    result = subprocess.run([folder / "main"], input=given, capture_output=True, check=True)
    numbers, found = np.frombuffer(result.stdout, np.float32), list[list[Array]]()
    for ends in shapes:
        sizes = [int(np.prod(shape)) for shape in ends]
        count = ROWS * sum(sizes)
        rows = np.split(numbers[:count].reshape(ROWS, -1), np.cumsum(sizes)[:-1], axis=1)
        outputs = [part.reshape(ROWS, *shape) for part, shape in zip(rows, ends, strict=True)]
        found.append([*outputs, numbers[count : count + 1]])
        numbers = numbers[count + 1 :]
    assert not numbers.size
    return found


def random_graph(seed: int) -> RandomGraph:
    merging = tuple(name for name in MERGING if name in k.__all__ and name not in {"Concatenate", "Dot"})
    return RandomGraph(keras, seed, merging)


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[Array], list[Array]]]:
    """Returns for each random graph what C computes, and what `predict` does."""
    every = [random_graph(seed) for seed in range(GRAPHS)]
    samples = [graph.x(ROWS) for graph in every]
    found = computed_in_c([graph.model for graph in every], samples, tmp_path_factory.mktemp("c"), "-O0")
    wanted = [arrays(graph.model.predict(x, verbose=0)) for graph, x in zip(every, samples, strict=True)]
    return list(zip(found, wanted, strict=True))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("seed", range(GRAPHS))
def test_random_graphs_in_c(seed: int, in_c: list[tuple[list[Array], list[Array]]]) -> None:
    (*found, deviation), wanted = in_c[seed]
    assert_all_close(found, wanted, rtol=LOOSER, atol=LOOSER)
    assert deviation <= LOOSER


@pytest.mark.parametrize("compute", [run, evaluate])
@pytest.mark.parametrize("seed", range(GRAPHS))
def test_random_graphs_in_onnx(seed: int, compute: Any, tmp_path: Path) -> None:
    graph = random_graph(seed)
    model = exported(graph.model, tmp_path)
    onnx.checker.check_model(model, full_check=True)
    x = graph.x(ROWS)
    wanted = arrays(graph.model.predict(x, verbose=0))
    assert_all_close(compute(model, x), wanted, rtol=LOOSER, atol=LOOSER)


def merged(name: str, arrays: list[Array], **options: Any) -> Array:
    """Computes a layer that merges inputs, by its definition."""
    if name == "Dot":
        left, right = arrays
        both = options["axes"] if isinstance(options["axes"], tuple) else (options["axes"],) * 2
        if options["normalize"]:
            left, right = (
                array / np.maximum(np.linalg.norm(array, axis=axis, keepdims=True), 1e-7)
                for array, axis in zip(arrays, both, strict=True)
            )
        rows = [
            np.tensordot(a, b, [[axis - (axis > 0)] for axis, a in zip(both, (a, b), strict=True)])
            for a, b in zip(left, right, strict=True)
        ]
        return np.reshape(rows, (len(rows), *(rows[0].shape or (1,))))
    if name == "Concatenate":
        return np.concatenate(arrays, options["axis"])
    axes = max(array.ndim for array in arrays)
    arrays = [array.reshape(len(array), *(1,) * (axes - array.ndim), *array.shape[1:]) for array in arrays]
    total = arrays[0]
    for array in arrays[1:]:
        operation = {"Add": np.add, "Average": np.add, "Subtract": np.subtract, "Multiply": np.multiply}
        operation |= {"Maximum": np.maximum, "Minimum": np.minimum}
        total = operation[name](total, array)
    return total / len(arrays) if name == "Average" else total


MERGES: list[tuple[str, list[tuple[int, ...]], dict[str, Any]]] = [
    *(
        (name, shapes, {})
        for name in MERGING
        for shapes in ([(4,), (4,)], [(2, 3), (3,)], [(1, 3), (4, 1)], [(), (3,)], [(2, 1, 3), (1, 4, 1)], [(5,)])
        if name not in {"Concatenate", "Dot", "Subtract"} or (name == "Subtract" and len(shapes) > 1)
    ),
    *((name, [(3,), (2, 3), (1,)], {}) for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")),
    ("Concatenate", [(2, 3), (2, 1), (2, 3)], {"axis": -1}),
    ("Concatenate", [(2, 3), (4, 3)], {"axis": 1}),
    ("Concatenate", [(2, 2, 3), (2, 4, 3)], {"axis": -2}),
    *(("Dot", [(4,), (4,)], {"axes": axes, "normalize": normalize}) for axes in (1, -1) for normalize in (0, 1)),
    *(("Dot", [(3, 4), (5, 4)], {"axes": axes, "normalize": normalize}) for axes in (2, -1) for normalize in (0, 1)),
    ("Dot", [(4, 3), (4, 5)], {"axes": 1, "normalize": True}),
    ("Dot", [(3, 4), (4, 5)], {"axes": (2, 1), "normalize": False}),
    ("Dot", [(4,), (5, 4)], {"axes": (1, 2), "normalize": False}),
    ("Dot", [(2, 4), (4,)], {"axes": (-1, -1), "normalize": False}),
    ("Dot", [(2, 4, 3), (5, 2, 4)], {"axes": (2, 3), "normalize": True}),
]  # fmt: skip


def one_merge(number: int) -> tuple[Graph, list[Array], Array]:
    """Returns the graph of one layer that merges inputs, samples, and what it computes."""
    name, shapes, options = MERGES[number]
    rng = np.random.default_rng(number)
    x = [rng.normal(size=(ROWS, *shape)).astype(np.float32) for shape in shapes]
    y = np.asarray(merged(name, x, **options), np.float32)
    layer = cast("Any", type(name, (), options)())
    step = MERGING[name](layer, shapes, y.shape[1:])._replace(reads=tuple(range(-1, -1 - len(x), -1)))
    inputs = [
        ModelInput(f"x{at}", "float32", shape, array[0].reshape(-1))
        for at, (shape, array) in enumerate(zip(shapes, x, strict=True))
    ]
    stage = Stage("merged", "merged", name, shapes, y.shape[1:], [step])
    output = ModelOutput("merged", y.shape[1:], 0, y[0].reshape(-1))
    return Graph("merge", inputs, [stage], [output]), x, y


@pytest.mark.parametrize("number", range(len(MERGES)))
def test_layers_that_merge_in_onnx(number: int, tmp_path: Path) -> None:
    graph, x, y = one_merge(number)
    write_onnx(graph, tmp_path / "m.onnx")
    for compute in (run, evaluate):
        (found,) = compute(onnx.load(tmp_path / "m.onnx"), x)
        np.testing.assert_allclose(found, y, rtol=2e-6, atol=2e-6)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_layers_that_merge_in_c(tmp_path: Path) -> None:
    every = [one_merge(number) for number in range(len(MERGES))]
    for number, (graph, _, _) in enumerate(every):
        write_c(graph, tmp_path / f"m{number}.h")
    shapes = [[output.shape for output in graph.outputs] for graph, _, _ in every]
    found = compiled_and_run(tmp_path, shapes, [x for _, x, _ in every])
    for (_, _, y), (ours, deviation) in zip(every, found, strict=True):
        np.testing.assert_allclose(ours, y, rtol=2e-6, atol=2e-6)
        assert deviation <= 2e-6


def test_every_layer_that_merges_has_its_entry() -> None:
    base = {
        name
        for name in k.__all__
        if isinstance(getattr(k, name), type) and issubclass(getattr(k, name), _Merging)
    }
    assert base <= MERGING.keys()
    assert {name.lower() for name in MERGING} <= c_format.OPERATIONS.keys()
    assert {name.lower() for name in MERGING} <= onnx_format.OPERATIONS.keys()


def two_by_two() -> keras.Model:
    left, right = keras.Input((4,), name="left one"), keras.Input((2, 3), name="right", dtype="int32")
    both = k.Concatenate(name="both")([left, k.Flatten(name="flat")(right)])
    kind = k.Dense(3, "softmax", name="kind")(both)
    return keras.Model([left, right], [kind, k.Dense(2, name="size")(both), both], name="net")


def test_names_in_onnx_are_those_of_layers(tmp_path: Path) -> None:
    graph = exported(two_by_two(), tmp_path).graph
    assert [each.name for each in graph.input] == ["left one", "right"]
    assert [each.type.tensor_type.elem_type for each in graph.input] == [
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT32,
    ]
    assert [each.name for each in graph.output] == ["kind", "size", "both"]
    assert {name for node in graph.node for name in node.output} == {
        "right/Cast", "flat", "both", "kind/Gemm", "kind", "size"
    }  # fmt: skip


def test_names_in_onnx_are_the_keys_of_dicts(tmp_path: Path) -> None:
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    last = k.Add(name="y")([k.Dense(2, name="x")(a), b])
    model = keras.Model(
        {"first": a, "second": b}, {"x": last, "same": last, "y": a, "z": k.ReLU(name="z")(b)}
    )
    file = exported(model, tmp_path)
    assert [each.name for each in file.graph.input] == ["first", "second"]
    assert [each.name for each in file.graph.output] == ["same", "x", "y", "z"]
    x = {"first": np.ones((3, 2), np.float32), "second": np.full((3, 2), -2, np.float32)}
    assert_all_close(run(file, x), arrays(model.predict(x, verbose=0)), rtol=TOLERANCE, atol=TOLERANCE)


def test_names_in_c_are_those_of_inputs_and_outputs(tmp_path: Path) -> None:
    two_by_two().export(tmp_path / "net.h")
    text = (tmp_path / "net.h").read_text(encoding="utf-8")
    assert (
        "static inline void net_predict(const float *input_left_one, const float *input_right, float *output_kind, "
        "float *output_size, float *output_both, float *scratch)"
    ) in text
    assert (
        "#define NET_INPUT_LEFT_ONE_SIZE 4\n#define NET_INPUT_RIGHT_SIZE 6\n#define NET_OUTPUT_KIND_SIZE 3\n"
        in text
    )
    assert " *     float input_right[NET_INPUT_RIGHT_SIZE];          one sample (2, 3), row by row\n" in text
    assert (
        " *     net_predict(input_left_one, input_right, output_kind, output_size, output_both, scratch);\n"
        in text
    )


def test_names_of_inputs_that_are_alike_in_c(tmp_path: Path) -> None:
    x = [keras.Input((2,), name=name) for name in ("a b", "a_b", "é", "_", "a" * 50 + "1", "a" * 50 + "2")]
    model = keras.Model(x, k.Add()(x))
    samples = [np.full((ROWS, 2), number, np.float32) for number in range(len(x))]
    ((found, _),) = computed_in_c([model], [samples], tmp_path)
    np.testing.assert_array_equal(found, np.full((ROWS, 2), 15))


def test_ends_that_are_inputs_or_come_twice(tmp_path: Path) -> None:
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    same = k.Dropout(0.5)(a)
    half = k.Rescaling(0.5)(same)
    model = keras.Model([a, b], [a, half, half, same, k.ReLU()(half), k.Identity()(b)])
    x = [np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2) - 3, np.ones((ROWS, 2), np.float32)]
    wanted = model.predict(x, verbose=0)
    ((*found, deviation),) = computed_in_c([model], [x], tmp_path)
    for ours, onnxs, theirs in zip(found, run(exported(model, tmp_path), x), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(onnxs, theirs)
    assert not deviation


def test_masks_reach_the_means_of_their_branch(tmp_path: Path) -> None:
    ids, x = keras.Input((4,), name="ids"), keras.Input((4, 3), name="x")
    words = k.Embedding(5, 3, mask_zero=True)(ids)
    kept = k.Masking()(k.ReLU()(x))
    mean = k.GlobalAveragePooling1D
    plain = k.Embedding(5, 3)(ids)
    ends = [
        mean()(words),
        mean()(kept),
        mean()(plain),
        mean()(k.Dense(2)(k.Add()([words, k.Dense(3)(words)]))),
    ]
    model = keras.Model([ids, x], ends)
    rng = np.random.default_rng(0)
    samples = [
        rng.integers(0, 3, (ROWS, 4)).astype(np.float32),
        (rng.normal(size=(ROWS, 4, 3)) - 0.8).astype(np.float32),
    ]
    wanted = model.predict(samples, verbose=0)
    ((*found, _),) = computed_in_c([model], [samples], tmp_path)
    for ours, onnxs, theirs in zip(found, run(exported(model, tmp_path), samples), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)
        np.testing.assert_allclose(onnxs, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_branches_share_scratch_memory(tmp_path: Path) -> None:
    x = keras.Input((3,))

    def size(*outputs: Any) -> int:
        keras.Model(x, list(outputs)).export(tmp_path / "net.h")
        (line,) = [each for each in (tmp_path / "net.h").read_text().splitlines() if "SCRATCH_SIZE " in each]
        return int(line.split()[-1])

    branch = [k.Dense(2)(k.Dense(50)(x)) for _ in range(4)]
    assert size(k.Concatenate()(branch)) == 4 * 50 + 2
    left = k.Dense(8)(x)
    assert size(k.Add()([left, k.Dense(8)(left)])) == 8
    assert size(left, k.ReLU()(left)) == 1
