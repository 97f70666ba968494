"""Every figure of a classification against scikit-learn or a plain formula."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from featx.errors import ParameterError
from featx.evaluation import calibration_error, evaluate_predictions


def names(k):
    return [f"class {i}" for i in range(k)]


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def compare(y, scores, classes, columns, evaluation, is_probability):
    k = len(classes)
    labels = np.arange(k)
    answers = columns[scores.argmax(axis=1)]
    assert evaluation.n == len(y)
    assert evaluation.classes == tuple(classes)
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(y, answers), abs=1e-15)
    assert evaluation.macro_f1 == pytest.approx(
        metrics.f1_score(y, answers, average="macro", zero_division=0), abs=1e-12
    )
    np.testing.assert_array_equal(evaluation.confusion, metrics.confusion_matrix(y, answers, labels=labels))
    reference = metrics.precision_recall_fscore_support(y, answers, labels=labels, zero_division=0)
    for row, name, *values in zip(evaluation.per_class, classes, *reference, strict=True):
        assert row.name == name
        np.testing.assert_allclose(
            [row.precision.value, row.recall.value, row.f1.value, row.support], values, atol=1e-12
        )
    assert evaluation.figures["weighted_f1"].value == pytest.approx(
        metrics.f1_score(y, answers, average="weighted", zero_division=0), abs=1e-12
    )
    recalls = [np.mean(answers[y == c] == c) for c in np.unique(y)]
    assert evaluation.figures["balanced_accuracy"].value == pytest.approx(np.mean(recalls), abs=1e-12)
    if is_probability:
        whole = np.zeros((len(y), k))
        whole[:, columns] = scores
        if k > 1:
            brier = metrics.brier_score_loss(y, whole if k > 2 else whole[:, 1], labels=labels)
            assert evaluation.figures["brier"].value == pytest.approx(brier, rel=1e-12, abs=1e-15)
        error = calibration_error(y, whole)
        assert evaluation.figures["expected_calibration_error"].value == pytest.approx(error, abs=1e-15)
        if k > 1:
            assert evaluation.log_loss == pytest.approx(metrics.log_loss(y, whole, labels=labels), rel=1e-12, abs=1e-15)
    else:
        assert evaluation.log_loss is None
    for figure in [
        *evaluation.figures.values(),
        *(one for row in evaluation.per_class for one in row.figures.values()),
    ]:
        assert figure.low <= figure.value <= figure.high
        assert np.isfinite([figure.low, figure.high]).all()


@settings(max_examples=50)
@given(
    data=st.data(),
    k=st.integers(2, 7),
    n=st.integers(1, 40),
    is_probability=st.booleans(),
    sharpness=st.sampled_from([1, 5, 200]),
)
def test_equals_scikit_learn(data, k, n, is_probability, sharpness):
    columns = np.array(sorted(data.draw(st.sets(st.integers(0, k - 1), min_size=1))))
    y = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, k - 1)))
    seed = data.draw(st.integers(0, 10**6))
    scores = np.random.default_rng(seed).normal(size=(n, columns.size)) * sharpness
    if is_probability:
        scores = softmax(scores)
    evaluation = evaluate_predictions(y, scores, classes=names(k), head_classes=columns, is_probability=is_probability)
    compare(y, scores, names(k), columns, evaluation, is_probability)


def test_one_class_only():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    evaluation = evaluate_predictions([0, 0, 0], scores, classes=["a", "b"], head_classes=[0, 1], is_probability=True)
    compare(np.zeros(3, int), scores, ["a", "b"], np.arange(2), evaluation, True)
    assert evaluation.accuracy == pytest.approx(2 / 3)
    assert evaluation.per_class[0].f1.value == pytest.approx(0.8)
    assert evaluation.per_class[1].support == 0
    alone = evaluate_predictions([0], [[1.0]], classes=["a"], head_classes=[0], is_probability=True)
    assert (alone.accuracy, alone.macro_f1, alone.confusion) == (1.0, 1.0, ((1,),))


def test_a_class_the_head_never_saw():
    scores = np.array([[0.6, 0.4], [0.3, 0.7]])
    evaluation = evaluate_predictions([1, 2], scores, classes=names(3), head_classes=[0, 2], is_probability=True)
    compare(np.array([1, 2]), scores, names(3), np.array([0, 2]), evaluation, True)
    assert evaluation.log_loss == pytest.approx((-np.log(np.finfo(float).eps) - np.log(0.7)) / 2)


def test_certain_and_right():
    evaluation = evaluate_predictions([0, 1], np.eye(2), classes=names(2), head_classes=[0, 1], is_probability=True)
    assert evaluation.log_loss == pytest.approx(metrics.log_loss([0, 1], np.eye(2)), rel=1e-6)
    assert evaluation.accuracy_interval[1] == 1.0


def test_ties_go_to_the_first_class():
    evaluation = evaluate_predictions(
        [0, 1], np.zeros((2, 2)), classes=names(2), head_classes=[0, 1], is_probability=False
    )
    assert evaluation.confusion == ((1, 0), (1, 0))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # R: prop.test(right, n, correct=FALSE)$conf.int, and Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson_interval_equals_published_values(right, n, low, high):
    y = np.zeros(n, int)
    scores = np.stack([np.arange(n) < right, np.arange(n) >= right], axis=1).astype(float)
    evaluation = evaluate_predictions(y, scores, classes=names(2), head_classes=[0, 1], is_probability=False)
    assert evaluation.accuracy == right / n
    np.testing.assert_allclose(evaluation.accuracy_interval, (low, high), atol=5e-5)


@settings(max_examples=50)
@given(n=st.integers(1, 500), data=st.data())
def test_wilson_bounds_solve_the_score_equation(n, data):
    right = data.draw(st.integers(0, n))
    assume(0 < right < n)
    y = np.zeros(n, int)
    scores = np.stack([np.arange(n) < right, np.arange(n) >= right], axis=1).astype(float)
    evaluation = evaluate_predictions(y, scores, classes=names(2), head_classes=[0, 1], is_probability=False)
    for bound in evaluation.accuracy_interval:
        assert abs(right / n - bound) / sqrt(bound * (1 - bound) / n) == pytest.approx(1.959963984540054, rel=1e-9)


GOOD = {"classes": ["a", "b"], "head_classes": [0, 1], "is_probability": False}


@pytest.mark.parametrize(
    ("y", "scores", "changed", "words"),
    [
        ([], np.empty((0, 2)), {}, "a row or more"),
        ([0, 1], np.zeros((2, 3)), {}, r"a column for each of 2 head_classes; got shape \(2, 3\)"),
        ([0, 1], np.zeros((1, 2)), {}, "a row for each of 2 labels"),
        ([0, 1], np.zeros(2), {}, "a row for each"),
        ([0, 2], np.zeros((2, 2)), {}, r"y_true must lead into the 2 classes \(0 to 1\); got 2"),
        ([0, -1], np.zeros((2, 2)), {}, "got -1: leave rows without a label out"),
        ([0.0, 1.0], np.zeros((2, 2)), {}, "y_true must be a vector of integers; got float64"),
        (["a", "b"], np.zeros((2, 2)), {}, "y_true must be a vector of integers"),
        ([[0], [1]], np.zeros((2, 2)), {}, "y_true must be a vector"),
        ([0, 1], np.zeros((2, 2)), {"head_classes": [0, 0]}, "head_classes must be different classes"),
        ([0, 1], np.zeros((2, 0)), {"head_classes": []}, "head_classes must be different classes, one or more"),
        ([0, 1], np.zeros((2, 2)), {"head_classes": [0, 5]}, "head_classes must lead into"),
        ([0, 1], np.array([[0, np.nan], [0, 1]]), {}, "scores must be finite"),
        (
            [0, 1],
            np.array([[2.0, -1.0], [0, 1]]),
            {"is_probability": True},
            "from 0 to 1 if they are probabilities; got -1 to 2",
        ),
    ],
)
def test_refused(y, scores, changed, words):
    with pytest.raises(ParameterError, match=words):
        evaluate_predictions(y, scores, **{**GOOD, **changed})


def clouds(n, k, seed=0, sharpness=2.0):
    """Return classes and probabilities that know something of them."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, k, n)
    scores = generator.normal(size=(n, k))
    scores[np.arange(n), y] += sharpness
    return y, softmax(scores)


