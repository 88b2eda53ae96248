"""Compares the shapes of symbols with unknown lengths with Keras'."""

from __future__ import annotations

import keras
import pytest
from shapes_of_symbols import CASES, REFUSED, Case, shapes_in


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_shape(case: Case) -> None:
    assert shapes_in(case.expression(keras.ops, *map(keras.KerasTensor, case.inputs))) == case.shape


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case: Case) -> None:
    with pytest.raises(ValueError, match=r"."):
        case.expression(keras.ops, *map(keras.KerasTensor, case.inputs))
