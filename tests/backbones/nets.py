"""Small networks, each with one trait that nodes and taps have to cope with."""

import torch
from torch import nn


class Bomb(nn.Module):
    """Raises when it is called while armed."""

    armed = False

    def forward(self, x):
        if self.armed:
            raise RuntimeError("computed too much")
        return x


class Chain(nn.Module):
    """A convolution, an in-place ReLU, a bomb, pooling, another bomb before the classifier's end."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.middle = Bomb()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 2)
        self.end = Bomb()

    def forward(self, x):
        x = self.middle(self.relu(self.conv(x)))
        return self.end(self.fc(self.pool(x).flatten(1)))


class Many(nn.Module):
    """Tuple outputs, a module that drops the batch dimension, integers, control flow, two calls."""

    class Pair(nn.Module):
        def forward(self, x):
            return x + 1, x + 2

    class Sum(nn.Module):
        def forward(self, x):
            return x.sum(0)

    class Count(nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 5, dtype=torch.int64)

    def __init__(self):
        super().__init__()
        self.pair, self.sum, self.count = self.Pair(), self.Sum(), self.Count()
        self.twice = nn.Tanh()
        self.twice_1 = nn.Identity()  # takes the name that the second call would have
        self.bright = nn.Sigmoid()

    def forward(self, x):
        first, _ = self.pair(x)
        self.sum(first)
        self.count(first)
        y = self.twice(first)
        y = self.twice_1(self.twice(2 * y))
        if x.mean() > 10:
            y = self.bright(y)
        return {"result": y} if x.mean() > 20 else (y.mean((2, 3)), y)


class Layout(nn.Module):
    """Gives maps of one layout and shape, whatever the image."""

    def __init__(self, *shape):
        super().__init__()
        self.map = self.Map(shape)

    class Map(nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.shape = shape

        def forward(self, x):
            return (
                torch.arange(float(torch.tensor(self.shape).prod())).reshape(1, *self.shape).expand(len(x), -1, -1, -1)
            )

    def forward(self, x):
        return self.map(x).flatten(1)


class Tokens(nn.Module):
    """A little transformer: patches of 8 pixels, a class token and a register before them."""

    num_prefix_tokens = 2

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, stride=8)
        self.flat = nn.Flatten(2)
        self.embed = nn.Linear(6, 6)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 6))
        self.reg_token = nn.Parameter(torch.randn(1, 1, 6))
        self.norm = nn.LayerNorm(6)
        self.pool = self.Pool()

    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.key = nn.Linear(6, 6)

        def forward(self, x):
            return self.key(x).mean(1)

    def forward(self, x):
        x = self.embed(self.flat(self.patches(x)).transpose(1, 2))
        prefix = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token)]
        return self.pool(self.norm(torch.cat([*prefix, x], 1)))


class Swallows(Chain):
    """Handles every exception of its own modules."""

    def forward(self, x):
        try:
            return super().forward(x)
        except Exception:
            return x.mean((2, 3))
