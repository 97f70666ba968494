"""The loop: order, bad samples, errors, early ends, and how much it holds at a time."""

import itertools
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featx.extraction import (
    STAGES,
    Augmentation,
    Timings,
    default_batch_size,
    default_workers,
    extract_batches,
    preprocess,
)
from featx.extraction._transform import Cropped
from featx.sources import content_digest
from featx.spec import ExtractionSpec, Preprocessing
from tests.extraction.helpers import Mean, Numbered, Painted, PooledMean, decoding_threads

PREPROCESSING = Preprocessing(crop_size=(4, 4), resize_size=(4, 4), resize="squash")
SPEC = ExtractionSpec(backbone="mean", weights="", layer="", pool="none", preprocessing=PREPROCESSING)


def batches(source, engine=None, *, batch_size=4, workers=2, order=None, ranges=None, known=(), spec=SPEC, **options):
    order = range(len(source)) if order is None else order
    leading = known if isinstance(known, dict) else dict.fromkeys(known, 1)
    return extract_batches(
        source,
        order,
        [(0, len(order))] if ranges is None else ranges,
        engine or Mean(),
        spec,
        batch_size=batch_size,
        workers=workers,
        known=lambda digest: leading.get(digest, 0),
        **options,
    )


def digest(index, size=(6, 5)):
    return content_digest(np.full((*size, 3), index, dtype=np.uint8))


def test_rows_digests_and_features_belong_together_whatever_finishes_first():
    got = list(batches(Numbered(10, slow=0.003), workers=4))
    assert [(batch.start, batch.stop) for batch in got] == [(0, 4), (4, 8), (8, 10)]
    for batch in got:
        np.testing.assert_array_equal(batch.rows, np.arange(batch.start, batch.stop))
        assert batch.rows.dtype == np.int64
        assert batch.digests == tuple(digest(row) for row in batch.rows)
        np.testing.assert_array_equal(batch.features[0], batch.rows[:, None].astype(np.float32))
        np.testing.assert_array_equal(batch.features[1][:, 1], 2 * batch.rows)
        assert batch.failures == ()


def test_order_and_ranges():
    order = [7, 1, 9, 3, 5, 0]
    got = list(batches(Numbered(10), order=order, ranges=[(2, 6)], batch_size=2))
    assert [(batch.start, batch.stop, batch.rows.tolist()) for batch in got] == [(2, 4, [2, 3]), (4, 6, [4, 5])]
    np.testing.assert_array_equal(np.concatenate([batch.features[0] for batch in got])[:, 0], [9, 3, 5, 0])
    assert got[0].digests == (digest(9), digest(3))


def test_bad_samples_drop_out_and_shift_nothing():
    bad = {0, 5, 9}
    got = list(batches(Numbered(10, bad=bad)))
    good = [row for row in range(10) if row not in bad]
    assert [row for batch in got for row in batch.rows] == good
    assert [value for batch in got for value in batch.features[0][:, 0]] == good
    assert [item for batch in got for item in batch.digests] == [digest(row) for row in good]
    assert [failure for batch in got for failure in batch.failures] == [(i, f"bad number {i}") for i in sorted(bad)]


def test_a_batch_of_only_bad_samples():
    engine = Mean()
    first, second = batches(Numbered(6, bad=range(4)), engine, ranges=[(0, 4), (4, 6)])
    assert (first.rows.tolist(), first.digests, first.features) == ([], (), ())
    assert [row for row, _ in first.failures] == [0, 1, 2, 3]
    assert second.rows.tolist() == [4, 5]
    assert engine.sizes == [2]


def test_features_that_are_not_finite_are_flagged_and_shift_nothing():
    got = list(batches(Numbered(8, bad=[2]), Mean(nan=[1, 4, 5, 6, 7]), ranges=[(0, 4), (4, 8)]))
    assert got[0].rows.tolist() == [0, 3]
    assert got[0].digests == (digest(0), digest(3))
    np.testing.assert_array_equal(got[0].features[1][:, 0], [0, 3])
    assert got[0].failures == ((1, "its features are not finite"), (2, "bad number 2"))
    assert got[1].rows.tolist() == []
    assert [array.shape for array in got[1].features] == [(0, 1), (0, 2)]
    assert [row for row, _ in got[1].failures] == [4, 5, 6, 7]


