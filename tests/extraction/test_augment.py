"""Views: the text that names them, what decides them, and that they are torchvision's."""

import contextlib
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from featx.errors import ParameterError
from featx.extraction import Augmentation, augmentation_for, preprocess
from featx.extraction._transforms import TRANSFORMS
from featx.spec import Preprocessing
from tests.tiny import picture

PREPROCESSING = Preprocessing(crop_size=(40, 48), resize_size=(50, 60))
DIGEST = sha256(b"image").hexdigest()


def view(text, number=1, *, image=None, seed=0, digest=DIGEST, preprocessing=PREPROCESSING):
    image = picture(3, size=(90, 70)) if image is None else image
    return Augmentation.parse(text).view(image, preprocessing, digest=digest, number=number, seed=seed)


class TestText:
    @pytest.mark.parametrize(
        ("spelling", "canonical"),
        [
            ("affine(shear=10,scale=0.8:1.2) hflip", "affine(shear=10,scale=0.8:1.2) hflip"),
            (" affine( scale = 0.80:1.2 , shear=-10:10.0 )\n hflip(p=.5)", "affine(shear=10,scale=0.8:1.2) hflip"),
            ("affine(5)", "affine(degrees=5)"),
            ("affine(-5:6,translate=0.1,shear=-1:1:-2:3)", "affine(degrees=-5:6,shear=-1:1:-2:3,translate=0.1)"),
            ("affine(translate=0.1:0.2)", "affine(translate=0.1:0.2)"),
            ("affine()", "affine"),
            ("rotate(15)", "rotate(degrees=15)"),
            ("rotate(degrees=-15:15)", "rotate(degrees=15)"),
            ("rrc", "rrc"),
            ("rrc(256, scale=0.08:1)", "rrc(size=256)"),
            ("rrc(ratio=1:1,scale=0.5:1.0)", "rrc(scale=0.5:1,ratio=1:1)"),
            ("colorjitter(0.4,0.4,0.2,0.1)", "colorjitter(brightness=0.4,contrast=0.4,saturation=0.2,hue=0.1)"),
            ("colorjitter(brightness=0.6:1.4,hue=-.1:.1)", "colorjitter(brightness=0.4,hue=0.1)"),
            ("colorjitter(brightness=1.5)", "colorjitter(brightness=1.5)"),
            ("colorjitter(brightness=0:2.5)", "colorjitter(brightness=1.5)"),
            ("vflip(0.25) grayscale blur", "vflip(p=0.25) grayscale blur"),
            ("blur(5,1:1)", "blur(kernel_size=5,sigma=1:1)"),
            ("randaugment", "randaugment"),
            ("randaugment(n=2,magnitude=9)", "randaugment"),
            ("randaugment(3)", "randaugment(n=3)"),
            ("flip", "flip"),
            ("fivecrop", "fivecrop"),
            ("flip+crops", "tencrop"),
            ("hflip(p=1)", "hflip(p=1)"),
            ("hflip(p=-0)", "hflip(p=0)"),
        ],
    )
    def test_has_one_spelling(self, spelling, canonical):
        assert str(Augmentation.parse(spelling)) == canonical
        assert Augmentation.parse(canonical) == Augmentation.parse(spelling)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "augment must name transforms, such as 'hflip'; got ''"),
            ("  ", "augment must name transforms"),
            (None, "augment must name transforms, such as 'hflip'; got None"),
            ("hflop", r"augment must name affine, .*; got 'hflop'; did you mean 'hflip'"),
            ("hflip,vflip", "augment must be names with numbers in brackets, .*; got 'hflip,vflip'"),
            ("affine(shear=10", "augment must be names with numbers"),
            ("affine(shear=10))", "augment must be names with numbers"),
            ("hflip(p=2)", "p of augment 'hflip' must be a number from 0 to 1; got '2'"),
            ("hflip(p=nan)", "p of augment 'hflip' must be"),
            ("hflip(p=1e-1)", "p of augment 'hflip' must be"),
            ("hflip(p=)", "p of augment 'hflip' must be"),
            ("hflip(0.1,0.2)", r"augment 'hflip' must be written hflip\(\[p=...\]\); got hflip\(0.1,0.2\)"),
            ("hflip(q=0.1)", "augment 'hflip' must be written"),
            ("hflip(0.1,p=0.1)", "augment 'hflip' must be written"),
            ("rotate", r"augment 'rotate' must be written rotate\(degrees\); got rotate$"),
            ("affine(scale=1.2)", "scale of augment 'affine' must be LOW:HIGH, from 0.01 to 100; got '1.2'"),
            ("affine(scale=1.2:0.8)", "scale of augment 'affine' must be"),
            ("affine(shear=1:2:3)", "shear of augment 'affine' must be how far it may be from 0, or LOW:HIGH"),
            ("affine(shear=-1)", "shear of augment 'affine' must be"),
            ("affine(translate=1.5)", "translate of augment 'affine' must be a number from 0 to 1, or ACROSS:DOWN"),
            ("colorjitter(hue=0.6)", "hue of augment 'colorjitter' must be"),
            ("colorjitter(brightness=-0.1)", "brightness of augment 'colorjitter' must be"),
            ("blur(4)", "kernel_size of augment 'blur' must be an odd whole number from 1 to 999; got '4'"),
            ("randaugment(magnitude=31)", "magnitude of augment 'randaugment' must be a whole number from 0 to 30"),
            ("randaugment(n=1.5)", "n of augment 'randaugment' must be a whole number"),
            ("flip(1)", r"augment 'flip' takes no numbers; got flip\(1\)"),
            ("flip hflip", "augment 'flip' is a set of views, and stands alone"),
            ("hflip tencrop", "augment 'tencrop' is a set of views, and stands alone"),
            ("hflip rrc", "augment 'rrc' takes the place of the resizing; got 'hflip rrc': put it first"),
            ("rrc rrc", "augment 'rrc' takes the place of the resizing"),
        ],
    )
    def test_that_means_nothing(self, text, message):
        with pytest.raises(ParameterError, match=message):
            Augmentation.parse(text)

    numbers = st.decimals(0, 1, places=3).map(str)

    @settings(max_examples=60)
    @given(st.lists(st.sampled_from(["hflip", "vflip", "grayscale", "affine", "colorjitter"]), min_size=1), st.data())
    def test_written_and_read_again(self, names, data):
        words = []
        for name in names:
            keys = data.draw(st.lists(st.sampled_from(list(TRANSFORMS[name].parameters)), unique=True))
            said = []
            for key in keys:
                low, high = sorted(data.draw(st.tuples(self.numbers, self.numbers)), key=float)
                one = high if float(high) <= 0.5 or key != "hue" else "0.5"
                said.append(f"{key}={one if key in ('p', 'hue', 'translate') else f'{float(low) + 0.01:.3f}:1.5'}")
            words.append(f"{name}({','.join(said)})")
        first = Augmentation.parse(" ".join(words))
        assert Augmentation.parse(str(first)) == first
        assert str(Augmentation.parse(str(first))) == str(first)


