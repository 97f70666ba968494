import pickle
from collections import Counter
from fractions import Fraction
from math import ceil
from operator import lt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import ParameterError
from featx.sources import ArrangedSource, ArraySource, Sample, Source, open_source

from .helpers import write_folder

FLAT = {f"{name}.{i}.jpg": f"{name}{i}".encode() for name in ("cat", "dog") for i in range(10)}


class Listed(Source):
    """Samples as they are given; what is read of one is its key."""

    def __init__(self, samples):
        super().__init__("listed", "listed:here")
        self._given = samples

    def _list(self):
        return self._given

    def _read(self, index):
        return self.samples[index].key.encode()


def named(labels, *, splits=None, groups=None):
    n = len(labels)
    rows = zip(labels, splits or [None] * n, groups or [None] * n, strict=True)
    return [Sample(f"{i:04d}.png", label, split, group=group) for i, (label, split, group) in enumerate(rows)]


def splits_of(source):
    return {sample.key: sample.split for sample in source.samples}


@pytest.fixture
def flat(tmp_path):
    return write_folder(tmp_path / "pets", FLAT)


def test_labels_and_splits_by_name(flat):
    """R3's cats and dogs: one folder, labels and splits in the names."""
    source = open_source(flat, label_pattern=r"^(\w+)\.", split_pattern={"validation": "*.[89].jpg", "train": "*"})
    for sample in source.samples:
        name, number, _ = sample.key.split(".")
        assert (sample.label, sample.split) == (name, "val" if number in "89" else "train")
    assert source.classes == ("cat", "dog")
    assert [source.read(i) for i in range(len(source))] == [FLAT[sample.key] for sample in source.samples]
    plain = open_source(flat)
    assert (source.identity, source.name, len(source)) == (plain.identity, plain.name, len(plain))
    stats = [(sample.size, sample.mtime_ns, sample.inode) for sample in source.samples]
    assert stats == [(sample.size, sample.mtime_ns, sample.inode) for sample in plain.samples]


def test_the_label_is_the_named_group(flat):
    source = open_source(flat, label_pattern=r"(\w+)\.(?P<label>\d)")
    assert source.classes == tuple("0123456789")


def test_a_group_that_stays_empty_is_no_label(flat):
    source = open_source(flat, label_pattern=r"^(cat)?")
    assert Counter(sample.label for sample in source.samples) == {"cat": 10, None: 10}


def test_labels_that_the_source_declares_are_gone_with_its_labels():
    images = np.zeros((2, 1, 1), np.uint8)
    source = ArraySource(images, [0, 1], classes=["a", "b", "never"])
    assert open_source(source, label_pattern="(.)$").classes == ("0", "1")
    assert open_source(source, split_pattern={"test": "*1"}).classes == ("a", "b", "never")


def test_the_first_pattern_counts_and_others_keep_their_split(tmp_path):
    samples = named(["a"] * 4, splits=["train", "test", None, "train"])
    pairs = [("extra", "0000*"), ("Testing", "000[03]*")]
    source = open_source(Listed(samples), split_pattern=pairs)
    assert [sample.split for sample in source.samples] == ["extra", "test", None, "test"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_pattern": "(cat"}, r"regular expression; got '\(cat' \("),
        ({"label_pattern": "cat"}, "must have a group, which is the label; got 'cat'"),
        ({"label_pattern": "(cat)"}, r"'\(cat\)' does not match 10 of 20, such as 'dog.0.jpg': extend it"),
        ({"label_pattern": "(elk)?"}, "gives none"),
        ({"split_pattern": {"val": "*.png"}}, r"val=\*.png matches none of 20, such as 'cat.0.jpg'"),
        ({"split_pattern": [("val", "*"), ("test", "cat*")]}, r"no pattern before it does; test=cat\*"),
        ({"split_pattern": {"": "*"}}, "got '' and"),
        ({"val_fraction": 0}, "val_fraction must be a number between 0 and 1; got 0"),
        ({"test_fraction": True}, "test_fraction must be a number"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "below 1 together; got 0.5 and 0.5"),
        ({"val_fraction": 0.01}, "val would get none of the 20 samples without a split"),
        ({"val_fraction": 1e-9, "split_hash": True}, "val would get none"),
        ({"val_fraction": 0.999999999, "split_hash": True}, "train would get none"),
        ({"val_fraction": 0.5, "split_pattern": {"x": "*"}}, "val_fraction divide samples .* all 20 have one"),
        ({"split_seed": 3}, "split_seed needs something to draw"),
        ({"split_seed": -1, "val_fraction": 0.5}, "split_seed must be .* at least 0; got -1"),
        ({"split_hash": True}, "split_hash needs a share"),
        ({"max_per_class": 0}, "max_per_class must be .* at least 1; got 0"),
        ({"max_per_class": 3}, "needs samples that are of one class each"),
    ],
)
def test_what_does_not_go_together_is_said(flat, options, message):
    with pytest.raises(ParameterError, match=message):
        open_source(flat, **options)


labels = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=60)
shares = st.sampled_from([Fraction(1, 10), Fraction(1, 5), Fraction(1, 3), Fraction(2, 5)])