@settings(max_examples=60)
@given(
    contents=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    known=st.sets(st.integers(0, 9)),
    bad=st.sets(st.integers(0, 39), max_size=5),
    nan=st.sets(st.integers(0, 9), max_size=2),
    batch_size=st.integers(1, 5),
    stop_after=st.integers(0, 8),
)
def test_each_content_is_computed_once_and_work_taken_up_again_is_the_same(
    contents, known, bad, nan, batch_size, stop_after
):
    source, engine = Painted(contents, bad), Mean(nan)
    known_digests = {digest(content) for content in known}
    options = {"batch_size": batch_size, "known": known_digests}
    got = list(batches(source, engine, **options))

    assert [(batch.start, batch.stop) for batch in got] == list(itertools.pairwise([0, *(batch.stop for batch in got)]))
    assert got[-1].stop == len(contents)
    usable = [i for i, content in enumerate(contents) if i not in bad and (content in known or content not in nan)]
    assert [row for batch in got for row in batch.rows.tolist()] == usable
    assert [one for batch in got for one in batch.digests] == [digest(contents[i]) for i in usable]
    reasons = {i: f"bad number {i}" if i in bad else "its features are not finite" for i in range(len(contents))}
    assert [failure for batch in got for failure in batch.failures] == [
        (i, reasons[i]) for i in range(len(contents)) if i not in usable
    ]
    fresh = [row for batch in got for row in batch.rows[batch.fresh > 0].tolist()]
    firsts = {contents[i]: i for i in reversed(usable) if contents[i] not in known}
    assert fresh == sorted(firsts.values())
    rows = np.concatenate([np.empty((0, 1), np.float32), *(batch.features[0] for batch in got if batch.features)])
    assert rows[:, 0].tolist() == [contents[i] for i in fresh]
    seen = {content for i, content in enumerate(contents) if i not in bad} - known
    assert sum(engine.sizes) == len(seen)
    assert all(count == batch_size for count in engine.sizes[:-1])

    done = got[:stop_after]
    verdicts = {
        one: None
        for batch in done
        for one, is_fresh in zip(batch.digests, batch.fresh.tolist(), strict=True)
        if is_fresh
    }
    start = done[-1].stop if done else 0
    again = list(batches(source, Mean(nan), ranges=[(start, len(contents))], verdicts=verdicts, **options))
    rest = got[stop_after:]
    assert [(b.start, b.stop, b.digests, b.failures) for b in again if b.stop > b.start] == [
        (b.start, b.stop, b.digests, b.failures) for b in rest
    ] or nan
    assert [failure for b in again for failure in b.failures] == [failure for b in rest for failure in b.failures]


VIEWS = replace(SPEC, views=4, augment="colorjitter(brightness=0.5)", augment_seed=3)


class Each(Mean):
    """Features that tell one image from another: all of its pixels."""

    def __call__(self, pixels):
        mean, _ = super().__call__(pixels)
        return mean, pixels.reshape(len(pixels), -1).astype(np.float32)


@cache
def views_of(colour):
    """Return the views of an image as the engine above has them, drawn one by one."""
    image = Image.new("RGB", (5, 6), (colour,) * 3)
    drawn = [
        Augmentation.parse(VIEWS.augment).view(image, PREPROCESSING, digest=digest(colour), number=number, seed=3)
        for number in range(4)
    ]
    return np.stack(drawn).reshape(4, -1).astype(np.float32)


