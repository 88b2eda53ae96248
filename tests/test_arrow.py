"""Tables and record batches of Arrow as samples and targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from common import assert_all_equal

import engine as keras

RNG = np.random.default_rng(3)
NAMES = ["age", "height", "weight"]
X = RNG.standard_normal((50, len(NAMES))).astype(np.float32)
Y = RNG.integers(0, 2, len(X))
TABLE = pa.table({name: X[:, i] for i, name in enumerate(NAMES)} | {"ill": Y})


def model() -> keras.Sequential:
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((len(NAMES),)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1, "sigmoid")]
    )
    model.compile("adam", "binary_crossentropy")
    return model


def trained_on(x: Any, y: Any = None, **options: Any) -> keras.Sequential:
    result = model()
    result.fit(x, y, batch_size=16, verbose=0, **options)
    return result


@pytest.mark.parametrize("rows", [1, 7])
def test_a_table_trains_as_its_array(rows: int) -> None:
    table = pa.concat_tables(TABLE.slice(i, rows) for i in range(0, len(X), rows))
    found = trained_on(table.select(NAMES), table["ill"], validation_split=0.2)
    assert_all_equal(found.get_weights(), trained_on(X, Y, validation_split=0.2).get_weights())


@pytest.mark.parametrize("dtype", [pa.float64(), pa.float32()])
def test_columns_are_found_by_their_names(dtype: Any) -> None:
    network = trained_on(TABLE.select(NAMES), TABLE["ill"])
    other = pa.table({name: TABLE[name].cast(dtype) for name in reversed(NAMES)})
    np.testing.assert_array_equal(network.predict(other, verbose=0), network.predict(X, verbose=0))
    with pytest.raises(ValueError, match="weight"):
        network.predict(TABLE.select(NAMES[:2]), verbose=0)


def test_batches_of_a_parquet_file_are_trained_on(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "people.parquet")

    def batches() -> Iterator[tuple[Any, Any]]:
        for batch in pq.ParquetFile(tmp_path / "people.parquet").iter_batches(16):
            yield batch.select(NAMES), batch["ill"]

    assert_all_equal(trained_on(batches()).get_weights(), trained_on(X, Y, shuffle=False).get_weights())


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        ([1.0, None], ValueError, "row 1 holds nan in column 'age'"),
        (["young", "old"], TypeError, r"'age' \(string\)"),
    ],
)
def test_a_column_that_cannot_be_read_is_named(column: Any, error: type[Exception], message: str) -> None:
    table = pa.table({"age": column, "height": [1.0, 2.0], "weight": [1.0, 2.0]})
    with pytest.raises(error, match=message):
        model().predict(table, verbose=0)
