"""`TextVectorization`: words, n-grams, vectors, functions of the user's, configs and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine.layers import TextVectorization

# The example of Keras' documentation.
WORDS = ["foo bar", "bar baz", "baz bada boom"]


def test_indices_of_words() -> None:
    layer = TextVectorization(max_tokens=5000, output_mode="int", output_sequence_length=4)
    layer.adapt(WORDS)
    assert layer.get_vocabulary() == ["", "[UNK]", "baz", "bar", "foo", "boom", "bada"]
    assert layer([["foo qux bar"], ["qux baz"]]).tolist() == [[4, 1, 3, 0], [1, 2, 0, 0]]
    given = TextVectorization(vocabulary=["earth", "wind", "and", "fire"], output_sequence_length=3)
    assert given(["earth, wind & FIRE!", ""]).tolist() == [[2, 3, 5], [0, 0, 0]]
    assert given.get_vocabulary() == ["", "[UNK]", "earth", "wind", "and", "fire"]
    assert given.vocabulary_size() == 6
    assert given.compute_output_shape((None, 1)) == (None, 3)


@pytest.mark.parametrize(
    "texts",
    [
        ["wind fire", "earth"],
        [["wind fire"], ["earth"]],
        np.array(["wind fire", "earth"]),
        np.array([b"wind fire", b"earth"]),
        np.array([["wind fire"], ["earth"]], object),
        ("wind\tfire\n", " earth "),
    ],
)
def test_kinds_of_inputs(texts: Any) -> None:
    layer = TextVectorization(vocabulary=["earth", "wind", "fire"])
    assert layer(texts).tolist() == [[3, 4], [2, 0]]
    assert layer(texts).dtype == np.int64


def test_one_text_and_arrays_of_texts() -> None:
    layer = TextVectorization(vocabulary=["earth", "wind"])
    assert layer("wind earth").tolist() == [3, 2]
    assert layer([[["wind"], ["earth"]]]).tolist() == [[[3], [2]]]
    assert layer(["", ""]).shape == (2, 0)


@pytest.mark.parametrize(
    ("standardize", "expected"),
    [
        ("lower_and_strip_punctuation", ["ab", "Äc"]),
        ("lower", ["a'b,", "Äc"]),
        ("strip_punctuation", ["AB", "ÄC"]),
        (None, ["A'B,", "ÄC"]),
        (lambda texts: np.char.replace(texts, "'", "-"), ["A-B,", "ÄC"]),
    ],
)
def test_standardize(standardize: Any, expected: list[str]) -> None:
    layer = TextVectorization(standardize=standardize)
    layer.adapt(["A'B, ÄC"])
    assert sorted(layer.get_vocabulary()[2:]) == sorted(expected)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("whitespace", {"a,b", "c"}),
        ("character", {"a", ",", "b", " ", "c"}),
        (None, {"a,b c"}),
        (lambda texts: np.char.split(texts, ","), {"a", "b c"}),
        (lambda texts: [text.split("b") for text in texts], {"a,", " c"}),
    ],
)
def test_split(split: Any, expected: set[str]) -> None:
    layer = TextVectorization(standardize=None, split=split)
    layer.adapt(["a,b c"])
    assert set(layer.get_vocabulary()[2:]) == expected


@pytest.mark.parametrize(
    ("ngrams", "expected"),
    [(2, ["a", "b", "c", "a b", "b c"]), ((3, 2), ["a b c", "a b", "b c"]), ([1], ["a", "b", "c"])],
)
def test_ngrams(ngrams: Any, expected: list[str]) -> None:
    layer = TextVectorization(ngrams=ngrams, vocabulary=sorted(expected))
    terms = layer.get_vocabulary()
    assert [terms[index] for index in layer("a b c").tolist()] == expected
    assert TextVectorization.from_config(layer.get_config())("a b c").tolist() == layer("a b c").tolist()


def test_words_that_come_split() -> None:
    layer = TextVectorization(split=None, vocabulary=["a", "b"], output_sequence_length=3)
    assert layer([["a", "b"], ["b", "z"]]).tolist() == [[2, 3, 0], [3, 1, 0]]
    counts = TextVectorization(split=None, vocabulary=["a", "b"], output_mode="count")
    assert counts([["a", "b"], ["b", "b"]]).tolist() == [[0, 1, 1], [0, 0, 2]]
    assert TextVectorization(split=None, ngrams=2, vocabulary=["a b"])([["a", "b"]]).tolist() == [[1, 1, 2]]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("multi_hot", [[0, 1, 1], [1, 1, 0]]), ("count", [[0, 2, 1], [1, 1, 0]])],
)
def test_vectors(mode: str, expected: Any) -> None:
    layer = TextVectorization(output_mode=mode, vocabulary=["wind", "fire"])
    assert layer(["wind fire wind", "wind snow"]).tolist() == expected
    assert layer.compute_output_shape((None, 1)) == (None, 3)
    padded = TextVectorization(
        output_mode=mode, vocabulary=["wind", "fire"], max_tokens=5, pad_to_max_tokens=True
    )
    assert padded(["wind fire wind"]).tolist() == [[*expected[0], 0, 0]]


def test_tf_idf() -> None:
    layer = TextVectorization(output_mode="tf-idf")
    layer.adapt(["a b", "b b"])
    rare, common = np.log(1 + 2 / 2), np.log(1 + 2 / 3)
    np.testing.assert_allclose(layer(["a b z b"]), [[(rare + common) / 2, 2 * common, rare]], rtol=1e-6)
    given = TextVectorization(output_mode="tf_idf", vocabulary=["a", "b"], idf_weights=[0.5, 1.5])
    np.testing.assert_allclose(given(["b b z"]), [[1.0, 0, 3.0]])


def test_adapt_takes_batches_and_frames() -> None:
    expected = ["", "[UNK]", "b", "c", "a"]
    layer = TextVectorization()
    layer.adapt(batch for batch in (np.array(["a b"]), np.array([["b c"]])))
    assert layer.get_vocabulary() == expected
    layer.adapt(iter([(["a b", "b c"], [0, 1]), (["d"], [1])]), steps=1)
    assert layer.get_vocabulary() == expected
    layer.adapt(["a b", "b c"], batch_size=1)
    assert layer.get_vocabulary() == expected
    layer.reset_state()
    layer.update_state(["A b!"])
    layer.update_state(["b c"])
    layer.finalize_state()
    assert layer.get_vocabulary() == expected
    pandas = pytest.importorskip("pandas")
    layer.adapt(pandas.Series(["a b", "b c"]))
    assert layer.get_vocabulary() == expected


def test_a_limit_of_words() -> None:
    layer = TextVectorization(max_tokens=4)
    layer.adapt(["a a a b b c"])
    assert layer.get_vocabulary() == ["", "[UNK]", "a", "b"]


@keras.utils.register_keras_serializable("tests")
def without_digits(texts: Any) -> Any:
    return np.array(["".join(each for each in text if not each.isdigit()) for text in texts])


def test_configs() -> None:
    layer = TextVectorization(standardize=without_digits, ngrams=(1, 2), output_mode="tf_idf")
    layer.adapt(["a1 b", "b b"])
    config = layer.get_config()
    again = TextVectorization.from_config(config)
    assert again.get_config() == config
    np.testing.assert_array_equal(again(["a b2"]), layer(["a b2"]))


def test_functions_that_a_config_names_must_be_known() -> None:
    def unknown(texts: Any) -> Any:
        return texts

    config = TextVectorization(split=unknown, vocabulary=["a"]).get_config()
    with pytest.raises(ValueError, match=r"`split` .* function 'unknown': pass it in `custom_objects`"):
        TextVectorization.from_config(config)
    with keras.utils.custom_object_scope({"unknown": unknown}):
        assert TextVectorization.from_config(config).get_vocabulary() == ["", "[UNK]", "a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 1}, "`max_tokens` must be at least 2"),
        ({"standardize": "upper"}, "`standardize`"),
        ({"split": "lines"}, "`split`"),
        ({"ngrams": 2.5}, "`ngrams` must be None, an integer"),
        ({"ngrams": 0}, "`ngrams` must be at least 1"),
        ({"output_mode": "hot"}, "`output_mode`"),
        ({"output_sequence_length": 0}, "`output_sequence_length` must be at least 1"),
        ({"output_mode": "count", "output_sequence_length": 4}, "not be set if `output_mode` is not 'int'"),
        ({"pad_to_max_tokens": True}, "needs `max_tokens`"),
        ({"ragged": True}, "`ragged`"),
        ({"vocabulary": ["a", "a"]}, "repeated term"),
        ({"vocabulary": ["a", ""]}, "reserved mask token"),
    ],
)
def test_arguments_that_are_refused(options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        TextVectorization(**options)


def test_inputs_that_are_refused() -> None:
    layer = TextVectorization(vocabulary=["a"])
    with pytest.raises(ValueError, match="last shape dimension must be 1"):
        layer([["a", "b"]])
    with pytest.raises(TypeError, match="must hold strings"):
        layer([1.5])
    with pytest.raises(ValueError, match="a list of words for each of the 2 texts, got 1"):
        TextVectorization(vocabulary=["a"], split=lambda texts: [["a"]])(["a", "b"])
    with pytest.raises(RuntimeError, match="set the layer's vocabulary"):
        TextVectorization(output_mode="count")(["a"])
    with pytest.raises(ValueError, match="static vocabulary"):
        layer.adapt(["b"])
