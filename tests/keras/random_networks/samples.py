"""Samples of a random training: numbers with zeros, bytes, and the forms in which a program can pass them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from random_networks.parts import WIDTHS, Dice

KINDS = {
    "reals": 'x = rng.normal(size=({samples}, {width})).astype("float32")',
    # Few different numbers: many values are equal, and many sums are zero.
    "quarters": 'x = (rng.integers(-4, 5, ({samples}, {width})) / 4).astype("float32")',
    "bytes": 'x = rng.integers(0, 256, ({samples}, {width})).astype("uint8")',
    "flags": 'x = rng.integers(0, 2, ({samples}, {width})).astype("uint8")',
    # Indices of an embedding, many of them repeated. A sample isn't all padding.
    "ids": "x = rng.integers(0, {vocabulary}, ({samples}, {width}))",
}
ZEROS = {
    "few": None,
    "half": "x[rng.random(x.shape) < 0.5] = 0",
    "most": "x[rng.random(x.shape) < 0.9] = 0",
    "all": "x[:] = 0",
    "rows": "x[rng.random(len(x)) < 0.4] = 0",
    "columns": "x[:, rng.random(x.shape[1]) < 0.6] = 0",
}
# How a program passes the samples. None of them changes a number.
FORMS = {
    "plain": "rows = x",
    "floats": 'rows = x.astype("float32")',
    "doubles": 'rows = x.astype("float64")',
    "fortran": "rows = np.asfortranarray(x)",
    "strided": "rows = np.repeat(x, 2, axis=1)[:, ::2]",
    "backward": "rows = x[::-1, ::-1].copy()[::-1, ::-1]",
    "read-only": "rows = np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape)",
    "mapped": 'path = tempfile.mkdtemp() + "/x.npy"; np.save(path, x); rows = np.load(path, mmap_mode="r")',
    "csr": "rows = scipy.sparse.csr_matrix(x)",
    "coo": "rows = scipy.sparse.coo_matrix(x)",
}
SPARSE = ("csr", "coo")
VOCABULARY = 7
LENGTHS = (1, 2, 3, 5, 8)  # of sequences of ids


@dataclass(frozen=True)
class Samples:
    """Samples `x`, the same numbers as `rows` in one of `FORMS`, and the seed of both."""

    seed: int
    samples: int
    width: int
    kind: str
    zeros: str = "few"
    form: str = "plain"

    @property
    def lines(self) -> list[str]:
        return [
            f"rng = np.random.default_rng({self.seed})",
            KINDS[self.kind].format(samples=self.samples, width=self.width, vocabulary=VOCABULARY),
            *([ZEROS[self.zeros]] if ZEROS[self.zeros] else []),
            *(["x[:, 0] = 1"] if self.kind == "ids" else []),
            FORMS[self.form],
        ]


def further_lines(samples: int, widths: Mapping[str, int]) -> list[str]:
    """Returns the lines that draw the samples of further inputs, many of them zeros, and put them beside the first."""
    drawn = [
        f'x_{name} = (rng.normal(size=({samples}, {width})) * rng.integers(0, 2, ({samples}, {width}))).astype("float32")'
        for name, width in widths.items()
    ]
    return [*drawn, f"rows = [rows, {', '.join(f'x_{name}' for name in widths)}]"] if widths else []


def draw_samples(seed: int, dice: Dice) -> Samples:
    kind = dice.one(list(KINDS))
    return Samples(
        seed,
        samples=dice.between(3, 40) if dice.chance(0.7) else dice.between(41, 200),
        width=dice.one(LENGTHS if kind == "ids" else WIDTHS),
        kind=kind,
        zeros=dice.one(list(ZEROS)),
    )
