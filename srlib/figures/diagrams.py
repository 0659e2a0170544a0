"""Block diagrams of networks: boxes, arrows and skip connections in one style."""

import math
from collections.abc import Sequence

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath

__all__ = ["draw_chain"]

# Those of Okabe and Ito's colours on which black text is legible.
_COLOURS = {
    "tensor": "#FFFFFF",
    "conv": "#56B4E9",
    "activation": "#F0E442",
    "add": "#CC79A7",
    "enlarge": "#E69F00",
    "pool": "#009E73",
}
_SKIP_COLOUR = "#0072B2"
_INK = "#111111"

# All lengths are in inches; the axes' unit is an inch.
_WIDTH = 10.0
_WIDEST_SLOT = 2.2
_GAP = 0.36  # between two boxes, for an arrow and the dot where a skip starts
_MARGIN = 0.25
_LANE = 0.2  # between skips side by side
_SIZE = 11  # points, legible on a projector
_LINE = 0.19  # height of a line of text
_RADIUS = 0.22  # of the circle with the plus
_MOST_COLUMNS = 7


@style.context("srlib.course", after_reset=True)
def draw_chain(
    steps: Sequence[tuple[str, str, str]],
    *,
    skips: Sequence[tuple[int, int, str]] = (),
    title: str = "",
) -> Figure:
    """Draw a network as a chain of boxes from left to right, with skips above; 10 inches at most.

    After seven steps at most, the chain continues in the next row. Long labels are wrapped.

    Parameters
    ----------
    steps : sequence of (label, kind, shape)
        The kind is "tensor", "conv", "activation", "add", "enlarge" or "pool" and gives the colour.
        "add" is a circle with a plus and the label below. The shape is a text such as
        "(N, 64, H, W)", or "".
    skips : sequence of (from_index, to_index, label)
        From the output of a step to an "add" at least two steps later, counted from 0.
    title : str
        Shown above.

    Examples
    --------
    >>> steps = [("x", "tensor", ""), ("conv", "conv", ""), ("", "add", "")]
    >>> figure = draw_chain(steps, skips=[(0, 2, "skip")])
    """
    steps = list(steps)
    skips = [(int(start), int(stop), label) for start, stop, label in skips]
    _check(steps, skips)
    return _Chain(steps, skips, title).draw()


def _check(steps, skips) -> None:
    if not steps:
        raise ValueError("steps must hold at least one step, got none")
    for label, kind, _ in steps:
        if kind not in _COLOURS:
            raise ValueError(
                f"the kind of {label!r} must be one of {', '.join(_COLOURS)}, got {kind!r}"
            )
    for start, stop, label in skips:
        for index in (start, stop):
            if not 0 <= index < len(steps):
                raise ValueError(
                    f"skip {label!r}: an index must be in 0..{len(steps) - 1}, got {index!r}"
                )
        if stop - start < 2:
            raise ValueError(
                f"skip {label!r} must lead over at least one step, got {start!r} to {stop!r}"
            )
        if steps[stop][1] != "add":
            raise ValueError(f"skip {label!r} must end at an 'add', got {steps[stop][1]!r}")


