"""What can be seen of a figure: where each text lies when it is drawn."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

LONG = "99% Cavalier King Charles Spaniel, " * 20
ODD = [
    "$x_1^2$ and $",
    r"\frac{1}{2} \$",
    "a_b^c {} %s &amp; <script>alert(1)</script>",
    "line\ntrue: line",
    "carriage\rreturn\ttab \x1b[31m \x00",
    "\u202egpj.exe",
    "emoji \U0001f408\u200d\u2b1b\ufe0f",
    "日本 שלום عليكم",
    "caf\udce9",
    "n" * 300,
    "photos/" + "very/deep/" * 30 + "down.jpg",
    LONG,
    "",
    " ",
    "\n\n\n\n\n\n",
]
"""What nobody would call a picture or a class, and somebody does."""


def draw(figure):
    """Draw a figure and return the renderer."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def texts_of(figure):
    """Return (text, box) of all that is written in a figure, as it is drawn."""
    renderer = draw(figure)
    unseen = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not axis.get_visible()
        or not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    found = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in unseen
    ]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in found]


def assert_legible(figure):
    """Nothing that is written sticks out of the figure, or lies over anything else that is written."""
    texts = texts_of(figure)
    whole = figure.bbox
    for words, box in texts:
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1, words
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1, words
    for (a, box_a), (b, box_b) in combinations(texts, 2):
        assert not box_a.overlaps(box_b), (a, b)