@settings(max_examples=40)
@given(
    contents=st.lists(st.integers(0, 9), min_size=1, max_size=25),
    known=st.dictionaries(st.integers(0, 9), st.integers(0, 4)),
    bad=st.sets(st.integers(0, 24), max_size=4),
    nan=st.sets(st.integers(0, 9), max_size=2),
    batch_size=st.integers(1, 9),
    engine=st.sampled_from([Mean, PooledMean]),
)
def test_the_views_that_are_missing_are_computed(contents, known, bad, nan, batch_size, engine):
    class Engine(Each, engine):
        def __call__(self, pixels):
            mean, each = super().__call__(pixels)
            return mean, np.where(np.isnan(mean), np.nan, each)

    broken = {float(views_of(20 * content)[2].mean()) for content in nan}
    lost = {
        content
        for content in range(10)
        if {float(view.mean()) for view in views_of(20 * content)[known.get(content, 0) :]} & broken
    }
    leading = {digest(20 * content): count for content, count in known.items()}
    source = Painted([20 * content for content in contents], bad)
    running = Engine(broken)
    got = list(batches(source, running, batch_size=batch_size, spec=VIEWS, known=leading))
    usable = [i for i, content in enumerate(contents) if i not in bad and content not in lost]
    assert [row for batch in got for row in batch.rows.tolist()] == usable
    assert [row for batch in got for row, _ in batch.failures] == sorted(set(range(len(contents))) - set(usable))
    seen = set()
    for batch in got:
        expected = [np.empty((0, 48), np.float32)]
        for row, fresh in zip(batch.rows.tolist(), batch.fresh.tolist(), strict=True):
            content = contents[row]
            assert fresh == (0 if content in seen else 4 - known.get(content, 0))
            seen.add(content)
            expected.append(views_of(20 * content)[4 - fresh :])
        if batch.features:
            np.testing.assert_array_equal(batch.features[1], np.concatenate(expected))
        else:
            assert sum(map(len, expected)) == 0
    shown = {content for i, content in enumerate(contents) if i not in bad}
    assert sum(running.sizes) == sum(4 - known.get(content, 0) for content in shown)
    assert all(count < batch_size + 4 for count in running.sizes)


def test_views_are_the_same_for_an_engine_that_resizes():
    class Resizing(Each):
        resizes = True

        def start(self, images, submit):
            kinds.extend(type(image) for image in images)
            shown = [
                image if isinstance(image, Cropped) else preprocess(Image.fromarray(image), PREPROCESSING)
                for image in images
            ]
            features = self(np.stack(shown))
            return lambda: features

    kinds = []
    spec = replace(VIEWS, augment="rrc hflip")
    for known in (0, 1, 3):
        one, other = (
            list(batches(Numbered(7), engine, spec=spec, known={digest(i): known for i in range(7)}))
            for engine in (Each(), Resizing())
        )
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert (a.start, a.stop, a.digests, a.fresh.tolist()) == (b.start, b.stop, b.digests, b.fresh.tolist())
            np.testing.assert_array_equal(a.features[1], b.features[1])
    assert kinds[:4] == [np.ndarray, Cropped, Cropped, Cropped]
    assert kinds[28:31] == [Cropped] * 3


def test_a_long_stretch_of_known_samples_ends_now_and_then():
    source = Painted([1] * 1000)
    engine = Mean()
    got = list(batches(source, engine, batch_size=4, known={digest(1)}))
    assert len(got) == 4
    assert max(batch.stop - batch.start for batch in got) == 256
    assert engine.sizes == []
    assert not any(batch.fresh.any() for batch in got)


def test_what_is_known_is_not_decoded(monkeypatch):
    def refuse(data):
        raise AssertionError("decoded")

    monkeypatch.setattr("featx.extraction._sample.decode_image", refuse)
    (batch,) = batches(Painted([1, 2, 1]), known={digest(1), digest(2)})
    assert batch.rows.tolist() == [0, 1, 2]


def test_one_and_many_threads_give_the_same():
    one, four = (list(batches(Numbered(23, bad=[4]), workers=workers)) for workers in (1, 4))
    for a, b in zip(one, four, strict=True):
        assert (a.start, a.stop, a.digests, a.failures) == (b.start, b.stop, b.digests, b.failures)
        for x, y in zip((a.rows, *a.features), (b.rows, *b.features), strict=True):
            np.testing.assert_array_equal(x, y)


def test_another_error_comes_through_promptly_and_leaves_no_thread():
    source = Numbered(10_000, crash=[2], slow=0.001)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"^crash at 2$"):
        list(batches(source))
    assert time.monotonic() - start < 2
    assert len(source.reads) < 60
    assert decoding_threads() == []


