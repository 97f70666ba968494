"""Small networks from a line of text, such as ``conv(100,2) dropout(0.4) gap dropout(0.3) dense``.

Maps come as they are stored, channels last: (n, h, w, c); tokens as (n, l, c), vectors as (n, d). A layer works on the
last axis unless its name says otherwise.
"""

import copy
import inspect
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor, nn
from torch.nn import functional

from featx.errors import ParameterError, did_you_mean

__all__ = ["Conv", "LayerSpec", "Standardize", "build_layers", "parse_layers"]

Shape = tuple[int, ...]

_PATCH_VALUES = 1 << 17
"""Values of all patches of a row, up to which gathering them pays: a batch of them then stays in the caches."""

_WORD = re.compile(r"\s*([A-Za-z]\w*)\s*(?:\(([^()]*)\))?(?=\s|$)")


class Standardize(nn.Module):
    """``(x - mean) * factor`` on the last axis; what it holds is computed from the data, not trained.

    Parameters
    ----------
    mean, scale : Tensor of shape (c,), float32
        Mean and standard deviation of the training rows.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised features, of the shape of `x`."""
        return torch.sub(x, self.mean).div_(self.scale)


class Conv(nn.Module):
    """Convolution of channels-last maps; one matrix product where the maps are small.

    A patch of a channels-last map is a few contiguous runs, so that gathering all patches is cheap, and the products
    with the filters (and, in training, with the gradient) are then what a processor is best at. On the small maps at
    a backbone's end it takes a third of the time of :class:`torch.nn.Conv2d`, whose initialisation it shares; larger
    maps are left to that one's kernel.

    Parameters
    ----------
    channels, filters : int
        Channels of the input and of the output.
    kernel : int
        Height and width of a patch.
    stride : int
        Step from patch to patch.
    padding : {"valid", "same"}
        No padding, or, at stride 1, as many zeros as keep height and width (an odd one out comes after).
    """

    def __init__(self, channels: int, filters: int, kernel: int, stride: int, padding: str) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        total = kernel - 1 if padding == "same" else 0
        self.before, self.after = total // 2, total - total // 2
        bound = (channels * kernel * kernel) ** -0.5
        self.weight = nn.Parameter(torch.empty(filters, kernel, kernel, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(filters).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of shape (n, h', w', filters) for maps of shape (n, h, w, channels)."""
        if self.before or self.after:
            x = functional.pad(x, (0, 0, self.before, self.after, self.before, self.after))
        high, wide = ((size - self.kernel) // self.stride + 1 for size in x.shape[1:3])
        if high * wide * self.weight[0].numel() > _PATCH_VALUES:
            maps = functional.conv2d(x.movedim(-1, 1), self.weight.movedim(-1, 1), self.bias, self.stride)
            return maps.movedim(1, -1)
        rows, columns = (high - 1) * self.stride + 1, (wide - 1) * self.stride + 1
        offsets = range(self.kernel)
        patches = [x[:, i : i + rows : self.stride, j : j + columns : self.stride] for i in offsets for j in offsets]
        gathered = torch.cat(patches, dim=-1).flatten(0, 2)
        # filters first: with many values in a patch the product is a tenth faster than the other way round
        maps = torch.addmm(self.bias[:, None], self.weight.flatten(1), gathered.t())
        return maps.t().contiguous().view(-1, high, wide, len(self.bias))


class _Dropout(nn.Dropout):
    """torch's, from uniform random numbers: on a CPU it draws Bernoulli numbers three times as slowly."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * (torch.rand_like(x) >= self.p).to(x.dtype).div_(1 - self.p)


class _GlobalPool(nn.Module):
    def __init__(self, reduce: Callable[..., Tensor], axes: Shape) -> None:
        super().__init__()
        self.reduce, self.axes = reduce, axes

    def forward(self, x: Tensor) -> Tensor:
        return self.reduce(x, dim=self.axes)


class _ChannelsLast(nn.Module):
    """A module that wants the channels on the second axis."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.movedim(-1, 1)).movedim(1, -1)  # type: ignore[no-any-return]


class _Rejected(Exception):
    """What keeps a layer from being put there."""


def _need_map(shape: Shape, smallest: int = 1) -> None:
    if len(shape) != 3:
        raise _Rejected(f"takes maps (height, width, channels), and is given {_named(shape)}")
    if min(shape[:2]) < smallest:
        raise _Rejected(f"takes maps of at least {smallest} × {smallest}, and is given {shape[0]} × {shape[1]}")


def _need_positions(shape: Shape) -> Shape:
    if len(shape) < 2:
        raise _Rejected(f"takes maps or tokens, and is given {_named(shape)}")
    return tuple(range(1, len(shape)))


def _conv(
    shape: Shape, filters: int, kernel: int, stride: int = 1, padding: Literal["valid", "same"] = "valid"
) -> nn.Module:
    if padding == "same" and stride > 1:
        raise _Rejected("cannot keep height and width at a stride above 1")
    _need_map(shape, 1 if padding == "same" else kernel)
    return Conv(shape[-1], filters, kernel, stride, padding)


def _pool(pooling: Callable[..., nn.Module]) -> Callable[[Shape, int], nn.Module]:
    def pool(shape: Shape, size: int) -> nn.Module:
        _need_map(shape, size)
        return _ChannelsLast(pooling(size))

    return pool


def _batchnorm(shape: Shape) -> nn.Module:
    kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}
    if len(shape) not in kinds:
        raise _Rejected(f"takes vectors, tokens or maps, and is given {_named(shape)}")
    return _ChannelsLast(kinds[len(shape)](shape[-1]))


def _dropout(shape: Shape, rate: float) -> nn.Module:
    return _Dropout(rate)


_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "avgpool": _pool(nn.AvgPool2d),
    "batchnorm": _batchnorm,
    "conv": _conv,
    "dense": lambda shape, units: nn.Linear(shape[-1], units),
    "dropout": _dropout,
    "elu": lambda shape: nn.ELU(),
    "flatten": lambda shape: nn.Flatten(),
    "gap": lambda shape: _GlobalPool(torch.mean, _need_positions(shape)),
    "gelu": lambda shape: nn.GELU(),
    "gmp": lambda shape: _GlobalPool(torch.amax, _need_positions(shape)),
    "layernorm": lambda shape: nn.LayerNorm(shape[-1]),
    "maxpool": _pool(nn.MaxPool2d),
    "relu": lambda shape: nn.ReLU(),
    "sigmoid": lambda shape: nn.Sigmoid(),
    "tanh": lambda shape: nn.Tanh(),
}
"""From the shape of a row and the arguments in brackets to the module; the signature is what the text may say."""


@dataclass(frozen=True)
class LayerSpec:
    """One layer of the text.

    Attributes
    ----------
    name : str
        What it is, such as ``conv``.
    arguments : dict
        By parameter name; empty for a last ``dense``, which gets as many units as there are outputs.
    """

    name: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        """Return the layer as it is written, with its arguments in order."""
        said = [
            str(value) if name in ("filters", "kernel", "rate", "size", "units") else f"{name}={value}"
            for name, value in self.arguments.items()
        ]
        return f"{self.name}({','.join(said)})" if said else self.name


def parse_layers(text: str) -> tuple[LayerSpec, ...]:
    """Read layers from text.

    Parameters
    ----------
    text : str
        Layers, separated by spaces: ``conv(filters,kernel)`` (also ``stride=`` and ``padding=valid|same``),
        ``dense(units)``, ``dropout(rate)``, ``maxpool(size)``, ``avgpool(size)``, ``gap`` and ``gmp`` (mean and
        maximum over all positions), ``flatten``, ``batchnorm``, ``layernorm``, ``relu``, ``gelu``, ``elu``, ``tanh``,
        ``sigmoid``; and at the end ``dense``, which gets as many units as there are outputs.

    Returns
    -------
    tuple of LayerSpec
        One for each layer.

    Raises
    ------
    ParameterError
        The text cannot be read, a layer is unknown or has arguments it does not take, or the last is not ``dense``.
    """
    if not isinstance(text, str):
        raise ParameterError(f"layers must be text, such as 'dense(128) relu dense'; got {text!r}")
    specs, position = [], 0
    while text[position:].strip():
        found = _WORD.match(text, position)
        if found is None:
            raise ParameterError(
                f"layers must be names with arguments in brackets, separated by spaces, such as"
                f" 'conv(100,2) gap dense'; got {text[position:].strip()!r}"
            )
        specs.append(_spec(found[1], found[2]))
        position = found.end()
    if not specs or specs[-1] != LayerSpec("dense", {}):
        raise ParameterError(f"layers must end with 'dense', whose units are the outputs; got {text!r}: add it")
    for spec in specs[:-1]:
        if spec == specs[-1]:
            raise ParameterError(f"'dense' before the end needs its units, such as dense(128); got {text!r}")
    return tuple(specs)


def _spec(name: str, inside: str | None) -> LayerSpec:
    if name not in _LAYERS:
        raise ParameterError(
            f"there is no layer {name!r}{did_you_mean(name, _LAYERS)}; the layers are {', '.join(sorted(_LAYERS))}"
        )
    if name == "dense" and not (inside or "").strip():
        return LayerSpec(name, {})
    parameters = list(inspect.signature(_LAYERS[name]).parameters.values())[1:]
    arguments: dict[str, Any] = {}
    for place, word in enumerate(inside.split(",") if inside and inside.strip() else []):
        key, equals, value = (part.strip() for part in word.rpartition("="))
        if not equals and place < len(parameters):
            key = parameters[place].name
        chosen = next((parameter for parameter in parameters if parameter.name == key), None)
        if chosen is None or key in arguments:
            raise ParameterError(f"{_usage(name, parameters)}; got {name}({inside})")
        arguments[key] = _value(name, chosen, value)
    if any(parameter.default is parameter.empty and parameter.name not in arguments for parameter in parameters):
        raise ParameterError(f"{_usage(name, parameters)}; got {name}{'' if inside is None else f'({inside})'}")
    return LayerSpec(name, {p.name: arguments[p.name] for p in parameters if p.name in arguments})


def _usage(name: str, parameters: list[inspect.Parameter]) -> str:
    if not parameters:
        return f"layer {name!r} takes no arguments"
    needed = [p.name for p in parameters if p.default is p.empty]
    further = [f"[,{p.name}=...]" for p in parameters if p.default is not p.empty]
    return f"layer {name!r} must be written {name}({','.join(needed)}{''.join(further)})"


def _value(name: str, parameter: inspect.Parameter, text: str) -> Any:
    kind = parameter.annotation
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        rule = f"{' or '.join(get_args(kind))}"
    elif kind is float:
        rule = "a number from 0 to less than 1"
        try:
            if 0 <= float(text) < 1:
                return float(text)
        except ValueError:
            pass
    else:
        rule = "a whole number of at least 1"
        if text.isdecimal() and text.isascii() and int(text[:10]) >= 1 and len(text) < 10:
            return int(text)
    raise ParameterError(f"{parameter.name} of layer {name!r} must be {rule}; got {text!r}")


def build_layers(
    specs: tuple[LayerSpec, ...], shape: Shape, outputs: int, scaling: tuple[Tensor, Tensor] | None = None
) -> nn.Sequential:
    """Make the modules.

    Parameters
    ----------
    specs : tuple of LayerSpec
        Of :func:`parse_layers`.
    shape : tuple of int
        Shape of one row of features: (d,), (l, c) or (h, w, c).
    outputs : int
        Units of the last layer.
    scaling : tuple of Tensor, optional
        Mean and deviation of the features, (c,) each, to standardise them first.

    Returns
    -------
    nn.Sequential
        From (n, *shape) to (n, outputs); the modules are named ``standardize``, ``conv_1``, ``dense_1``, ``dense_2``
        and so on.
        Parameters are drawn from torch's random numbers, as torch's own layers draw theirs.

    Raises
    ------
    ParameterError
        A layer does not fit what comes out of the one before it.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    if scaling is not None:
        modules["standardize"] = Standardize(*scaling)
    count: Counter[str] = Counter()
    for place, spec in enumerate(specs):
        last = place == len(specs) - 1
        if last and len(shape) != 1:
            raise ParameterError(
                f"the last layer must be given a vector, and is given {_named(shape)}: put gap or flatten before it"
            )
        try:
            module = _LAYERS[spec.name](shape, **({"units": outputs} if last else spec.arguments))
        except _Rejected as reason:
            raise ParameterError(f"layer {spec} {reason}: change the layers, or use features of another kind") from None
        count[spec.name] += 1
        modules[f"{spec.name}_{count[spec.name]}"] = module
        shape = output_shape(module, shape)
    return nn.Sequential(modules)


def output_shape(module: nn.Module, shape: Shape) -> Shape:
    """Return the shape of a row that leaves `module`, for rows of `shape`; nothing is computed."""
    twin = copy.deepcopy(module).to("meta").eval()
    return tuple(twin(torch.empty(2, *shape, device="meta")).shape[1:])


def _named(shape: Shape) -> str:
    kind = {1: "vectors", 2: "tokens", 3: "maps"}.get(len(shape), "arrays")
    return f"{kind} of shape ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