class Uniforms:
    """Numbers of [0, 1) in a fixed order, for our transforms and, in torch's place, for torchvision's."""

    def __init__(self, seed):
        self._random = Random(seed)

    def random(self):
        return self._random.random()

    def permutation(self, n):
        order = list(range(n))
        for at in range(n - 1, 0, -1):
            other = int((at + 1) * self.random())
            order[at], order[other] = order[other], order[at]
        return torch.tensor(order)

    @contextlib.contextmanager
    def in_torch(self):
        def uniform(tensor, low=0.0, high=1.0):
            return torch.tensor(float(low) + (float(high) - float(low)) * self.random(), dtype=torch.float64)

        def integer(*args, size=None, **kwargs):
            low, high = (0, *args[:1]) if len(args) < 2 or isinstance(args[1], tuple) else args[:2]
            return torch.tensor(low + int((high - low) * self.random()))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "uniform_", uniform, raising=False)
            patch.setattr(torch, "randint", integer)
            patch.setattr(torch, "randperm", self.permutation)
            patch.setattr(torch, "rand", lambda *size: torch.tensor(self.random(), dtype=torch.float64))
            yield


CASES = {
    "hflip": v2.RandomHorizontalFlip(),
    "vflip(p=0.3)": v2.RandomVerticalFlip(0.3),
    "grayscale(0.5)": v2.RandomGrayscale(0.5),
    "affine(degrees=30,shear=10,scale=0.8:1.2,translate=0.1:0.3)": v2.RandomAffine(
        30, shear=10, scale=(0.8, 1.2), translate=(0.1, 0.3)
    ),
    "affine(degrees=-10:40,shear=-5:10:3:20,translate=0)": v2.RandomAffine(
        (-10, 40), shear=(-5, 10, 3, 20), scale=(1, 1), translate=(0, 0)
    ),
    "rotate(15)": v2.RandomRotation(15),
    "rotate(30:60)": v2.RandomRotation((30, 60)),
    "colorjitter(0.4,0.3,0.2,0.1)": v2.ColorJitter(0.4, 0.3, 0.2, 0.1),
    "colorjitter(contrast=0.5:0.9,hue=-0.2:0)": v2.ColorJitter(contrast=(0.5, 0.9), hue=(-0.2, 0)),
    "blur(5,sigma=0.5:1.5)": v2.GaussianBlur(5, sigma=(0.5, 1.5)),
    "blur": v2.GaussianBlur(9),
    "randaugment": v2.RandAugment(),
    "randaugment(n=3,magnitude=15)": v2.RandAugment(3, 15),
    "randaugment(n=1,magnitude=29)": v2.RandAugment(1, 29),
}