class _Chain:
    """The layout: slots in columns and rows, and lanes for skips above each row."""

    def __init__(self, steps, skips, title):
        self.steps, self.skips, self.title = steps, skips, title
        for most in range(min(_MOST_COLUMNS, len(steps)), 0, -1):
            rows = math.ceil(len(steps) / most)
            self.columns = math.ceil(len(steps) / rows)
            crossing = sum(self.row(start) != self.row(stop) for start, stop, _ in skips)
            self.right_margin = _MARGIN + _LANE * crossing
            self.slot = (_WIDTH - _MARGIN - self.right_margin) / self.columns
            self.slot = min(self.slot, _WIDEST_SLOT)
            self.box = self.slot - _GAP
            too_wide = [word for word in self.words() if _width(word) > self.box - 0.1]
            if not too_wide:
                break
        else:
            raise ValueError(f"a word must fit into a box, got {too_wide[0]!r}")
        self.width = _MARGIN + self.columns * self.slot + self.right_margin
        self.place()

    def row(self, index: int) -> int:
        return index // self.columns

    def words(self):
        return [word for label, kind, _ in self.steps if kind != "add" for word in label.split()]

    def x(self, index: int) -> float:
        """Return the centre of a step."""
        return _MARGIN + (index % self.columns + 0.5) * self.slot

    def branch(self, index: int) -> float:
        """Return where skips branch off, after a step."""
        return self.x(index) + self.box / 2 + 0.1

    def place(self):
        """Stack the rows from the top. y points upwards; the height is known at the end."""
        self.inside = [
            "" if kind == "add" else _wrap(label, self.box - 0.1) for label, kind, _ in self.steps
        ]
        self.below = [
            "\n".join(
                _wrap(text, self.slot - 0.1)
                for text in ((label if kind == "add" else ""), shape)
                if text.strip("+ ")
            )
            for label, kind, shape in self.steps
        ]
        self.heading = _wrap(self.title, self.width - 0.2, size=13)
        y = -0.1 - (0.25 * _lines(self.heading) + 0.1 if self.heading else 0)
        self.lanes, self.middles, self.box_heights, self.turns = {}, [], [], []
        for row in range(self.row(len(self.steps) - 1) + 1):
            if row:
                self.turns.append(y - 0.12)  # the line from the row above
                y -= 0.24
            y = self.place_lanes(row, y)
            mine = [i for i in range(len(self.steps)) if self.row(i) == row]
            height = max(2 * _RADIUS, 0.26 + _LINE * max(_lines(self.inside[i]) for i in mine))
            self.middles.append(y - height / 2)
            self.box_heights.append(height)
            y -= height + 0.12 + _LINE * max(_lines(self.below[i]) for i in mine)
        self.height = 0.1 - y

    def place_lanes(self, row: int, y: float) -> float:
        """Give each skip above this row a height of its own, shorter ones below longer ones."""
        parts = []
        end = self.width - self.right_margin + 0.15
        for number, (start, stop, label) in enumerate(self.skips):
            leaves, arrives = self.row(start) == row, self.row(stop) == row
            if not (leaves or arrives):
                continue
            left = self.branch(start) if leaves else self.x(stop)
            right = self.x(stop) if leaves and arrives else end
            other = end - (self.x(stop) if leaves else self.branch(start))
            shows = leaves and arrives or right - left > other or (right - left == other and leaves)
            label = _wrap(label, max(right - left - 0.2, 1.2)) if shows else ""
            width = _width(label)
            middle = (left + right) / 2
            room = self.width - 0.1 if leaves and arrives else right - 0.1  # not over the line down
            middle = min(max(middle, width / 2 + 0.1), room - width / 2)
            # Skips to another row are the outermost; the further left they start, the higher.
            length = right - left if leaves and arrives else 100 + right - left
            span = min(left, middle - width / 2), max(right, middle + width / 2)
            parts.append((length, number, span, middle, label))
        placed = []  # (lane, span) from the lowest lane up
        for _, number, span, _, _ in sorted(parts):
            overlapping = [n for n, other in placed if other[0] <= span[1] and span[0] <= other[1]]
            lane = max(overlapping, default=-1) + 1
            placed.append((lane, span))
            self.lanes[number, row] = lane
        heights = {}  # of the lanes, by their labels
        for _, number, _, _, label in parts:
            lane = self.lanes[number, row]
            heights[lane] = max(heights.get(lane, 0.15), _LINE * _lines(label) + 0.1)
        top, bottom = y, y - sum(heights.values()) - (0.18 if heights else 0)
        for _, number, _, middle, label in parts:
            below = sum(h for lane, h in heights.items() if lane < self.lanes[number, row])
            self.lanes[number, row] = (bottom + 0.18 + below, middle, label)
        return bottom if parts else top

    def draw(self) -> Figure:
        figure = Figure(figsize=(self.width, self.height), layout="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, self.width), ylim=(-self.height, 0))
        if self.heading:
            axes.text(self.width / 2, -0.1, self.heading, size=13, ha="center", va="top")
        self.draw_skips(axes)
        for index in range(len(self.steps)):
            self.draw_step(axes, index)
            if index:
                self.draw_arrow(axes, index - 1, index)
        return figure

    def draw_step(self, axes: Axes, index: int):
        kind = self.steps[index][1]
        x, y = self.x(index), self.middles[self.row(index)]
        height = self.box_heights[self.row(index)]
        look = {"facecolor": _COLOURS[kind], "edgecolor": _INK, "linewidth": 1.2}
        if kind == "add":
            axes.add_patch(Circle((x, y), _RADIUS, **look))
            axes.text(x, y, "+", size=17, color=_INK, ha="center", va="center_baseline")
        else:
            corner = (x - self.box / 2, y - height / 2)
            shape = "round,pad=0,rounding_size=0.1"
            axes.add_patch(FancyBboxPatch(corner, self.box, height, boxstyle=shape, **look))
        middle = {"size": _SIZE, "color": _INK, "ha": "center"}
        if self.inside[index]:
            axes.text(x, y, self.inside[index], va="center", **middle)
        if self.below[index]:
            axes.text(x, y - height / 2 - 0.06, self.below[index], va="top", **middle)

    def draw_arrow(self, axes: Axes, before: int, after: int):
        radius = {
            i: _RADIUS if self.steps[i][1] == "add" else self.box / 2 for i in (before, after)
        }
        y, end = (self.middles[self.row(i)] for i in (before, after))
        points = [(self.x(before) + radius[before], y), (self.x(after) - radius[after], end)]
        if self.row(before) != self.row(after):
            turn = self.turns[self.row(before)]
            right, left = self.width - self.right_margin + 0.02, 0.12
            points[1:1] = [(right, y), (right, turn), (left, turn), (left, end)]
        _line(axes, points, _INK)

    def draw_skips(self, axes: Axes):
        crossing = [n for n, (a, b, _) in enumerate(self.skips) if self.row(a) != self.row(b)]
        # The one that starts furthest right turns down first, so that nested skips do not cross.
        crossing.sort(key=lambda n: -self.skips[n][0])
        for number, (start, stop, _) in enumerate(self.skips):
            first, last = self.row(start), self.row(stop)
            height = self.lanes[number, first][0]
            points = [(self.branch(start), self.middles[first]), (self.branch(start), height)]
            if first != last:
                right = self.width - self.right_margin + 0.15 + _LANE * crossing.index(number)
                points += [(right, height), (right, self.lanes[number, last][0])]
            points += [
                (self.x(stop), self.lanes[number, last][0]),
                (self.x(stop), self.middles[last] + _RADIUS),
            ]
            _line(axes, points, _SKIP_COLOUR)
            axes.add_patch(Circle(points[0], 0.04, color=_SKIP_COLOUR, zorder=3))
        for y, middle, label in self.lanes.values():
            if label:
                axes.text(
                    *(middle, y + 0.04, label), size=_SIZE, color=_INK, ha="center", va="bottom"
                )


def _line(axes: Axes, points, colour: str):
    """Draw an arrow along horizontal and vertical pieces with round corners."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        ends = []
        for other in (before, after):
            distance = math.dist(corner, other)
            part = min(0.1, distance / 2) / distance
            ends.append(tuple(c + (o - c) * part for c, o in zip(corner, other, strict=True)))
        vertices += [ends[0], corner, ends[1]]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    path = Path([*vertices, points[-1]], [*codes, Path.LINETO])
    head = "-|>,head_length=5,head_width=2.5"
    axes.add_patch(
        FancyArrowPatch(
            path=path, arrowstyle=head, color=colour, linewidth=1.6, capstyle="butt", fill=False
        )
    )


def _width(text: str, size: float = _SIZE) -> float:
    """Return the inches that the widest line of a text needs."""
    lines = [line for line in text.split("\n") if line.strip()]
    return (
        max((TextPath((0, 0), line, size=size).get_extents().width for line in lines), default=0)
        / 72
    )


def _wrap(text: str, width: float, size: float = _SIZE) -> str:
    """Break lines at spaces so that none is wider than `width` inches, if words allow it."""
    lines = []
    for paragraph in text.strip().split("\n"):
        words = paragraph.split()
        lines.append(words[0] if words else "")
        for word in words[1:]:
            longer = f"{lines[-1]} {word}"
            if _width(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
    return "\n".join(lines)


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0
