import pytest

from featx.prediction import Prediction

SCORES = {"cat": 0.986, "dog": 0.009, "cow": 0.005}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Prediction("a.jpg", "cat", SCORES, True), "99% cat, 1% dog"),
        (Prediction("a.jpg", "cat", SCORES, True, accepted=False), "unsure (99% cat, 1% dog)"),
        (Prediction("a.jpg", "cat", SCORES, False), "cat (0.99), dog (0.01)"),
        (Prediction("a.jpg", None, SCORES, True, labels=("cat",)), "cat (99% cat, 1% dog)"),
        (Prediction("a.jpg", None, SCORES, False), "none (cat (0.99), dog (0.01))"),
        (Prediction("a.jpg", None, {}, False, values={"age": 31.234567, "size": 2e9}), "age 31.23, size 2e+09"),
        (Prediction("a.jpg", None, {}, True, "no image", accepted=False), "cannot be used: no image"),
    ],
)
def test_answers_in_words(answer, words):
    assert answer.text(2) == words
