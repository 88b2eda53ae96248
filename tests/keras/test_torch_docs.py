"""Runs all code of the page on moving from PyTorch. The build of the documentation does not run its PyTorch blocks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs/how-to/from-pytorch.md"
BLOCKS = re.compile(r"^```(?:python|\{code-cell\} ipython3)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_page_runs_as_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    page: dict[str, Any] = {}
    blocks = BLOCKS.findall(PAGE.read_text(encoding="utf-8"))
    assert sum("torch" in block for block in blocks) >= 2
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), page)
    assert "100,480" in capsys.readouterr().out
    shares = page["network"](torch.from_numpy(page["x_test"]).float() / 255)
    assert (shares.argmax(1).numpy() == page["y_test"]).mean() > 0.95