def divided(samples, **options):
    """Return the arranged source, or None where a split would get no sample."""
    try:
        return open_source(Listed(samples), **options)
    except ParameterError as error:
        if "would get none" not in str(error):
            raise
        return None


@given(labels, st.none() | shares, st.none() | shares, st.integers(0, 3))
def test_fractions_are_met_within_one_sample_for_each_class_and_in_all(names, val, test, seed):
    if val is None and test is None:
        val = Fraction(1, 2)
    fractions = {"val": val, "test": test}
    given_fractions = {f"{split}_fraction": float(share) for split, share in fractions.items() if share is not None}
    source = divided(named(names), **given_fractions, split_seed=seed)
    if source is None:
        return
    assert [sample.label for sample in source.samples] == names  # all of them, in their order
    sides = Counter((sample.label, sample.split) for sample in source.samples)
    assert {split for _, split in sides} == {"train", *(split for split, share in fractions.items() if share)}
    for split, share in fractions.items():
        for label, count in Counter(names).items():
            assert abs(sides[label, split] - count * (share or 0)) < 1 + 1e-9
    for label in set(names):
        assert sides[label, "train"] > 0
    most = [sum(ceil(count * (share or 0)) for share in fractions.values()) for count in Counter(names).values()]
    if all(map(lt, most, Counter(names).values())):  # else one keeps its last for training, and there may be too few
        for split, share in fractions.items():
            assert abs(sum(n for (_, s), n in sides.items() if s == split) - len(names) * (share or 0)) <= 0.5 + 1e-9


@given(labels, st.integers(0, 3), st.booleans())
def test_each_share_is_drawn_without_regard_to_the_other(names, seed, by_hash):
    options = {"split_seed": seed, "split_hash": by_hash}
    one = divided(named(names), val_fraction=0.2, **options)
    both = divided(named(names), val_fraction=0.2, test_fraction=0.3, **options)
    if one is not None and both is not None:
        before, after = splits_of(one), splits_of(both)
        assert {key for key, split in before.items() if split == "val"} == {
            key for key, split in after.items() if split == "val"
        }


@given(st.sets(st.text(max_size=5), min_size=1, max_size=40), st.sets(st.text(max_size=5), max_size=40))
def test_by_hash_more_samples_move_none(keys, more):
    def sides(names):
        source = divided([Sample(key, "ab"[len(key) % 2]) for key in names], val_fraction=0.5, split_hash=True)
        return {} if source is None else splits_of(source)

    few, many = sides(keys), sides(keys | more)
    if few and many:
        assert few == {key: many[key] for key in few}


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["p", "q", "r", "s", None])), min_size=1), st.booleans()
)
def test_groups_are_not_torn_apart(rows, by_hash):
    names, groups = zip(*rows, strict=True)
    source = divided(named(names, groups=groups), val_fraction=0.4, test_fraction=0.2, split_hash=by_hash)
    if source is not None:
        sides = {(sample.group, sample.split) for sample in source.samples if sample.group is not None}
        assert len(sides) == len({group for group, _ in sides})


def test_by_hash_the_share_is_met_roughly_and_another_seed_draws_others():
    samples = [Sample(f"{i}.jpg", "ab"[i % 2]) for i in range(10_000)]
    options = {"val_fraction": 0.2, "test_fraction": 0.1, "split_hash": True}
    source = open_source(Listed(samples), **options)
    counts = Counter((sample.split, sample.label) for sample in source.samples)
    assert all(abs(counts["val", label] - 1000) < 100 for label in "ab")  # three standard deviations are 85
    assert all(abs(counts["test", label] - 500) < 80 for label in "ab")
    other = splits_of(open_source(Listed(samples), **options, split_seed=1))
    both = sum(other[key] == split == "val" for key, split in splits_of(source).items())
    assert abs(both - 400) < 80