def judged(y, scores, **changes):
    k = scores.shape[1]
    return evaluate_predictions(
        y, scores, **{"classes": names(k), "head_classes": np.arange(k), "is_probability": True, **changes}
    )


@pytest.mark.parametrize("k", [2, 3, 8])
def test_ranks_and_top_k_equal_scikit_learn(k):
    y, scores = clouds(300, k)
    evaluation = judged(y, scores)
    onehot = np.eye(k)[y]
    auc = metrics.roc_auc_score(y, scores[:, 1] if k == 2 else scores, multi_class="ovr")
    assert evaluation.figures["roc_auc"].value == pytest.approx(auc, rel=1e-12)
    precision = metrics.average_precision_score(onehot, scores, average="macro")
    assert evaluation.figures["average_precision"].value == pytest.approx(precision, rel=1e-12)
    for c, row in enumerate(evaluation.per_class):
        assert row.figures["roc_auc"].value == pytest.approx(metrics.roc_auc_score(onehot[:, c], scores[:, c]))
        assert row.figures["average_precision"].value == pytest.approx(
            metrics.average_precision_score(onehot[:, c], scores[:, c])
        )
    assert ("top_5_accuracy" in evaluation.figures) == (k > 5)
    if k > 5:
        assert evaluation.figures["top_5_accuracy"].value == metrics.top_k_accuracy_score(y, scores, k=5)


