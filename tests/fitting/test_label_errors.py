"""Labels that are known to be wrong are found, with their neighbours."""

import json

import numpy as np
import pytest

from featx.errors import ParameterError
from featx.evaluation import find_label_errors
from featx.fitting._fit import cross_validate
from featx.fitting._label_errors import label_errors
from featx.fitting._table import join_stores
from tests.fitting.helpers import CLASSES, clouds, write
from tests.store.helpers import make_digests

FLIPPED = (4, 31, 77, 100)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """150 samples far apart by class, four of them under the next class's name."""
    features, labels = clouds(150)
    features = features + 4 * np.eye(6, dtype=np.float32)[labels]
    given = labels.copy()
    given[list(FLIPPED)] = (labels[list(FLIPPED)] + 1) % 3
    return (
        write(tmp_path_factory.mktemp("cache") / "photos.toy.000000000000.h5", features, given),
        features,
        labels,
        given,
    )


def test_finds_them_and_names_both_classes(photos):
    store, _, labels, given = photos
    report = label_errors(store, "lda")
    assert report.n == 150
    assert 0.9 < report.accuracy < 1
    found = {one.key: one for one in report.suspects}
    assert set(found) == {f"{row:04d}.jpg" for row in FLIPPED}
    for row in FLIPPED:
        one = found[f"{row:04d}.jpg"]
        assert (one.given, one.suggested) == (CLASSES[given[row]], CLASSES[labels[row]])
        assert one.given_probability < 0.1
        assert one.suggested_probability > 0.9
    assert report.conflicts == ()
    assert json.loads(json.dumps(report.to_dict()))["n"] == 150


def test_is_the_rule_on_cross_validated_probabilities(photos):
    store = photos[0]
    table = join_stores([store])
    answers, figures = cross_validate("gaussian_nb", {}, table, np.arange(150), folds=3, seed=2)
    expected = find_label_errors(answers.truth, answers.scores)
    report = label_errors(store, "gaussian_nb", cv=3, seed=2)
    assert [one.key for one in report.suspects] == [answers.keys[row] for row in expected.rows]
    assert [one.suggested for one in report.suspects] == [CLASSES[label] for label in expected.suggested]
    assert report.accuracy == figures["mean"]


def test_neighbors_are_the_nearest_others_by_cosine(photos):
    store, features, _, given = photos
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for one in label_errors(store, "lda", neighbors=4).suspects:
        row = int(one.key[:4])
        distance = 1 - unit @ unit[row]
        distance[row] = np.inf
        nearest = np.argsort(distance)[:4]
        assert [neighbor.key for neighbor in one.neighbors] == [f"{other:04d}.jpg" for other in nearest]
        assert [neighbor.row for neighbor in one.neighbors] == nearest.tolist()
        assert [neighbor.label for neighbor in one.neighbors] == [CLASSES[given[other]] for other in nearest]
        np.testing.assert_allclose([neighbor.distance for neighbor in one.neighbors], distance[nearest], atol=1e-5)
    assert all(one.neighbors == () for one in label_errors(store, "lda", neighbors=0).suspects)


def test_rows_are_those_of_the_first_store(photos, tmp_path):
    store, features, _, given = photos
    keys, digests = store.keys[:19:-1], store.digests[:19:-1]
    other = write(
        tmp_path / "b.h5", features[:19:-1], given[:19:-1], keys=keys, digests=digests, spec={"layer": "other"}
    )
    suspects = label_errors([other, store], "lda").suspects
    assert suspects
    for near in (near for one in suspects for near in one.neighbors):
        assert other.keys[near.row] == near.key


def test_copies_do_not_vouch_for_each_other(tmp_path):
    """Each wrong label is there thrice: a head that was fitted on the copies would believe it."""
    features, labels = clouds(90)
    features = features + 4 * np.eye(6, dtype=np.float32)[labels]
    wrong = [5, 40]
    rows = np.concatenate([np.arange(90), np.repeat(wrong, 2)])
    given = labels.copy()
    given[wrong] = (labels[wrong] + 1) % 3
    digests = make_digests(90)
    store = write(
        tmp_path / "copies.toy.000000000000.h5", features[rows], given[rows], digests=[digests[row] for row in rows]
    )
    found = label_errors(store, "knn", {"n_neighbors": 3})
    expected = {f"{row:04d}.jpg" for row in np.flatnonzero(np.isin(rows, wrong))}
    assert expected <= {one.key for one in found.suspects}


def test_one_image_under_two_labels_is_a_conflict(tmp_path):
    features, labels = clouds(60)
    digests = list(make_digests(60))
    digests[7] = digests[3]
    features[7] = features[3]
    assert labels[7] != labels[3]
    store = write(tmp_path / "twice.toy.000000000000.h5", features, labels, digests=digests)
    assert label_errors(store, "lda").conflicts == (("0003.jpg", "0007.jpg"),)


def test_samples_without_a_label_take_no_part(photos, tmp_path):
    _, features, _, given = photos
    some = given.copy()
    some[::10] = -1
    report = label_errors(write(tmp_path / "some.toy.000000000000.h5", features, some), "lda")
    assert report.n == 135
    hidden = {f"{row:04d}.jpg" for row in range(0, 150, 10)}
    assert hidden.isdisjoint(one.key for one in report.suspects)
    assert hidden.isdisjoint(neighbor.key for one in report.suspects for neighbor in one.neighbors)


def test_refused(photos):
    store = photos[0]
    with pytest.raises(ParameterError, match="head must be one with probabilities"):
        label_errors(store, "nearest_centroid")
    with pytest.raises(ParameterError, match="neighbors must be an integer of 0 or more; got -1"):
        label_errors(store, "lda", neighbors=-1)
    with pytest.raises(ParameterError, match="the number of folds must be at most"):
        label_errors(store, "lda", cv=100)
