"""Views of an image beside the plain one: how they are drawn, as one line of text that has one spelling."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.errors import ParameterError, did_you_mean
from featx.extraction._transform import preprocess
from featx.extraction._transforms import ALIASES, TRANSFORMS, Parameter, Transform, View
from featx.spec import Preprocessing, require_views

__all__ = ["Augmentation", "augmentation_for"]

_WORD = re.compile(r"\s*([A-Za-z][\w+]*)\s*(?:\(([^()]*)\))?(?=\s|$)")
_NUMBER = re.compile(r"[+-]?(\d{1,9}(\.\d{0,18})?|\.\d{1,18})")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How the views of an image beyond the plain one are drawn; made by :meth:`parse`.

    ``str()`` gives the text that all spellings of the same transforms come to.

    Parameters
    ----------
    steps : tuple of (str, tuple of (str, tuple of Decimal))
        Names of the transforms, each with all of its parameters.
    """

    steps: tuple[tuple[str, tuple[tuple[str, tuple[Decimal, ...]], ...]], ...]

    @classmethod
    def parse(cls, text: str) -> "Augmentation":
        """Read transforms from text.

        Parameters
        ----------
        text : str
            Names with numbers in brackets, separated by spaces, such as ``affine(shear=10,scale=0.8:1.2) hflip``;
            LOW:HIGH is an interval. ``rrc`` takes the place of the resizing, and comes first. The sets ``flip``,
            ``fivecrop`` and ``tencrop`` are not drawn at random, and stand alone.

        Raises
        ------
        ParameterError
            The text cannot be read, or a transform is unknown, has other parameters, or stands in the wrong place.
        """
        if not isinstance(text, str) or not text.strip():
            raise ParameterError(f"augment must name transforms, such as 'hflip'; got {text!r}")
        steps = tuple((name, tuple(_arguments(name, inside).items())) for name, inside in _words(text))
        for place, (name, _) in enumerate(steps):
            if TRANSFORMS[name].most is not None and len(steps) > 1:
                raise ParameterError(f"augment {name!r} is a set of views, and stands alone; got {text!r}")
            if TRANSFORMS[name].decoded and place:
                raise ParameterError(f"augment {name!r} takes the place of the resizing; got {text!r}: put it first")
        return cls(steps)

    def __str__(self) -> str:
        return " ".join(_written(name, dict(arguments)) for name, arguments in self.steps)

    @property
    def most(self) -> int | None:
        """How many views there are, the plain image included; None for any number."""
        return self._transforms[0].most

    @property
    def _transforms(self) -> tuple[Transform, ...]:
        return tuple(TRANSFORMS[name] for name, _ in self.steps)

    def require_fit(self, preprocessing: Preprocessing) -> None:
        """Raise ParameterError if no views of the network's size, or only equal ones, come out of images."""
        name, arguments = self.steps[0]
        if not self._transforms[0].decoded:
            return
        size = dict(arguments).get("size", (Decimal(0),))[0]
        if 0 < size < max(preprocessing.crop_size):
            raise ParameterError(
                f"size of {name} must be at least that of the network's images, {max(preprocessing.crop_size)} pixels;"
                f" got {size}: leave it out, or make image_size smaller"
            )
        whole = preprocessing.resize != "crop" and preprocessing.resize_size == preprocessing.crop_size
        if self.most is not None and whole:
            raise ParameterError(
                f"augment {name!r} needs images that are larger than what is cut out of them; got resize"
                f" {preprocessing.resize!r}, which shows the network all of each: use augment 'flip', or resize 'crop'"
            )

    def view(
        self, image: Image.Image, preprocessing: Preprocessing, *, digest: str, number: int, seed: int = 0
    ) -> npt.NDArray[np.uint8]:
        """Return a view of an image; the same arguments give the same pixels, in any process and thread.

        Parameters
        ----------
        image, preprocessing, digest, seed
            As :meth:`views` takes them.
        number : int
            0 for the plain image: what :func:`featx.extraction.preprocess` gives.

        Returns
        -------
        ndarray of shape (height, width, 3) and dtype uint8
            Of the crop's size.
        """
        return self.views(image, preprocessing, digest=digest, numbers=[number], seed=seed)[0]

    def views(
        self, image: Image.Image, preprocessing: Preprocessing, *, digest: str, numbers: Sequence[int], seed: int = 0
    ) -> list[npt.NDArray[np.uint8]]:
        """Return several views of an image, each as :meth:`view` gives it.

        Parameters
        ----------
        image : PIL.Image.Image
            Decoded, of mode RGB.
        preprocessing : Preprocessing
        digest : str
            SHA-256 hex digest of the image's bytes, see :func:`featx.sources.content_digest`.
        numbers : sequence of int
            0 for the plain image.
        seed : int
            What the random numbers depend on, beside `digest` and the number of the view.
        """
        decoded = self._transforms[0].decoded
        plain = None if decoded and 0 not in numbers else preprocess(image, preprocessing)
        if plain is not None and not decoded:
            image = Image.fromarray(plain)
        height, width = preprocessing.crop_size
        found = []
        for number in numbers:
            if number == 0 and plain is not None:
                found.append(plain)
                continue
            random = Random(int.from_bytes(sha256(f"{seed} {digest} {number}".encode("ascii")).digest()))
            drawn, view = View(number, random, preprocessing), image
            for transform, (_, arguments) in zip(self._transforms, self.steps, strict=True):
                view = transform.apply(view, drawn, **{name: tuple(map(float, given)) for name, given in arguments})
            left, top = (view.width - width) // 2, (view.height - height) // 2
            found.append(np.asarray(view.crop((left, top, left + width, top + height))))
        return found


