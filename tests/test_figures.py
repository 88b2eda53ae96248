"""Checks the drawings of the documentation in Chromium: texts lie within their boxes and overlap no other box."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import engine as keras

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))

import figures  # noqa: E402 # docs/figures

# Finds texts that exceed the drawing or the smallest box around their middle, or that overlap another box.
MISPLACED = """() => {
  const place = (element) => element.getBoundingClientRect();
  const whole = place(document.querySelector("svg"));
  const boxes = [...document.querySelectorAll("rect")].map(place).filter((box) => box.width > 20 && box.height > 12);
  const size = (box) => box.width * box.height;
  return [...document.querySelectorAll("text")].filter((element) => {
    const text = place(element), x = text.x + text.width / 2, y = text.y + text.height / 2;
    const around = boxes.filter((box) => box.left < x && x < box.right && box.top < y && y < box.bottom);
    const room = around.sort((one, other) => size(one) - size(other))[0] ?? whole;
    const fits = room.left <= text.left && text.right <= room.right && whole.top <= text.top + 1
      && text.bottom - 1 <= whole.bottom;
    const meets = (box) => text.left < box.right - 1 && box.left + 1 < text.right && text.top < box.bottom - 2
      && box.top + 2 < text.bottom;
    return !fits || (around.length === 0 && boxes.some(meets));
  }).map((element) => element.textContent);
}"""


@pytest.mark.parametrize("name", figures.__all__)
def test_texts_lie_in_their_boxes(name: str, browser: Browser) -> None:
    (images, _), _ = keras.datasets.mnist.load_data()
    draw = getattr(figures, name)
    drawing = draw(images[7]) if name == "record" else draw()
    page = browser.new_page(viewport={"width": 900, "height": 900})
    style = (DOCS / "_static" / "engine.css").read_text(encoding="utf-8")
    page.set_content(f"<style>body {{ font-family: sans-serif }} {style}</style>{drawing._repr_html_()}")
    assert page.evaluate("document.querySelectorAll('text').length") > 0
    assert page.evaluate(MISPLACED) == []
    page.close()
