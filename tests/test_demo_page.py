"""Tests of the page of `engine demo` in Chromium: they draw a digit and check the answer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect

import engine as keras
from engine._command.demo.server import Server

DESKTOP = {"viewport": {"width": 1100, "height": 720}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(params=["desktop", "phone", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Page]:
    """Opens the page. It must log no errors and send requests to no other server."""
    options: dict[str, Any] = PHONE if request.param == "phone" else DESKTOP
    scheme: Any = "dark" if request.param == "dark" else "light"
    context = browser.new_context(color_scheme=scheme, **options)
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda failed: complaints.append(failed.url))
    page.on("request", lambda sent: asked.append(sent.url))
    page.goto(server.url)
    yield page
    context.close()
    assert complaints == []
    assert all(url.startswith((server.url, "data:")) for url in asked)


def skeleton(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns the middle of the strokes, by the thinning of Zhang and Suen (1984)."""
    ink = np.pad(image > 100, 1)
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            around = [np.roll(ink, shift, (0, 1)) for shift in RING]
            north, _, east, _, south, _, west, _ = around
            count = np.sum(around, axis=0)
            rises = np.sum([~a & b for a, b in itertools.pairwise([*around, around[0]])], axis=0)
            free = (
                ~(north & east & south) & ~(east & south & west)
                if first
                else ~(north & east & west) & ~(north & south & west)
            )
            gone = ink & (count >= 2) & (count <= 6) & (rises == 1) & free
            changed |= bool(gone.any())
            ink = ink & ~gone
    return ink[1:-1, 1:-1]


# The neighbours, clockwise from the upper one.
RING = [(1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1)]


def draw(page: Page, image: NDArray[np.uint8]) -> None:
    """Draws the strokes of an image of MNIST with the mouse."""
    box = page.locator("#drawing").bounding_box()
    assert box is not None
    pixels = {tuple(place) for place in np.argwhere(skeleton(image)).tolist()}

    def place(pixel: tuple[int, ...]) -> tuple[float, float]:
        return box["x"] + (pixel[1] + 0.5) / 28 * box["width"], box["y"] + (pixel[0] + 0.5) / 28 * box[
            "height"
        ]

    for pixel in sorted(pixels):
        for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
            other = (pixel[0] + down, pixel[1] + right)
            if other in pixels:
                page.mouse.move(*place(pixel))
                page.mouse.down()
                page.mouse.move(*place(other))
                page.mouse.up()


@pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)  # "dark" differs only in colours
def test_strokes_of_digits_are_read(page: Page) -> None:
    _, (images, labels) = keras.datasets.mnist.load_data()
    for digit in (7, 2, 0):
        draw(page, images[int(np.flatnonzero(labels == digit)[0])])
        expect(page.locator("#answer")).to_have_text(re.compile(rf"^{digit}, \d+\.\d%$"))
        shares = [float(text.rstrip("%")) for text in page.locator(".share").all_inner_texts()]
        assert sum(shares) == pytest.approx(100, abs=0.6)
        assert np.argmax(shares) == digit
        assert shares[digit] > 60
        expect(page.locator("#for")).to_have_text(f"Speaks for {digit}")
        fill = page.locator(".fill").nth(digit)
        assert float(fill.evaluate("bar => parseFloat(bar.style.width)")) > 60
        blank = "document.createElement('canvas')"
        pixels = page.locator("#pixels").evaluate("canvas => canvas.toDataURL().length")
        assert (
            pixels
            > 500
            > page.evaluate(f"Object.assign({blank}, {{width: 28, height: 28}}).toDataURL().length")
        )
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#answer")).to_have_text("Nothing yet")


def test_answers_come_while_drawing(page: Page) -> None:
    box = page.locator("#drawing").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(middle, box["y"] + 0.8 * box["height"], steps=20)
    expect(page.locator("#answer")).to_have_text(re.compile(r"^1, "))
    expect(page.locator("#hint")).to_be_hidden()
    page.mouse.up()
    page.keyboard.press("Escape")
    expect(page.locator("#answer")).to_have_text("Nothing yet")
    expect(page.locator("#hint")).to_be_visible()
    assert page.locator(".share").all_inner_texts() == [""] * 10


def test_it_fits_and_can_be_worked_by_key(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "clear"
    page.keyboard.press("Enter")
    for locator in page.get_by_role("img").all():
        assert locator.get_attribute("aria-label")
    assert page.get_by_role("heading", level=1).count() == 1


@pytest.mark.parametrize("page", ["phone"], indirect=True)
def test_a_finger_does_not_scroll(page: Page) -> None:
    assert page.locator("#drawing").evaluate("canvas => getComputedStyle(canvas).touchAction") == "none"
    page.locator("#drawing").tap()
    expect(page.locator("#answer")).to_have_text(re.compile(r"^\d, "))