def applied(text, image, random, preprocessing=PREPROCESSING):
    from featx.extraction._transforms import View

    for name, arguments in Augmentation.parse(text).steps:
        numbers = {key: tuple(map(float, values)) for key, values in arguments}
        image = TRANSFORMS[name].apply(image, View(1, random, preprocessing), **numbers)
    return np.asarray(image)


@pytest.mark.parametrize("text", CASES)
def test_with_the_same_random_numbers_they_do_what_torchvision_does(text):
    image = picture(5, (90, 140, 200), size=(61, 47))
    seen = set()
    for seed in range(60 if "rand" in text else 12):
        mine = applied(text, image, Uniforms(seed))
        uniforms = Uniforms(seed)
        with uniforms.in_torch():
            if text.startswith(("hflip", "vflip", "grayscale")):  # torchvision asks whether its number is below p
                theirs = (
                    CASES[text].transform(image, {"num_input_channels": 3})
                    if uniforms.random() < CASES[text].p
                    else image
                )
            else:
                theirs = CASES[text](image)
        difference = np.abs(mine.astype(int) - np.asarray(theirs))
        if "blur" in text:  # which is summed up in another order
            assert difference.max() <= 1
            assert (difference > 0).mean() < 1e-3
        else:
            assert difference.max() == 0, f"{text}, seed {seed}"
        seen.add(mine.tobytes())
    assert len(seen) >= 2


@pytest.mark.parametrize("size", [(61, 47), (400, 20), (20, 400), (1, 1), (3, 2)])
@pytest.mark.parametrize(
    ("text", "theirs"),
    [
        ("rrc", v2.RandomResizedCrop((40, 48), interpolation=v2.InterpolationMode.BILINEAR)),
        ("rrc(64,scale=0.3:0.9,ratio=1:2)", v2.RandomResizedCrop(64, (0.3, 0.9), (1, 2))),
    ],
)
def test_random_resized_crops_are_torchvisions(text, theirs, size):
    image = picture(5, size=size)
    theirs._log_ratio = torch.log(torch.tensor(theirs.ratio, dtype=torch.float64))
    for seed in range(12):
        mine = applied(text, image, Uniforms(seed))
        with Uniforms(seed).in_torch():
            np.testing.assert_array_equal(mine, np.asarray(theirs(image)), err_msg=str(seed))


