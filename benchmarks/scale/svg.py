"""Line charts as SVG, drawn by hand: the same figures make the same file, byte for byte, and no library is needed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@dataclass(frozen=True)
class Series:
    """A named line through points; those that are not finite are left out."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """An axis: its label, and whether it is logarithmic; ``top`` cuts off what is above."""

    label: str
    log: bool = False
    top: float = math.inf
    bottom: float = -math.inf

    def span(self, values: Sequence[float]) -> tuple[float, float]:
        """From where to where it goes."""
        seen = [value for value in values if math.isfinite(value) and (value > 0 or not self.log)]
        low, high = min(seen), min(max(seen), self.top)
        if self.log:
            return max(10.0 ** math.floor(math.log10(low)), self.bottom), 10.0 ** math.ceil(math.log10(high))
        step = _step(high - min(0.0, low))
        return math.floor(min(0.0, low) / step) * step, math.ceil(high / step) * step

    def place(self, value: float, low: float, high: float) -> float:
        """Where a value is between the ends, from 0 to 1."""
        value = min(max(value, low), high)
        if self.log:
            return (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return (value - low) / (high - low)

    def ticks(self, low: float, high: float) -> list[float]:
        """The values that are written beside it."""
        if self.log:
            first, last = round(math.log10(low)), round(math.log10(high))
            return [10.0**power for power in range(first, last + 1)]
        step = _step(high - low)
        return [low + step * turn for turn in range(round((high - low) / step) + 1)]


@dataclass(frozen=True)
class Chart:
    """A chart with its file's name."""

    name: str
    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]

    def svg(self) -> str:
        """The whole file."""
        points = [point for one in self.series for point in one.points if all(map(math.isfinite, point))]
        horizontal = self.x.span([point[0] for point in points])
        vertical = self.y.span([point[1] for point in points])
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            _text(LEFT, 22, self.title, size=14),
            *self._across(horizontal),
            *self._upwards(vertical),
        ]
        for turn, one in enumerate(self.series):
            parts += self._line(turn, one, horizontal, vertical)
        return "\n".join([*parts, "</svg>", ""])

    def _across(self, ends: tuple[float, float]) -> list[str]:
        lines = []
        for value in self.x.ticks(*ends):
            at = _x(self.x.place(value, *ends))
            lines.append(_rule(at, TOP, at, HEIGHT - BOTTOM))
            lines.append(_text(at, HEIGHT - BOTTOM + 18, _number(value), anchor="middle"))
        middle = (LEFT + WIDTH - RIGHT) / 2
        return [*lines, _text(middle, HEIGHT - 12, self.x.label, anchor="middle")]

    def _upwards(self, ends: tuple[float, float]) -> list[str]:
        lines = []
        for value in self.y.ticks(*ends):
            at = _y(self.y.place(value, *ends))
            lines.append(_rule(LEFT, at, WIDTH - RIGHT, at))
            lines.append(_text(LEFT - 8, at + 4, _number(value), anchor="end"))
        middle = (TOP + HEIGHT - BOTTOM) / 2
        turned = f' transform="rotate(-90 16 {middle:.1f})"'
        return [*lines, _text(16, middle, self.y.label, anchor="middle", more=turned)]

    def _line(
        self, turn: int, one: Series, horizontal: tuple[float, float], vertical: tuple[float, float]
    ) -> list[str]:
        colour = COLOURS[turn % len(COLOURS)]
        usable = [(x, y) for x, y in one.points if math.isfinite(x) and math.isfinite(y)]
        usable = [(x, y) for x, y in usable if (x > 0 or not self.x.log) and (y > 0 or not self.y.log)]
        placed = [(_x(self.x.place(x, *horizontal)), _y(self.y.place(y, *vertical))) for x, y in usable]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        key = TOP + 14 + 20 * turn
        marks = placed if len(placed) <= 12 else []
        return [
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>',
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in marks),
            f'<rect x="{WIDTH - RIGHT + 14}" y="{key - 8}" width="12" height="4" fill="{colour}"/>',
            _text(WIDTH - RIGHT + 32, key, one.name),
        ]


def _x(place: float) -> float:
    return LEFT + place * (WIDTH - LEFT - RIGHT)


def _y(place: float) -> float:
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)


def _step(span: float) -> float:
    """A round distance between ticks, of which there are five or so."""
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(step - rough))


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", more: str = "") -> str:
    font = f'font-family="sans-serif" font-size="{size}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {font}{more}>{escape(text)}</text>'


def _number(value: float) -> str:
    if value and abs(value) < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:,.10g}" if abs(value) < 1e6 else f"{value:.0e}"
