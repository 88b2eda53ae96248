"""`preprocessing.text` and `preprocessing.sequence`, beside what Keras 3.15 keeps of them."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from keras._tf_keras.keras.preprocessing import sequence as their_sequence
from keras._tf_keras.keras.preprocessing import text as their_text

from engine.preprocessing import sequence, text

TEXTS = ["The cat sat on the mat.", "A dog & a cat!", "", "mat\tDog\nmat", ["Cat", "emu"], "Ünïcode, ünïcode"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_words": 4},
        {"num_words": 4, "oov_token": "<OOV>"},
        {"oov_token": "<OOV>"},
        {"lower": False, "filters": "."},
        {"char_level": True},
        {"split": "t"},
        {"analyzer": lambda given: given.split("a")},
        {"num_words": 0},
    ],
)
def test_tokenizers(options: Any) -> None:
    ours, theirs = text.Tokenizer(**options), their_text.Tokenizer(**options)
    for tokenizer in (ours, theirs):
        tokenizer.fit_on_texts(TEXTS[:3])
        tokenizer.fit_on_texts(TEXTS[3:])
    unseen = [*TEXTS, "an emu and a dog and a zebra"]
    found = ours.texts_to_sequences(unseen)
    assert found == theirs.texts_to_sequences(unseen)
    assert ours.sequences_to_texts([*found, [1, 99]]) == theirs.sequences_to_texts([*found, [1, 99]])
    for mode in ("binary", "count", "freq", "tfidf"):
        np.testing.assert_allclose(
            ours.texts_to_matrix(unseen, mode), theirs.texts_to_matrix(unseen, mode), rtol=1e-15
        )
    for name in ("word_index", "index_word", "document_count", "word_counts", "word_docs", "index_docs"):
        assert getattr(ours, name) == getattr(theirs, name)
    if "analyzer" not in options:
        again = text.tokenizer_from_json(theirs.to_json())
        assert again.texts_to_sequences(unseen) == found
        back = their_text.tokenizer_from_json(ours.to_json())
        assert back.texts_to_sequences(unseen) == found
        assert json.loads(ours.to_json())["config"].keys() == json.loads(theirs.to_json())["config"].keys()


def test_tokenizers_of_sequences() -> None:
    ours, theirs = text.Tokenizer(num_words=5), their_text.Tokenizer(num_words=5)
    for tokenizer in (ours, theirs):
        tokenizer.fit_on_sequences([[1, 2, 2], [3], [1, 7]])
    np.testing.assert_allclose(
        ours.sequences_to_matrix([[1, 1, 4], []], "tfidf"),
        theirs.sequences_to_matrix([[1, 1, 4], []], "tfidf"),
    )


def test_tokenizers_that_refuse() -> None:
    with pytest.raises(ValueError, match="Specify a dimension"):
        text.Tokenizer().texts_to_matrix(["a"])
    with pytest.raises(ValueError, match="before using tfidf"):
        text.Tokenizer(num_words=3).sequences_to_matrix([[1]], "tfidf")
    with pytest.raises(ValueError, match="`mode`"):
        text.Tokenizer(num_words=3).sequences_to_matrix([[1]], "idf")
    with pytest.raises(TypeError, match="Unrecognized keyword"):
        text.Tokenizer(words=3)
    with pytest.warns(UserWarning, match="renamed `num_words`"):
        assert text.Tokenizer(nb_words=3).num_words == 3


@pytest.mark.parametrize("given", TEXTS[:4])
def test_functions_of_texts(given: str) -> None:
    for options in ({}, {"lower": False}, {"filters": "t"}, {"split": "a"}):
        assert text.text_to_word_sequence(given, **options) == their_text.text_to_word_sequence(
            given, **options
        )
        assert text.one_hot(given, 50, **options) == their_text.one_hot(given, 50, **options)
        for function in (None, "md5", len):
            assert text.hashing_trick(given, 50, function, **options) == their_text.hashing_trick(
                given, 50, function, **options
            )
    split = {"analyzer": str.split}
    assert text.hashing_trick(given, 9, "md5", **split) == their_text.hashing_trick(given, 9, "md5", **split)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampling_rate": 2, "stride": 3, "batch_size": 4},
        {"start_index": 3, "end_index": 15, "reverse": True},
        {"shuffle": True, "batch_size": 5},
    ],
)
def test_windows(options: Any) -> None:
    data, targets = np.arange(40).reshape(20, 2), np.arange(20)
    ours, theirs = (
        each.TimeseriesGenerator(data, targets, 4, **options) for each in (sequence, their_sequence)
    )
    assert len(ours) == len(theirs)
    for index in range(len(ours)):
        np.random.seed(index)  # noqa: NPY002 # what Keras draws from
        x, y = ours[index]
        np.random.seed(index)  # noqa: NPY002
        expected = theirs[index]
        np.testing.assert_array_equal(x, expected[0])
        np.testing.assert_array_equal(y, expected[1])
    config = json.loads(ours.to_json())["config"]  # in Keras 3.15 this fails
    assert json.loads(config["data"]) == data.tolist()
    assert config["start_index"] == theirs.start_index
    with pytest.raises(ValueError, match="is disallowed"):
        sequence.TimeseriesGenerator(data, targets, 30)
    with pytest.raises(ValueError, match="of same length"):
        sequence.TimeseriesGenerator(data, targets[1:], 3)


@pytest.mark.parametrize("options", [{}, {"window_size": 1, "categorical": True}, {"negative_samples": 0.5}])
def test_skipgrams(options: Any) -> None:
    results = []
    for module in (sequence, their_sequence):
        random.seed(7)
        table = module.make_sampling_table(8, 0.1)
        results.append(module.skipgrams([1, 5, 0, 3, 2, 7], 8, sampling_table=table, seed=3, **options))
    assert results[0] == results[1]
    np.testing.assert_allclose(sequence.make_sampling_table(50), their_sequence.make_sampling_table(50))