def test_only_what_has_no_split_is_divided():
    samples = named(["a", "b"] * 20, splits=["test"] * 20 + [None] * 20)
    source = open_source(Listed(samples), val_fraction=0.2)
    assert [sample.split for sample in source.samples][:20] == ["test"] * 20
    assert Counter(sample.split for sample in source.samples) == {"test": 20, "train": 16, "val": 4}


def test_equal_arguments_draw_equally_whatever_the_order_of_the_listing():
    samples = named(["a", "b", "c"] * 30)
    draw = {"val_fraction": 0.25, "split_seed": 123}
    first = splits_of(open_source(Listed(samples), **draw))
    assert splits_of(open_source(Listed(samples[::-1]), **draw)) == first
    assert splits_of(open_source(Listed(samples), val_fraction=0.25)) != first


def test_several_labels_and_numbers_are_divided_as_a_whole():
    for labels in ([("x",), ("x", "y"), ()] * 20, [(1.0,), (2.0,), (3.5,)] * 20):
        source = open_source(Listed(named(labels)), val_fraction=0.2, test_fraction=0.1)
        assert Counter(sample.split for sample in source.samples) == {"train": 42, "val": 12, "test": 6}


@given(labels, st.integers(1, 30), st.integers(0, 2))
def test_of_each_class_and_split_as_many_as_wanted(names, most, seed):
    splits = ["train" if i % 3 else "test" for i in range(len(names))]
    if not any(names):
        return
    samples = named(names, splits=splits)
    source = open_source(Listed(samples), max_per_class=most, split_seed=seed)
    have, all_of = (Counter((sample.label, sample.split) for sample in each) for each in (source.samples, samples))
    assert have == {key: count if key[0] is None else min(count, most) for key, count in all_of.items()}
    assert set(source.samples) <= set(samples)
    assert [source.read(i).decode() for i in range(len(source))] == [sample.key for sample in source.samples]
    more = open_source(Listed(samples), max_per_class=most + 5, split_seed=seed)
    assert set(source.samples) <= set(more.samples)
    assert list(source.samples) == sorted(source.samples, key=lambda sample: sample.key)


def test_fewer_of_a_class_are_another_source(flat):
    labelled = {"label_pattern": "(cat|dog)"}
    plain = open_source(flat, **labelled)
    sources = [open_source(flat, max_per_class=n, split_seed=seed, **labelled) for n in (3, 4) for seed in (None, 0, 7)]
    assert [source.identity.removeprefix(plain.identity) for source in sources[:3]] == [
        "#per-class=3",
        "#per-class=3",
        "#per-class=3,7",
    ]
    assert len({source.identity for source in [plain, *sources]}) == 5
    assert sources[0].name == "pets-max3"
    assert {sample.key for sample in sources[0].samples} != {sample.key for sample in sources[2].samples}


def test_what_is_kept_and_where_it_goes_are_drawn_apart():
    """Were they drawn by the same lots, those that are kept would all be on one side."""
    samples = [Sample(f"{i}.jpg", "ab"[i % 2]) for i in range(4000)]
    source = open_source(Listed(samples), max_per_class=200, val_fraction=0.3, split_hash=True)
    assert len(source) == 400
    assert abs(Counter(splits_of(source).values())["val"] - 120) < 28


def test_arranged_sources_can_be_pickled_limited_and_arranged(flat):
    source = open_source(flat, label_pattern="(cat|dog)", val_fraction=0.2)
    assert isinstance(source, ArrangedSource)
    assert pickle.loads(pickle.dumps(source)).samples == source.samples
    assert open_source(source) is source
    assert open_source(source, limit=3).samples == source.samples[:3]
    again = open_source(source, max_per_class=2)
    assert Counter((sample.label, sample.split) for sample in again.samples) == {
        **{(name, split): 2 for name in ("cat", "dog") for split in ("train", "val")}
    }
    assert open_source(flat, limit=3, label_pattern="(cat|dog)").identity.endswith("#first=3")