def test_a_resized_crop_uses_the_networks_filter_and_ends_at_its_size():
    image = picture(1, size=(200, 150))
    bicubic = Preprocessing(crop_size=(40, 48), resize_size=(50, 60), interpolation="bicubic")
    whole = "rrc(scale=1:1,ratio=1.3333333333333333:1.3333333333333333)"
    expected = image.resize((48, 40), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(view(whole, image=image, preprocessing=bicubic), np.asarray(expected))
    larger = whole.replace("rrc(", "rrc(size=64,")
    expected = v2.functional.center_crop(image.resize((64, 64), Image.Resampling.BICUBIC), [40, 48])
    np.testing.assert_array_equal(view(larger, image=image, preprocessing=bicubic), np.asarray(expected))


class TestWhatAViewDependsOn:
    TEXT = "affine(shear=10,scale=0.8:1.2) hflip colorjitter(0.2)"

    def test_the_plain_image_comes_first(self):
        image = picture(3, size=(90, 70))
        for text in (self.TEXT, "rrc", "tencrop", "randaugment"):
            np.testing.assert_array_equal(view(text, 0, image=image, seed=5), preprocess(image, PREPROCESSING))

    def test_seed_content_and_number(self):
        same = view(self.TEXT)
        np.testing.assert_array_equal(same, view(self.TEXT))
        assert same.shape == (40, 48, 3)
        assert same.dtype == np.uint8
        others = [view(self.TEXT, 2), view(self.TEXT, seed=1), view(self.TEXT, digest=sha256(b"other").hexdigest())]
        assert all((same != other).any() for other in others)

    def test_nothing_else(self):
        """Neither threads, nor other random numbers, nor another process."""
        expected = [view(self.TEXT, number) for number in range(8)]
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        with ThreadPoolExecutor(4) as pool:
            for mine, theirs in zip(expected, pool.map(lambda number: view(self.TEXT, number), range(8)), strict=True):
                np.testing.assert_array_equal(mine, theirs)
        code = (
            "from tests.extraction.test_augment import TestWhatAViewDependsOn, view, sha256\n"
            "print(sha256(view(TestWhatAViewDependsOn.TEXT, 5).tobytes()).hexdigest())"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
        assert other.stdout.split()[-1] == sha256(expected[5].tobytes()).hexdigest()

    def test_the_random_numbers_are_pinned(self):
        """Views that are stored must stay what they are: this changes only together with SPEC_VERSION."""
        drawn = []

        class Spy(Random):
            def random(self):
                drawn.append(super().random())
                return drawn[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("featx.extraction._augment.Random", Spy)
            view("hflip vflip", 3, seed=7)
        assert drawn == [0.023638855076623222, 0.4455762588837061]


class TestDistributions:
    """Over many contents, parameters are drawn as they should be."""

    @pytest.fixture
    def factors(self, monkeypatch):
        found = []
        monkeypatch.setattr(v2.functional, "affine", lambda image, **values: found.append(values) or image)
        for number in range(1, 1500):
            view("affine(degrees=20,shear=10,scale=0.8:1.2,translate=0.25)", number, image=picture(0, size=(60, 50)))
        return found

    def test_of_affine(self, factors):
        across = [values["translate"][0] for values in factors]
        assert min(across) == -12
        assert max(across) == 12
        for values, low, high in (
            ([one["angle"] for one in factors], -20, 20),
            ([one["scale"] for one in factors], 0.8, 1.2),
            ([one["shear"][0] for one in factors], -10, 10),
            (across, -12, 12),
        ):
            places = np.sort((np.array(values) - low) / (high - low))
            assert np.abs(places - np.linspace(0, 1, len(places))).max() < 1.6 / math.sqrt(len(places)) + 0.03
        assert {one["shear"][1] for one in factors} == {0.0}
        assert abs(np.corrcoef([[one["angle"], one["scale"]] for one in factors], rowvar=False)[0, 1]) < 0.08

    @pytest.mark.parametrize("p", [0, 0.25, 1])
    def test_of_flips(self, p):
        image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
        small = Preprocessing(crop_size=(4, 4), resize_size=(4, 4), resize="squash")
        mirrored = np.asarray(image)[:, ::-1]
        hits = [
            np.array_equal(view(f"hflip({p})", number, image=image, preprocessing=small), mirrored)
            for number in range(1, 2001)
        ]
        assert abs(np.mean(hits) - p) < 0.04
        assert p == 0.25 or np.mean(hits) == p


class TestSets:
    def test_flip(self):
        image = picture(3, size=(90, 70))
        np.testing.assert_array_equal(view("flip", image=image), preprocess(image, PREPROCESSING)[:, ::-1])

    @pytest.mark.parametrize("size", [(90, 70), (300, 60), (45, 200), (20, 20), (2000, 30)])
    def test_crops_are_torchvisions(self, size):
        image = picture(3, size=size)
        square = Preprocessing(crop_size=(40, 40), resize_size=(50, 50))
        resized = v2.functional.resize(image, 50)
        top_left, top_right, low_left, low_right, centre = map(np.asarray, v2.functional.five_crop(resized, [40, 40]))
        ours = [view("fivecrop", number, image=image, preprocessing=square) for number in range(5)]
        close = 1 if max(size) / min(size) > 16 else 0  # where only a part of a strip is resized
        for mine, theirs in zip(ours, (centre, top_left, top_right, low_left, low_right), strict=True):
            assert np.abs(mine.astype(int) - theirs).max() <= close
        ten = [view("flip+crops", number, image=image, preprocessing=square) for number in range(10)]
        for number in range(5):
            np.testing.assert_array_equal(ten[2 * number], ours[number])
            np.testing.assert_array_equal(ten[2 * number + 1], ours[number][:, ::-1])

    def test_they_end(self):
        for text, most in (("flip", 2), ("fivecrop", 5), ("tencrop", 10)):
            assert augmentation_for(most, text, 0).most == most
            with pytest.raises(ParameterError, match=f"views of augment '{text}' are at most {most}, the plain image"):
                augmentation_for(most + 1, text, 0)


class TestWhatFits:
    def test_nothing_is_asked_for(self):
        assert augmentation_for(1, None, 0) is None
        assert augmentation_for(1, "", 0) is None
        assert str(augmentation_for(3, "hflip( 0.5 )", 4)) == "hflip"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((4, None, 0), "views 4 needs augment"),
            ((1, "hflip", 0), "augment 'hflip' is of views beyond the plain image"),
            ((1, None, 3), "augment_seed 3 is of views beyond"),
            ((0, None, 0), "views must be a whole number of at least 1; got 0"),
            ((2.0, "hflip", 0), "views must be"),
            ((True, None, 0), "views must be"),
            ((2, "hflip", -1), "augment_seed must be a whole number of at least 0; got -1"),
            ((2, "hflop", 0), "augment must name"),
        ],
    )
    def test_what_does_not(self, arguments, message):
        with pytest.raises(ParameterError, match=message):
            augmentation_for(*arguments)

    def test_a_network_it_is_too_small_for(self):
        Augmentation.parse("rrc(48)").require_fit(PREPROCESSING)
        Augmentation.parse("rrc").require_fit(PREPROCESSING)
        with pytest.raises(
            ParameterError, match="size of rrc must be at least that of the network's images, 48 pixels"
        ):
            Augmentation.parse("rrc(47)").require_fit(PREPROCESSING)

    def test_crops_of_what_is_not_cropped(self):
        squashed = Preprocessing().changed(resize="squash")
        Augmentation.parse("flip").require_fit(squashed)
        Augmentation.parse("rrc").require_fit(squashed)
        Augmentation.parse("tencrop").require_fit(Preprocessing())
        with pytest.raises(ParameterError, match="augment 'tencrop' needs images that are larger than what is cut out"):
            Augmentation.parse("tencrop").require_fit(squashed)


def test_torchvision_is_loaded_for_what_it_does_alone():
    code = (
        "import sys, numpy as np\n"
        "from PIL import Image\n"
        "from featx.extraction import Augmentation, preprocess\n"
        "from featx.spec import Preprocessing\n"
        "image = Image.new('RGB', (300, 300))\n"
        "for text in ('affine(5) hflip', 'hflip vflip', 'flip', 'tencrop', 'rrc grayscale'):\n"
        "    one = Augmentation.parse(text)\n"
        "    one.view(image, Preprocessing(), digest='0', number=0 if 'affine' in text else 1, seed=0)\n"
        "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules\n"
        "Augmentation.parse('affine(5)').view(image, Preprocessing(), digest='0', number=1)\n"
        "assert 'torchvision' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