def test_equal_scores_count_in_the_order_of_the_classes():
    evaluation = judged(np.arange(7), np.zeros((7, 7)), is_probability=False)
    assert evaluation.figures["top_5_accuracy"].value == pytest.approx(5 / 7)
    assert evaluation.accuracy == pytest.approx(1 / 7)
    assert evaluation.figures["roc_auc"].value == 0.5


def test_classes_without_rows_are_left_out_of_ranks():
    y, scores = clouds(200, 3)
    kept = y < 2
    evaluation = judged(y[kept], scores[kept])
    present = [metrics.roc_auc_score(y[kept] == c, scores[kept][:, c]) for c in (0, 1)]
    assert evaluation.figures["roc_auc"].value == pytest.approx(np.mean(present), rel=1e-12)
    assert "roc_auc" not in evaluation.per_class[2].figures
    alone = judged(np.zeros(5, int), scores[:5])
    assert "roc_auc" not in alone.figures
    assert "average_precision" not in alone.figures


def test_all_right_is_not_certain():
    y = np.arange(20) % 2
    evaluation = judged(y, np.eye(2)[y] * 0.8 + 0.1)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "roc_auc"):
        figure = evaluation.figures[name]
        assert (figure.value, figure.high) == (1, 1)
        assert figure.low == pytest.approx(20 / (20 + 1.959963984540054**2))  # Wilson's bound of 20 of 20
    wrong = judged(1 - y, np.eye(2)[y])
    assert wrong.figures["macro_f1"] == wrong.figures["accuracy"]
    assert wrong.figures["macro_f1"].high > 0.1


def test_float32_is_judged_as_it_is():
    y, scores = clouds(100, 4)
    rounded = scores.astype(np.float32)
    for name, figure in judged(y, rounded).figures.items():
        assert figure.value == pytest.approx(judged(y, rounded.astype(np.float64)).figures[name].value, rel=1e-6)


def test_the_seed_decides_the_intervals_and_no_value():
    y, scores = clouds(100, 3)
    first, again, other = (judged(y, scores, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.figures["macro_f1"].low != other.figures["macro_f1"].low
    assert {name: one.value for name, one in first.figures.items()} == {
        name: one.value for name, one in other.figures.items()
    }
    with pytest.raises(ParameterError, match="seed must be an integer of 0 or more; got -1"):
        judged(y, scores, seed=-1)


def test_intervals_cover_the_truth():
    """Of 120 samples of 150 rows from one population, about 95 % of the intervals hold the population's figure."""
    population_y, population = clouds(40_000, 3, seed=1, sharpness=1.5)
    truth = judged(population_y, population).figures
    covered = dict.fromkeys(truth, 0)
    generator = np.random.default_rng(2)
    for trial in range(120):
        rows = generator.integers(0, population_y.size, 150)
        for name, figure in judged(population_y[rows], population[rows], seed=trial).figures.items():
            covered[name] += figure.low <= truth[name].value <= figure.high
    shares = {name: count / 120 for name, count in covered.items()}
    assert min(shares.values()) > 0.87, shares
    assert sum(shares.values()) / len(shares) > 0.92, shares


def test_macro_f1_of_rare_classes_has_an_interval_around_it():
    """Where resamples lose half of the classes' rows, plain percentiles lie below the figure they are to hold."""
    y, scores = clouds(300, 100, seed=3)
    figure = judged(y, scores).figures["macro_f1"]
    assert figure.low < figure.value - 0.01
    assert figure.high > figure.value + 0.01


def test_f1_of_a_class_has_the_interval_of_its_jaccard_index():
    y = np.repeat([0, 1], [30, 30])
    answers = np.where(np.arange(60) % 10 == 0, 1 - y, y)
    row = judged(y, np.eye(2)[answers]).per_class[0]
    both, either = 27, 33
    assert row.f1.value == pytest.approx(2 * both / (both + either))
    for bound in (row.f1.low, row.f1.high):
        share = bound / (2 - bound)
        assert abs(both / either - share) / sqrt(share * (1 - share) / either) == pytest.approx(1.959963984540054)
