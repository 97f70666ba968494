import hashlib

import numpy as np
import pytest
from PIL import Image


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.*")}


def pixels(file, mode="RGB"):
    with Image.open(file) as image:
        return np.asarray(image.convert(mode))


def test_photos_are_jpegs_in_two_classes_and_the_same_every_time(bench, tmp_path):
    for name in ("one", "two"):
        bench.photos.make_photos(tmp_path / name, 4, (500, 375))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    files = list(bench.photos.image_files(tmp_path / "one"))
    assert [file.parent.name for file in files] == ["a", "b", "a", "b"]
    for file in files:
        assert 35_000 < file.stat().st_size < 100_000
        with Image.open(file) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (500, 375), "RGB")
            assert image.layer[0][1:3] == (2, 2)  # 4:2:0


def test_photos_have_the_spectrum_of_photographs(bench, tmp_path):
    bench.photos.make_photos(tmp_path, 4, (500, 375))
    slopes = []
    for file in bench.photos.image_files(tmp_path):
        grey = pixels(file, "L")[:375, :375].astype(float)
        power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(375), np.fft.fftfreq(375)))
        rings = [(low, power[(frequency >= low) & (frequency < 1.5 * low)].mean()) for low in (0.02, 0.04, 0.08, 0.16)]
        slopes.append(np.polyfit(*np.log(np.array(rings)).T, 1)[0])
    assert -3.2 < np.mean(slopes) < -1.5  # that of photographs is near -2


def test_copies_of_a_picture_differ_in_bytes_alone(bench, tmp_path):
    bench.photos.make_photos(tmp_path, 6, (120, 110), distinct=2)
    assert len(set(digests(tmp_path).values())) == 6
    first, again, other = (pixels(tmp_path / name) for name in ("a/000000.jpg", "a/000002.jpg", "b/000001.jpg"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_small_images_are_pngs(bench, tmp_path):
    bench.photos.make_photos(tmp_path, 3, (32, 32))
    assert [pixels(file).shape for file in bench.photos.image_files(tmp_path)] == [(32, 32, 3)] * 3
    assert len(set(digests(tmp_path).values())) == 3
    with pytest.raises(ValueError, match="got 2 for 3"):
        bench.photos.make_photos(tmp_path, 3, (32, 32), distinct=2)


@pytest.mark.parametrize(("count", "shown"), [(3, 3), (9, 9)])
def test_as_many_images_are_shown_as_wanted(bench, tmp_path, count, shown):
    bench.photos.make_photos(tmp_path / "made", 4, (120, 110))
    assert bench.photos.show_images(tmp_path / "made", count, tmp_path / "shown") == shown
    assert len(set(digests(tmp_path / "shown").values())) == shown
    assert {path.name for path in (tmp_path / "shown").iterdir()} == {"a", "b"}


def test_pngs_are_not_copied(bench, tmp_path):
    bench.photos.make_photos(tmp_path / "made", 2, (32, 32))
    assert bench.photos.show_images(tmp_path / "made", 5, tmp_path / "shown") == 2
    assert len(digests(tmp_path / "shown")) == 2
