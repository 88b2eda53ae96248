"""Drawings as SVG inside the page, so that they have the colours of the page in light and dark mode."""

from __future__ import annotations

from html import escape

LINE = 17  # distance between two lines of text


class Drawing:
    """Boxes, texts and arrows on a plane whose unit is about a pixel.

    Args:
        width: width of the plane.
        height: height of the plane.
        title: description of the drawing for readers who cannot see it.
        caption: text below the drawing.
    """

    def __init__(self, width: float, height: float, title: str, caption: str) -> None:
        self.width, self.height, self.title, self.caption = width, height, title, caption
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        kind: str = "plain",
        text: str = "",
        style: str = "",
    ) -> None:
        """Adds a rectangle with the colour `kind`, and the lines of `text` in its middle."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3"/>'
        )
        lines = text.split("\n") if text else []
        for index, line in enumerate(lines):
            middle = y + height / 2 + (index - (len(lines) - 1) / 2) * LINE + 4.5
            self.text(x + width / 2, middle, line, f"{style} middle")

    def mark(self, x: float, y: float, width: float, height: float, kind: str, opacity: float = 1.0) -> None:
        """Adds a small rectangle without a frame."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}" '
            f'opacity="{opacity:.2f}"/>'
        )

    def text(self, x: float, y: float, text: str, style: str = "") -> None:
        """Adds a line of text that begins at `x`, or has its middle or end there if `style` has "middle" or "end"."""
        words = style.split()
        anchor = next((word for word in words if word in ("middle", "end")), "start")
        kind = " ".join(word for word in words if word not in ("middle", "end"))
        self._parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def line(self, *points: tuple[float, float], kind: str = "line") -> None:
        """Adds a line through `points`."""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._parts.append(f'<path class="{kind}" d="M{path}"/>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """Adds an arrow through `points`, whose last segment must be horizontal or vertical."""
        self.line(*points)
        (x0, y0), (x, y) = points[-2:]
        length = max(abs(x - x0), abs(y - y0))
        dx, dy = (x - x0) / length, (y - y0) / length
        back, side = 7, 3.6
        corners = [
            (x, y),
            (x - back * dx - side * dy, y - back * dy + side * dx),
            (x - back * dx + side * dy, y - back * dy - side * dx),
        ]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in corners)
        self._parts.append(f'<path class="head" d="M{path}Z"/>')

    def _repr_html_(self) -> str:
        """Returns the HTML that a notebook shows."""
        return (
            f'<figure class="drawing"><svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(self.title, quote=True)}">{"".join(self._parts)}</svg>'
            f"<figcaption>{self.caption}</figcaption></figure>"
        )
