import numpy as np
import pytest

KEYS = [f"a/{number}.jpg" for number in range(20)]


@pytest.fixture
def features():
    """Features that nearly coincide, as those of a random network do."""
    rng = np.random.default_rng(0)
    return (10 * rng.random(64) + 0.05 * rng.standard_normal((20, 64))).astype(np.float32)


def test_rounding_is_agreement(bench, features):
    found = bench.figures.agreement(KEYS, features * (1 + 1e-6), KEYS, features)
    assert found.good
    assert found.error == pytest.approx(1e-6, rel=0.2)
    assert bench.figures.agreement(KEYS, features.astype(np.float16), KEYS, features).good


def test_the_order_of_the_images_does_not_matter(bench, features):
    assert bench.figures.agreement(KEYS[::-1], features[::-1], KEYS, features).error == 0


def test_rows_under_wrong_names_do_not_agree_though_their_cosine_is_high(bench, features):
    found = bench.figures.agreement(KEYS[::-1], features, KEYS, features)
    assert found.cosine > 0.9999
    assert not found.good


def test_one_wrong_row_is_enough(bench, features):
    wrong = features.copy()
    wrong[7] = features[8]
    assert not bench.figures.agreement(KEYS, wrong, KEYS, features).good


def test_rows_of_length_one_are_compared_with_such(bench, features):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert bench.figures.agreement(KEYS, unit, KEYS, features, normalised=True).good
    assert not bench.figures.agreement(KEYS, unit[::-1], KEYS, features, normalised=True).good


def test_a_row_that_is_the_mean_is_judged_by_its_error(bench):
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = bench.figures.agreement(KEYS[:3], rows, KEYS[:3], rows)
    assert found.centred == 0
    assert found.good


def test_other_images_are_an_error(bench, features):
    with pytest.raises(ValueError, match="19 of the reference's 20 images"):
        bench.figures.agreement(["b/0.jpg", *KEYS[1:]], features, KEYS, features)


def test_spread_is_relative_to_the_mean(bench):
    rows = np.array([[4.0, 3.0], [4.0, -3.0]])
    assert bench.figures.spread_of(rows) == pytest.approx(0.75)


def test_a_table_has_all_columns(bench):
    rows = [{"": "one", "img/s": "2"}, {"": "two", "img/s": "3", "ratio": "1.5"}]
    assert bench.figures.table(rows).splitlines() == [
        "|  | img/s | ratio |",
        "|---|--:|--:|",
        "| one | 2 |  |",
        "| two | 3 | 1.5 |",
    ]