def augmentation_for(views: int, augment: str | None, augment_seed: int) -> Augmentation | None:
    """Return what draws the views that are asked for; None for the plain image alone.

    Raises
    ------
    ParameterError
        If these do not fit each other.
    """
    for parameter, value, least in (("views", views, 1), ("augment_seed", augment_seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ParameterError(f"{parameter} must be a whole number of at least {least}; got {value!r}")
    require_views(views, augment or "", augment_seed)
    if not augment:
        return None
    augmentation = Augmentation.parse(augment)
    if augmentation.most is not None and views > augmentation.most:
        raise ParameterError(
            f"views of augment {augment!r} are at most {augmentation.most}, the plain image included; got {views}"
        )
    return augmentation


def _words(text: str) -> Iterator[tuple[str, str]]:
    """Yield each transform's name and what is in its brackets."""
    position = 0
    while text[position:].strip():
        found = _WORD.match(text, position)
        if found is None:
            raise ParameterError(
                "augment must be names with numbers in brackets, separated by spaces, such as"
                f" 'affine(shear=10,scale=0.8:1.2) hflip'; got {text[position:].strip()!r}"
            )
        name = ALIASES.get(found[1], found[1])
        if name not in TRANSFORMS:
            known = sorted([*TRANSFORMS, *ALIASES])
            raise ParameterError(f"augment must name {', '.join(known)}; got {name!r}{did_you_mean(name, known)}")
        yield name, found[2] or ""
        position = found.end()


def _arguments(name: str, inside: str) -> dict[str, tuple[Decimal, ...]]:
    """Return the numbers of every parameter of a transform, in order."""
    parameters = TRANSFORMS[name].parameters
    given: dict[str, str] = {}
    for place, word in enumerate(inside.split(",") if inside.strip() else []):
        key, equals, value = (part.strip() for part in word.rpartition("="))
        if not equals and place < len(parameters):
            key = list(parameters)[place]
        if key not in parameters or key in given:
            raise ParameterError(f"{_usage(name)}; got {name}({inside})")
        given[key] = value
    said = {key: given.get(key, parameter.default) for key, parameter in parameters.items()}
    if None in said.values():
        raise ParameterError(f"{_usage(name)}; got {name}{f'({inside})' if inside else ''}")
    return {key: _read(name, key, str(said[key])) for key in parameters}


def _usage(name: str) -> str:
    parameters = TRANSFORMS[name].parameters
    if not parameters:
        return f"augment {name!r} takes no numbers"
    said = [key if one.default is None else f"[{key}=...]" for key, one in parameters.items()]
    return f"augment {name!r} must be written {name}({','.join(said)})"


def _read(name: str, key: str, text: str) -> tuple[Decimal, ...]:
    parameter = TRANSFORMS[name].parameters[key]
    words = [word.strip() for word in text.split(":")]
    read = None
    if all(map(_NUMBER.fullmatch, words)):
        read = parameter.read(tuple(Decimal(word).normalize() + 0 for word in words))  # no -0
    if read is None:
        raise ParameterError(f"{key} of augment {name!r} must be {parameter.rule}; got {text!r}")
    return read


def _written(name: str, arguments: dict[str, tuple[Decimal, ...]]) -> str:
    """Return a transform with those of its parameters that are not at their default, as short as can be."""
    said = []
    for key, parameter in TRANSFORMS[name].parameters.items():
        text = _shortest(parameter, arguments[key])
        if parameter.default is None or arguments[key] != _read(name, key, parameter.default):
            said.append(f"{key}={text}")
    return f"{name}({','.join(said)})" if said else name


def _shortest(parameter: Parameter, values: tuple[Decimal, ...]) -> str:
    shorter = ((values[-1],), (values[-1] - 1,), values)
    shortest = next(numbers for numbers in shorter if parameter.read(numbers) == values)
    return ":".join(f"{number.normalize() + 0:f}" for number in shortest)
