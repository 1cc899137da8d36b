"""What all charts are drawn on: a figure of matplotlib that becomes SVG for a page.

Colours are the variables of `templates/style.css`, so that charts follow the theme of the page.
Figures are made without pyplot: there is no window, and nothing to close.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_HUES = 8
WIDTH = 360  # px of all charts: that of a phone, so that text keeps its size there

_VARIABLES = (*(f"hue{i}" for i in range(NUM_HUES)), "ink", "soft", "line", "card")
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.autolimit_mode": "round_numbers",
    "axes.xmargin": 0,
    "axes.ymargin": 0,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),  # what fits at the left
    "lines.scale_dashes": False,
    "lines.solid_joinstyle": "round",
    "path.simplify_threshold": 0.5,
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
}


@contextmanager
def new_canvas(words: str, height: float) -> Iterator[Canvas]:
    import matplotlib
    from matplotlib.figure import Figure

    # Charts do not depend on what the user has set; the backend stays, whatever it is
    plain = {name: x for name, x in matplotlib.rcParamsDefault.items() if name != "backend"}
    # Of charts with other words, other ids
    with matplotlib.rc_context({**plain, **_STYLE, "svg.hashsalt": words}):
        yield Canvas(words, height, Figure((WIDTH / 72, height / 72)))


@dataclass(slots=True)
class Canvas:
    """A figure of `WIDTH` and `height` px, and what its parts are: (class, title) by id."""

    words: str
    height: float
    figure: Figure
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)

    def axes(self, left: float, right: float, top: float, bottom: float) -> Axes:
        """Axes with these margins, in px."""
        return self.figure.add_axes(
            (
                left / WIDTH,
                bottom / self.height,
                (WIDTH - left - right) / WIDTH,
                (self.height - top - bottom) / self.height,
            ),
            frame_on=False,
        )

    def name(self, artist: Artist, kind: str, title: str = "") -> None:
        """Gives a part of the chart a class, and what shows where the pointer rests."""
        artist.set_gid(f"part{len(self.parts)}")
        self.parts[artist.get_gid() or ""] = (kind, title)

    def svg(self) -> Markup:
        """The element as HTML has it: without namespaces, and only with ids that it refers to."""
        self.figure.patch.set_visible(False)
        for artist in self.figure.findobj():
            artist.set_clip_on(False)
        written = io.StringIO()
        unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        self.figure.savefig(written, format="svg", metadata=unsaid)
        root = ElementTree.fromstring(written.getvalue())
        named = {"role": "img", "aria-label": self.words}
        root.attrib = {"viewBox": root.attrib["viewBox"], **named}
        for styles in root.findall("{*}defs"):
            root.remove(styles)
        for element in list(root.iter()):
            self._to_html(element)
        return Markup(ElementTree.tostring(root, encoding="unicode"))

    def _to_html(self, element: ElementTree.Element) -> None:
        _, _, element.tag = element.tag.rpartition("}")
        element.attrib = {
            name.rpartition("}")[2]: _shortened(name, value)
            for name, value in element.attrib.items()
            if not value.startswith("rotate(-0 ")
        }
        if element.tag != "text":
            element.text = None
        element.tail = None
        if element.tag == "g":
            kind, title = self.parts.get(element.attrib.pop("id", ""), ("", ""))
            if kind:
                element.set("class", kind)
            if title:
                element.insert(0, ElementTree.Element("title"))
                element[0].text = title


def ticks(axes: Axes, name: Literal["x", "y"], *, integer: bool = False) -> None:
    """Limits and ticks at round numbers, and a grid; no grid where only whole numbers count."""
    axis = getattr(axes, f"{name}axis")
    axis.get_major_locator().set_params(nbins=4, steps=[1, 2, 2.5, 5, 10], integer=integer)
    axis.set_tick_params(length=0, labelcolor=colour_of("soft"), pad=5)
    axis.get_offset_text().set_color(colour_of("soft"))
    axes.autoscale_view(scalex=name == "x", scaley=name == "y")
    if not integer:
        axes.grid(axis=name, color=colour_of("line"), lw=1)


def write_at(
    axes: Axes,
    place: tuple[float, float],
    text: str,
    variable: str,
    side: str = "left",
    shift: tuple[float, float] = (0, 0),
    **more: Any,
) -> None:
    """Text at `place`, moved by `shift` px. It is no formula, whatever it holds."""
    axes.annotate(
        text,
        place,
        shift,
        textcoords="offset points",
        ha=side,
        va="center",
        color=colour_of(variable),
        parse_math=False,
        **more,
    )


def colour_of(variable: str) -> str:
    """A colour in place of a variable of the style, until the chart is SVG. Black would not be
    written, as it is what SVG takes by itself."""
    return f"#0001{_VARIABLES.index(variable):02x}"


def _shortened(name: str, value: str) -> str:
    """An attribute with the variables of the style for colours, the font of the page, and tenths of
    a px."""
    if name == "style":
        value = re.sub(r"#0001(\w\w)", lambda m: f"var(--{_VARIABLES[int(m[1], 16)]})", value)
        return re.sub(r"font-family: [^;]*; ?", "", value)
    if name in ("d", "x", "y"):
        return re.sub(r"\s+", " ", re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}", value))
    return value
