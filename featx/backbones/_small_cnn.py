"""featx's own network: small, without pretrained weights, to be trained from scratch for comparison."""

from torch import nn

from featx.backbones._registry import Architecture, provider
from featx.errors import WeightsError
from featx.spec import Preprocessing

__all__ = ["SmallCNN", "SmallProvider"]


class SmallCNN(nn.Sequential):
    """Six convolutions in three blocks, and a dense layer of 128 units, whose ReLU is the feature.

    Each convolution is 3x3 with "same" padding and followed by batch norm and ReLU; a block has two of 128, 256 or 512
    channels; the first two blocks end in max pooling, the last in the average over all places. With a dense layer of
    one output on top it has 4,649,345 parameters as Keras counts them, batch norm's running statistics included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block1 = _block(3, 128)
        self.pool1 = nn.MaxPool2d(2)
        self.block2 = _block(128, 256)
        self.pool2 = nn.MaxPool2d(2)
        self.block3 = _block(256, 512)
        self.pool3 = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(512, 128)
        self.relu = nn.ReLU()


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()


@provider("featx")
class SmallProvider:
    """``small_cnn``, for images of 160x160 pixels scaled to 0..1."""

    def names(self) -> list[str]:
        return ["small_cnn"]

    def has(self, name: str) -> bool:
        return name in self.names()

    def tags(self, name: str) -> list[str]:
        return []

    def architecture(self, name: str, tag: str | None, image_size: int | None) -> Architecture:
        if tag is not None:
            raise WeightsError(f"weights {tag!r} are unknown for featx:{name}; known: a file, random:SEED")
        return Architecture(
            name=f"featx:{name}",
            tag=None,
            preprocessing=Preprocessing(
                crop_size=(160, 160),
                resize_size=(160, 160),
                resize="squash",
                mean=(0.0, 0.0, 0.0),
                std=(1.0, 1.0, 1.0),
            ),
            build=lambda pretrained, num_classes: SmallCNN(),
            location="nowhere: it has none",
            classifier=lambda network: None,
        )