@pytest.mark.parametrize("base", [Mean, PooledMean])
def test_an_error_of_the_engine_comes_through_promptly_and_leaves_no_thread(base):
    class Broken(base):
        def __call__(self, pixels):
            raise ValueError("out of memory")

    source = Numbered(10_000, slow=0.001)
    with pytest.raises(ValueError, match=r"^out of memory$"):
        list(batches(source, Broken()))
    assert len(source.reads) < 60
    assert decoding_threads() == []


def test_an_engine_of_one_core_runs_as_many_batches_at_a_time_as_there_are_threads():
    engine = PooledMean(meet=3)  # a batch ends when three are in the network
    got = list(batches(Numbered(24), engine, batch_size=2, workers=3))
    assert engine.most == 3
    rows = np.concatenate([batch.features[0] for batch in got])
    np.testing.assert_array_equal(rows[:, 0], np.arange(24))


@settings(max_examples=30)
@given(
    contents=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    nan=st.sets(st.integers(0, 9), max_size=2),
    batch_size=st.integers(1, 5),
    workers=st.integers(1, 4),
)
def test_batches_in_flight_give_what_one_after_the_other_gives(contents, nan, batch_size, workers):
    one = list(batches(Painted(contents), Mean(nan), batch_size=batch_size, workers=1))
    many = list(batches(Painted(contents), PooledMean(nan), batch_size=batch_size, workers=workers))
    assert len(one) == len(many)
    for a, b in zip(one, many, strict=True):
        assert (a.start, a.stop, a.digests, a.failures) == (b.start, b.stop, b.digests, b.failures)
        for x, y in zip((a.rows, a.fresh, *a.features), (b.rows, b.fresh, *b.features), strict=True):
            np.testing.assert_array_equal(x, y)


def test_an_engine_is_made_ready_only_if_there_is_something_to_compute():
    engine = Mean()
    list(batches(Painted([1, 1]), engine, known={digest(1)}))
    assert not engine.loaded
    list(batches(Painted([1, 2]), engine, known={digest(1)}))
    assert engine.loaded


@pytest.mark.parametrize("engine", [Mean(slow=0.02), PooledMean(slow=0.02)], ids=["own cores", "pool"])
def test_what_each_stage_took(engine):
    timings = Timings()
    list(batches(Numbered(8, slow=0.01), engine, batch_size=2, timings=timings))
    assert tuple(timings.seconds) == STAGES
    assert timings.seconds["read"] >= 8 * 0.01
    assert timings.seconds["forward"] >= 4 * 0.02
    assert all(timings.seconds[stage] > 0 for stage in ("decode", "transform"))
    assert timings.seconds["write"] == 0


def test_waiting_is_the_time_without_work():
    timings = Timings()
    list(batches(Numbered(6, slow=0.02), Mean(), batch_size=2, workers=1, timings=timings))
    assert timings.seconds["waiting"] >= 0.5 * timings.seconds["read"]  # with one thread that reads, nearly all of it


def test_closed_early():
    source = Numbered(10_000)
    stream = batches(source)
    assert next(stream).start == 0
    assert decoding_threads() != []
    stream.close()
    assert decoding_threads() == []
    read = len(source.reads)
    time.sleep(0.05)
    assert len(source.reads) == read < 50


def test_what_waits_is_bounded():
    source = Numbered(240)
    most = 0
    for number, _ in enumerate(batches(source, workers=4), start=1):
        time.sleep(0.002)  # time to run ahead, if it were let
        most = max(most, len(source.reads) - 4 * number)
    assert 0 < most <= 3 * 4 + 2 * 4 + 5 * 4  # being loaded, and in the network
    assert sorted(source.reads) == list(range(240))


def test_nothing_to_do_reads_nothing():
    source = Numbered(5)
    assert list(batches(source, ranges=[])) == []
    assert source.reads == []
    assert decoding_threads() == []


def test_nothing_happens_before_the_first_batch_is_asked_for():
    source = Numbered(5)
    batches(source)
    assert source.reads == []


def test_defaults(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 7})
    assert default_workers() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert default_workers() == 1
    assert default_batch_size("torch", "cpu") == 8
    assert default_batch_size("onnxruntime", "cpu") == 4
    assert default_batch_size("torch", "cuda:1") == 128
