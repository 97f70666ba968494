"""The values that decide the numbers: their digests, their JSON, and what is said when two differ."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import ParameterError, SpecMismatchError
from featx.spec import ExtractionSpec, Preprocessing, canonical_json, digest_of, require_same_spec

SPEC = ExtractionSpec(
    backbone="torchvision:resnet50", weights="0" * 64, layer="fc.input", pool="none", preprocessing=Preprocessing()
)

numbers = st.floats(-1e6, 1e6)
sizes = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))
preprocessings = st.builds(
    Preprocessing,
    crop_size=sizes,
    resize_size=sizes,
    resize=st.sampled_from(["crop", "squash", "pad"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]),
    mean=st.tuples(numbers, numbers, numbers),
    std=st.tuples(*[st.floats(1e-9, 1e6)] * 3),
    decode=st.sampled_from(["exact", "fast"]),
)
specs = st.builds(
    ExtractionSpec,
    backbone=st.text(),
    weights=st.text(),
    layer=st.text(),
    pool=st.sampled_from(["avg", "max", "gem", "cls", "flatten", "none"]),
    preprocessing=preprocessings,
    precision=st.sampled_from(["fp32", "bf16", "fp16"]),
    dtype=st.sampled_from(["float32", "float16"]),
    version=st.integers(1, 9),
).flatmap(
    lambda spec: st.one_of(
        st.just(spec),
        st.builds(
            replace,
            st.just(spec),
            views=st.integers(2, 100),
            augment=st.text(min_size=1),
            augment_seed=st.integers(0, 10**12),
        ),
    )
)


def test_the_digest_is_pinned():
    """This changes only together with SPEC_VERSION: all caches are named by it."""
    assert SPEC.to_json() == (
        '{"augment":"","backbone":"torchvision:resnet50","dtype":"float32","layer":"fc.input","pool":"none",'
        '"precision":"fp32","preprocessing":{"crop_size":[224,224],"interpolation":"bilinear",'
        '"mean":[0.485,0.456,0.406],"resize":"crop","resize_size":[256,256],"std":[0.229,0.224,0.225]},'
        '"version":1,"views":1,"weights":"' + "0" * 64 + '"}'
    )
    assert SPEC.digest == "196aa466ab87428d9895eb57afc523d5816dd1abef9582d8520c758bf1d549d1"


def test_fields_that_were_added_later_are_left_out_at_their_default():
    fast = replace(SPEC, preprocessing=replace(SPEC.preprocessing, decode="fast"))
    assert fast.to_json() == SPEC.to_json().replace('"interpolation"', '"decode":"fast","interpolation"')
    assert fast.digest == "5f6cb2d8b7efb0358a757861fca98988d961e87bb4153d9a8e4162f60962977c"
    assert ExtractionSpec.from_json(fast.to_json()).preprocessing.decode == "fast"
    assert ExtractionSpec.from_json(SPEC.to_json()).preprocessing.decode == "exact"
    assert ExtractionSpec.from_json(edited(preprocessing={**SPEC.preprocessing.to_dict(), "decode": "exact"})) == SPEC
    views = replace(SPEC, views=2, augment="hflip")
    assert views.to_json() == SPEC.to_json().replace('"augment":""', '"augment":"hflip"').replace(
        '"views":1', '"views":2'
    )
    assert replace(views, augment_seed=7).to_json() == views.to_json().replace(
        '"augment":"hflip"', '"augment":"hflip","augment_seed":7'
    )


@given(preprocessings)
def test_preprocessing_from_dict(preprocessing):
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    assert set(asdict(preprocessing)) - set(preprocessing.to_dict()) <= {"decode"}


CHANGES = {
    "backbone": "timm:resnet50",
    "weights": "1" * 64,
    "layer": "layer4",
    "pool": "avg",
    "precision": "bf16",
    "dtype": "float16",
    "views": 3,
    "augment": "vflip",
    "augment_seed": 1,
    "version": 2,
    "preprocessing.crop_size": (224, 225),
    "preprocessing.resize_size": (256, 255),
    "preprocessing.resize": "pad",
    "preprocessing.interpolation": "bicubic",
    "preprocessing.mean": (0.485, 0.456, 0.4060000000000001),
    "preprocessing.std": (0.229, 0.224, 0.2250000000000001),
    "preprocessing.decode": "fast",
}


VIEWS = replace(SPEC, views=2, augment="hflip")


def changed(field, value):
    owner, _, name = field.rpartition(".")
    if not owner:
        return replace(VIEWS, **{name: value})
    return replace(VIEWS, preprocessing=replace(VIEWS.preprocessing, **{name: value}))


def test_each_field_counts():
    fields = {*asdict(SPEC), *(f"preprocessing.{name}" for name in asdict(SPEC.preprocessing))} - {"preprocessing"}
    assert fields == set(CHANGES)
    digests = {changed(field, value).digest for field, value in CHANGES.items()}
    assert len(digests | {VIEWS.digest, SPEC.digest}) == len(CHANGES) + 2


@pytest.mark.parametrize("field", CHANGES)
def test_differences_name_the_field_and_both_values(field):
    other = changed(field, CHANGES[field])
    mine = asdict(VIEWS)["preprocessing"][field.partition(".")[2]] if "." in field else asdict(VIEWS)[field]
    assert VIEWS.differences(other) == [f"{field}: {mine!r} against {CHANGES[field]!r}"]
    with pytest.raises(SpecMismatchError) as caught:
        require_same_spec(VIEWS, other, what="the store")
    assert str(caught.value) == (
        f"the store differs from what the head was trained on in {field}: {mine!r} against {CHANGES[field]!r}"
        f" (trained against given): extract with the settings of {VIEWS.digest[:12]},"
        f" or fit a head on {other.digest[:12]}"
    )


def test_the_views_that_two_specs_share():
    more, seeded = replace(VIEWS, views=5), replace(VIEWS, augment_seed=3)
    assert VIEWS.plain == SPEC == SPEC.plain
    assert [VIEWS.shared_views(other) for other in (VIEWS, more, seeded, replace(VIEWS, augment="vflip"))] == [
        2,
        2,
        1,
        1,
    ]
    assert (more.shared_views(VIEWS), SPEC.shared_views(more), more.shared_views(SPEC)) == (2, 1, 1)
    for other in (replace(VIEWS, dtype="float16"), replace(SPEC, layer="x"), changed("preprocessing.decode", "fast")):
        assert VIEWS.shared_views(other) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"views": 4}, "views 4 needs augment, which says how .*; got none: add it, such as augment 'hflip'"),
        ({"augment": "hflip"}, "augment 'hflip' is of views beyond the plain image, and views 1 has none: add views"),
        ({"augment_seed": 1}, "augment_seed 1 is of views beyond the plain image"),
        ({"views": 2, "augment": "hflip", "augment_seed": -1}, "augment_seed must be a whole number of at least 0"),
    ],
)
def test_views_and_how_they_are_drawn_go_together(values, message):
    with pytest.raises(ParameterError, match=message):
        replace(SPEC, **values)


def test_equal_specs_have_no_differences():
    assert SPEC.differences(replace(SPEC)) == []
    require_same_spec(SPEC, replace(SPEC), what="the store")


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, np.float32(0), np.int64(0), False])
def test_equal_numbers_have_equal_digests(zero):
    plain = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), crop_size=(8, 8))
    other = Preprocessing(mean=[zero] * 3, std=[1, np.float64(1), True], crop_size=[np.int64(8), 8])
    assert other == plain
    assert hash(other) == hash(plain)
    assert canonical_json(asdict(other)) == canonical_json(asdict(plain))


@given(specs)
def test_json_round_trip(spec):
    again = ExtractionSpec.from_json(spec.to_json())
    assert again == spec
    assert again.digest == spec.digest == digest_of(json.loads(spec.to_json()))


@given(specs, specs)
def test_digests_are_equal_exactly_when_the_specs_are(one, other):
    assert (one == other) == (one.digest == other.digest) == (one.differences(other) == [])


def edited(**values):
    return json.dumps({**json.loads(SPEC.to_json()), **values})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "3",
        "{" * 10_000,
        '{"preprocessing":' * 100_000,
        edited(surplus=1),
        edited(preprocessing=None),
        edited(preprocessing=[]),
        edited(preprocessing={"surplus": 1}),
        edited(preprocessing={"crop_size": 5}),
        edited(preprocessing={"crop_size": ["8", "8"]}),
        edited(preprocessing={"mean": [0, 0, None]}),
        edited(preprocessing={"resize": ["crop"]}),
        edited(preprocessing={"decode": "half"}),
        edited(pool="median"),
        edited(views="3"),
        edited(views=2),
        edited(augment="hflip"),
        edited(augment_seed=1),
        edited(views=2, augment="hflip", augment_seed=-1),
        edited(views=2, augment="hflip", augment_seed=True),
        edited(views=0),
        edited(views=1.0),
        edited(version=None),
        edited(backbone=None),
        edited(layer=4),
        edited(precision=["fp32"]),
    ],
    ids=lambda text: text[:40] or "empty",
)
def test_what_is_no_spec(text):
    with pytest.raises(ParameterError, match="the text is no extraction spec of this featx"):
        ExtractionSpec.from_json(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resize": "stretch"}, r"resize must be one of crop, squash, pad; got 'stretch'"),
        ({"interpolation": "cubic"}, r"interpolation must be one of .*bicubic.*; got 'cubic'"),
        ({"decode": "half"}, r"decode must be one of exact, fast, gpu; got 'half'"),
        ({"crop_size": (224,)}, r"crop_size must be two lengths of at least 1 pixel; got \(224,\)"),
        ({"crop_size": (224.5, 224)}, r"crop_size must be two lengths"),
        ({"crop_size": 224}, r"crop_size must be two lengths"),
        ({"resize_size": (0, 9)}, r"resize_size must be two lengths of at least 1 pixel; got \(0, 9\)"),
        ({"mean": (0, 0)}, r"mean and std must have three numbers each"),
        ({"mean": (0, 0, float("nan"))}, r"mean and std must have three numbers each"),
        ({"std": (1, 1, 0)}, r"std above 0; got .* and \(1, 1, 0\)"),
        ({"std": (1, 1, float("inf"))}, r"mean and std must have three numbers each"),
        ({"std": "abc"}, r"mean and std must have three numbers each"),
    ],
)
def test_what_is_no_preprocessing(values, message):
    with pytest.raises(ParameterError, match=message):
        Preprocessing(**values)


@pytest.mark.parametrize(
    ("start", "changes", "expected"),
    [
        ({}, {}, {}),
        ({}, {"image_size": 112}, {"crop_size": (112, 112), "resize_size": (128, 128)}),
        ({}, {"image_size": 299}, {"crop_size": (299, 299), "resize_size": (341, 341)}),
        ({}, {"resize": "squash"}, {"resize": "squash", "resize_size": (224, 224)}),
        (
            {},
            {"resize": "pad", "image_size": 64},
            {"resize": "pad", "crop_size": (64, 64), "resize_size": (64, 64)},
        ),
        ({"resize": "squash"}, {"image_size": 112}, {"crop_size": (112, 112), "resize_size": (128, 128)}),
        (
            {"crop_size": (200, 100), "resize_size": (220, 110)},
            {"resize": "pad"},
            {"resize": "pad", "resize_size": (200, 100)},
        ),
        (
            {"crop_size": (200, 100), "resize_size": (220, 120)},
            {"image_size": 50},
            {"crop_size": (50, 50), "resize_size": (55, 60)},
        ),
        ({"resize_size": (100, 100)}, {"image_size": 1}, {"crop_size": (1, 1), "resize_size": (1, 1)}),
        ({}, {"decode": "fast"}, {"decode": "fast"}),
        ({}, {"interpolation": "lanczos"}, {"interpolation": "lanczos"}),
        ({"decode": "fast"}, {"decode": "exact"}, {"decode": "exact"}),
        (
            {"decode": "fast", "interpolation": "bicubic", "mean": (0, 0, 0)},
            {"image_size": 112},
            {"crop_size": (112, 112), "resize_size": (128, 128)},
        ),
        ({}, {"mean": [0, 0, 0], "std": [1, 1, 1]}, {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}),
    ],
)
def test_changed(start, changes, expected):
    before = Preprocessing(**start)
    assert before.changed(**changes) == replace(before, **expected)


def test_changed_refuses():
    with pytest.raises(ParameterError, match="image_size must be at least 1 pixel; got 0"):
        Preprocessing().changed(image_size=0)
    with pytest.raises(ParameterError, match="resize must be one of"):
        Preprocessing().changed(resize="stretch")
