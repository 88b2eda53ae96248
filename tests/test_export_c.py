"""Exported C headers compile without warnings as C and as C++, and predict the same as `predict`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import CASES, ROWS, TOLERANCE, Array, extreme_cases, require_close, scaled_inputs

import engine as keras
from engine.export.c_writer import literal

STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-O1"]
C, CPP = ["gcc", "-std=c99"], ["g++", "-std=c++11"]

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

# A program that reads the samples of each model, and writes the outputs and the deviation of its self-test.
MAIN = """\
#include <stdio.h>
{includes}
{functions}
int main(void)
{{
{calls}
    return 0;
}}
"""
FUNCTION = """\
static int run_{name}(void)
{{
    static float scratch[{upper}_SCRATCH_SIZE], input[{upper}_INPUT_SIZE], output[{upper}_OUTPUT_SIZE];
    for (int row = 0; row < {rows}; ++row) {{
        if (fread(input, sizeof(float), {upper}_INPUT_SIZE, stdin) != {upper}_INPUT_SIZE) return 1;
        {name}_predict(input, output, scratch);
        fwrite(output, sizeof(float), {upper}_OUTPUT_SIZE, stdout);
    }}
    output[0] = {name}_test(output, scratch);
    fwrite(output, sizeof(float), 1, stdout);
    return 0;
}}
"""


def compiled(folder: Path, samples: Mapping[str, Array], compiler: list[str], suffix: str) -> Path:
    functions = [
        FUNCTION.format(name=name, upper=name.upper(), rows=len(rows)) for name, rows in samples.items()
    ]
    source = MAIN.format(
        includes="\n".join(f'#include "{name}.h"' for name in samples),
        functions="\n".join(functions),
        calls="\n".join(f"    if (run_{name}()) return 1;" for name in samples),
    )
    (folder / f"main.{suffix}").write_text(source, encoding="utf-8")
    build(folder, [*compiler, f"main.{suffix}", "-o", f"main_{suffix}"])
    return folder / f"main_{suffix}"


def build(folder: Path, command: list[str]) -> None:
    result = subprocess.run(
        [*command, *STRICT, "-lm"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[:4000]


def run_c(folder: Path, source: str) -> None:
    """Compiles a program and runs it; it must end with 0."""
    (folder / "a.c").write_text(source, encoding="utf-8")
    build(folder, [*C, "a.c", "-o", "program"])
    subprocess.run([folder / "program"], check=True)


def outputs_of(program: Path, samples: Mapping[str, Array], sizes: Mapping[str, int]) -> dict[str, Array]:
    """Returns the outputs of each model by row, and its deviation as the last number."""
    given = b"".join(x.tobytes() for x in samples.values())
    result = subprocess.run([program], input=given, capture_output=True, check=True)
    numbers, found = np.frombuffer(result.stdout, np.float32), {}
    for name in samples:
        count = sizes[name] + 1
        found[name], numbers = numbers[:count], numbers[count:]
    assert not numbers.size
    return found


# The scales of the inputs of each case.
GIVEN = {name: [1.0] for name in CASES}
for _name, _scale in extreme_cases():
    GIVEN[_name].append(_scale)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, float], tuple[Array, Array, Array]]:
    """Returns for each case and scale the outputs of the compiled header, those of `predict`, and the deviation of its test."""
    folder = tmp_path_factory.mktemp("c")
    keras.utils.set_random_seed(1)
    expected, samples = {}, {}
    for name, case in CASES.items():
        model = case.model()
        model.export(folder / f"{name}.h")
        samples[name] = np.concatenate([scaled_inputs(case, scale) for scale in GIVEN[name]])
        expected[name] = model.predict(samples[name]).reshape(len(samples[name]), -1)
    sizes = {name: each.size for name, each in expected.items()}
    found = outputs_of(compiled(folder, samples, C, "c"), samples, sizes)
    again = outputs_of(compiled(folder, samples, CPP, "cpp"), samples, sizes)
    assert all(found[name].tobytes() == again[name].tobytes() for name in CASES)
    return {
        (name, scale): (rows, wanted, found[name][-1])
        for name, scales in GIVEN.items()
        for scale, rows, wanted in zip(
            scales,
            found[name][:-1].reshape(len(scales), ROWS, -1),
            expected[name].reshape(len(scales), ROWS, -1),
            strict=True,
        )
    }


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_predict(name: str, programs: dict[tuple[str, float], Any]) -> None:
    found, expected, deviation = programs[name, 1.0]
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert 0.0 <= deviation <= TOLERANCE * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize(("name", "scale"), extreme_cases())
def test_outputs_are_those_of_predict_for_extreme_inputs(
    name: str, scale: float, programs: dict[tuple[str, float], Any]
) -> None:
    found, expected, _ = programs[name, scale]
    require_close(found, expected)


def small() -> keras.Sequential:
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2, "softmax")], name="net"
    )


def test_several_files_may_include_it_and_one_needs_no_scratch_of_its_own(tmp_path: Path) -> None:
    small().export(tmp_path / "net.h")
    (tmp_path / "a.c").write_text(
        '#include "net.h"\n#include "net.h"\nint a(void);\nint a(void) { return NET_INPUT_SIZE; }\n',
        encoding="utf-8",
    )
    (tmp_path / "b.c").write_text(
        '#include "net.h"\nint a(void);\nint main(void)\n{\n'
        "    static float scratch[NET_SCRATCH_SIZE], output[NET_OUTPUT_SIZE];\n"
        "    return a() == 3 && net_test(output, scratch) < 1e-6f ? 0 : 1;\n}\n",
        encoding="utf-8",
    )
    build(tmp_path, [*C, "a.c", "b.c", "-o", "program"])
    subprocess.run([tmp_path / "program"], check=True)


def test_a_file_that_predicts_nothing_holds_no_weights(tmp_path: Path) -> None:
    CASES["mnist"].model().export(tmp_path / "net.h")
    (tmp_path / "a.c").write_text(
        '#include "net.h"\nint a(void);\nint a(void) { return 1; }\n', encoding="utf-8"
    )
    build(tmp_path, [*C, "-c", "a.c"])
    assert (tmp_path / "a.o").stat().st_size < 10_000


def test_it_needs_nothing_but_math_and_allocates_nothing(tmp_path: Path) -> None:
    small().export(tmp_path / "net.h")
    text = (tmp_path / "net.h").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("#include")] == ["#include <math.h>"]
    assert "alloc" not in text.replace("allocated", "")
    assert text.isascii()


@pytest.mark.parametrize(
    ("file", "prefix"),
    [
        ("digits.h", "digits"),
        ("my net-2.h", "my_net_2"),
        ("2nd.h", "model_2nd"),
        ("é.h", "model"),
        ("_x.h", "x"),
        ("_2__x-.h", "model_2_x"),
    ],
)
def test_names_begin_with_that_of_the_file(file: str, prefix: str, tmp_path: Path) -> None:
    small().export(tmp_path / file)
    run_c(
        tmp_path,
        f'#include "{file}"\nint main(void)\n{{\n    float s[{prefix.upper()}_SCRATCH_SIZE], y[2];\n'
        f"    return {prefix}_test(y, s) < 1e-6f ? 0 : 1;\n}}\n",
    )


def test_names_of_layers_can_not_break_it(tmp_path: Path) -> None:
    names = [
        "a b",
        "a_b",
        "a__b",
        "_",
        "é",
        "*/ int x;",
        "/*",
        "net",
        "??/",
        "a\nb",
        "a\\",
        "predict",
        "x" * 300,
    ]
    layers = [keras.layers.Dense(3) for _ in names]
    for layer, name in zip(layers, names, strict=True):
        layer.name = name  # set directly, so that it is not checked
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.name = "*/ #error\n"
    model.export(tmp_path / "net.h", prefix="other")
    run_c(
        tmp_path,
        '#include "net.h"\nint main(void)\n{\n    float s[OTHER_SCRATCH_SIZE], y[3];\n'
        "    return other_test(y, s) < 1e-5f ? 0 : 1;\n}\n",
    )
    text = (tmp_path / "net.h").read_text(encoding="utf-8")
    assert not re.search(r"\bother_\w*__", text)  # names with two underscores are reserved in C++


def test_scratch_holds_what_lies_between(tmp_path: Path) -> None:
    def size(*layers: Any) -> int:
        keras.Sequential([keras.Input((3,)), *layers]).export(tmp_path / "net.h")
        (line,) = [each for each in (tmp_path / "net.h").read_text().splitlines() if "SCRATCH_SIZE " in each]
        return int(line.split()[-1])

    dense = keras.layers.Dense
    assert size(dense(5, "softmax")) == 1
    assert size(dense(5, "relu"), dense(2)) == 5
    assert size(dense(5), dense(7), dense(2)) == 12
    assert size(dense(5), dense(7), dense(4), dense(90)) == 12
    assert size(keras.layers.Rescaling(2.0)) == 1
    assert size(keras.layers.Flatten()) == 1


def test_numbers_come_back_with_the_same_bits(tmp_path: Path) -> None:
    bits = np.uint32(
        [0, 1, 0x80000000, 0x80000001, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x3DCCCCCD, 0x3F800001, 0x4B800001]
    )
    texts = [literal(float(number)) for number in bits.view(np.float32)]
    assert all(text.endswith("f") for text in texts)
    assert np.float32([text[:-1] for text in texts]).tobytes() == bits.tobytes()
    run_c(
        tmp_path,
        f"#include <string.h>\nint main(void)\n{{\n    const float x[] = {{{', '.join(texts)}}};\n"
        f"    const unsigned bits[] = {{{', '.join(f'{each}u' for each in bits)}}};\n"
        "    return memcmp(x, bits, sizeof bits) ? 1 : 0;\n}\n",
    )


def test_weights_have_the_same_bits(tmp_path: Path) -> None:
    model = CASES["mnist"].model()
    model.export(tmp_path / "net.h")
    text = (tmp_path / "net.h").read_text(encoding="utf-8")
    found = text.split("_kernel[100352] = {")[1].split("}")[0].replace("f", "").split(",")[:-1]
    np.testing.assert_array_equal(np.array(found, np.float32), model.get_weights()[0].reshape(-1))


def test_tokens_beyond_a_table_read_nothing_beyond_it(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Embedding(3, 1)])
    model.set_weights([np.array([[1.0], [2.0], [3.0]])])
    model.export(tmp_path / "net.h")
    run_c(
        tmp_path,
        '#include "net.h"\nint main(void)\n{\n    const float x[4] = {-5.0f, NAN, 1e30f, 1.0f};\n'
        "    float y[4], s[NET_SCRATCH_SIZE];\n    net_predict(x, y, s);\n"
        "    return y[0] == 1.0f && y[1] == 1.0f && y[2] == 3.0f && y[3] == 2.0f ? 0 : 1;\n}\n",
    )


def test_weights_of_a_layer_that_comes_again_are_there_once(tmp_path: Path) -> None:
    tied = keras.layers.Dense(4, name="tied")
    keras.Sequential([keras.Input((4,)), tied, keras.layers.ReLU(), tied]).export(tmp_path / "m.h")
    text = (tmp_path / "m.h").read_text()
    assert text.count("static const float m_tied_kernel[") == 1
    assert "tied_kernel_2" not in text
