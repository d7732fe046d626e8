"""The critical-difference diagram of Demšar (2006) as an SVG text."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

import ranks

FONT = 13  # pixels
CHARACTER = 0.62 * FONT  # a generous mean width of a character
ROW = 22
AXIS_WIDTH = 520
MARGIN = 16
BAR_GAP = 16  # pixels between bars of one level
STYLE = f'font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="{FONT}" fill="#222"'


@dataclass(frozen=True)
class Frame:
    """Where things lie: the ends and height of the axis, its first and last rank, and the height of the first label."""

    left: float
    right: float
    axis: float
    low: int
    high: int
    labels: float

    def x(self, rank: float) -> float:
        """The place of a rank."""
        return self.left + (rank - self.low) / (self.high - self.low) * (self.right - self.left)


def critical_difference(mean_ranks: dict[str, float], sets: int) -> str:
    """A diagram of mean ranks, the best at the left; bars join systems that do not differ at 0.05 by the Nemenyi test."""
    ordered = sorted(mean_ranks.items(), key=lambda item: item[1])
    difference = ranks.critical_difference(len(ordered), sets)
    bars = _stack([rank for _, rank in ordered], difference)
    frame = _frame(ordered, 1 + max((level for _, _, level in bars), default=-1))
    half = (len(ordered) + 1) // 2
    parts = [_scale(frame), _difference(frame, difference, sets)]
    parts += [_leader(frame, name, rank, row, -1) for row, (name, rank) in enumerate(ordered[:half])]
    parts += [_leader(frame, name, rank, row, 1) for row, (name, rank) in enumerate(reversed(ordered[half:]))]
    parts += [_bar(frame, first, last, level) for first, last, level in bars]
    width, height = frame.right + frame.left, frame.labels + half * ROW + MARGIN / 2
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {STYLE}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""])


def _frame(ordered: list[tuple[str, float]], levels: int) -> Frame:
    """A frame with room for the longest name on both sides and for the bars between axis and labels."""
    side = MARGIN + CHARACTER * (max(len(name) for name, _ in ordered) + 6) + 24
    axis = 92.0
    return Frame(side, side + AXIS_WIDTH, axis, 1, len(ordered), axis + 26 + 10 * levels)


def _stack(ordered: list[float], difference: float) -> list[tuple[float, float, int]]:
    """The bars (first rank, last rank, level) of the groups that do not differ, such that those of a level lie apart."""
    gap = BAR_GAP / AXIS_WIDTH * (len(ordered) - 1)
    ends: list[float] = []
    bars = []
    for first, last in ranks.cliques(ordered, difference):
        level = next((i for i, end in enumerate(ends) if end + gap < ordered[first]), len(ends))
        ends[level : level + 1] = [ordered[last]]
        bars.append((ordered[first], ordered[last], level))
    return bars


def _scale(frame: Frame) -> str:
    parts = [_line(frame.left, frame.axis, frame.right, frame.axis, 1.2)]
    for rank in range(frame.low, frame.high + 1):
        x = frame.x(rank)
        parts += [_line(x, frame.axis, x, frame.axis - 7, 1.2), _text(x, frame.axis - 12, str(rank), "middle")]
    for rank in range(frame.low, frame.high):
        x = frame.x(rank + 0.5)
        parts.append(_line(x, frame.axis, x, frame.axis - 4, 0.8))
    return "\n".join(parts)


def _difference(frame: Frame, difference: float, sets: int) -> str:
    """The critical difference as a bar above the axis, no longer than the axis."""
    note = f"critical difference {difference:.2f} ({sets} sets)"
    y = 44.0
    end = frame.x(frame.low + difference)
    if end > frame.right:
        return _text(frame.left, y - 9, f"{note}: longer than the axis", "start")
    ticks = [_line(x, y - 5, x, y + 5, 1.2) for x in (frame.left, end)]
    return "\n".join([_text(frame.left, y - 12, note, "start"), _line(frame.left, y, end, y, 1.2), *ticks])


def _leader(frame: Frame, name: str, rank: float, row: int, side: int) -> str:
    """A line from a rank down and out to its label, at the left (-1) or right (1)."""
    x, y = frame.x(rank), frame.labels + row * ROW
    edge, anchor = (frame.left - 14, "end") if side < 0 else (frame.right + 14, "start")
    label = f"{name}  {rank:.2f}" if side < 0 else f"{rank:.2f}  {name}"
    path = f'<polyline points="{x:.1f},{frame.axis:.1f} {x:.1f},{y:.1f} {edge:.1f},{y:.1f}" fill="none" stroke="#888" stroke-width="1"/>'
    return path + "\n" + _text(edge + 6 * side, y + FONT * 0.35, label, anchor)


def _bar(frame: Frame, first: float, last: float, level: int) -> str:
    y = frame.axis + 12 + 10 * level
    return _line(frame.x(first) - 4, y, frame.x(last) + 4, y, 4.5, "#1f6fb4")


def _line(x1: float, y1: float, x2: float, y2: float, width: float, colour: str = "#222") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}" stroke-linecap="butt"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" xml:space="preserve">{escape(text)}</text>'
