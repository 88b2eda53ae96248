"""Hash functions of bytes, in NumPy: Fingerprint64 of FarmHash, SipHash-2-4, and the hash of crossed features.

They return the numbers of TensorFlow's `to_hash_bucket_fast`, `to_hash_bucket_strong` and `sparse.cross_hashed`, which Keras'
layers call. Strings of one length are hashed at once: the variables `s`, `a`, `b` ... of a formula are arrays (n,) of uint64,
whose arithmetic is modulo 2**64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# The odd constants of FarmHash.
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_FARM_SEED = 81
_FARM_BLOCK = 64  # bytes
_WORD = 8  # bytes
# "somepseudorandomlygeneratedbytes", the initial state of SipHash.
_SIP_STATE = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_SIP_ROUNDS, _SIP_LAST_ROUNDS = 2, 4
# The key of `sparse.cross_hashed` that is used if none is given, and the constant that mixes in one feature.
_CROSS_KEY, _CROSS_FACTOR = 0xDECAFCAFFE, 0xC6A4A7935BD1E995


def fingerprints(strings: Sequence[bytes]) -> Words:
    """Returns Fingerprint64 of FarmHash for each string, uint64 (n,)."""
    return _by_length(strings, _farm)


def keyed_hashes(strings: Sequence[bytes], key: Sequence[int]) -> Words:
    """Returns SipHash-2-4 for each string, uint64 (n,).

    Args:
        strings: the strings.
        key: two integers of 64 bits.
    """
    return _by_length(strings, lambda rows: _sip(rows, key))


def crossed(features: Iterable[Words]) -> Words:
    """Returns the hash of several features of each sample.

    Args:
        features: for each feature its values, uint64 (n,): integers, or fingerprints of strings.
    """
    found: Words | None = None
    for each in features:
        before = np.full(each.shape, _CROSS_KEY, np.uint64) if found is None else found
        mixed = before ^ _u64(_CROSS_FACTOR) ^ _shifted(each * _u64(_CROSS_FACTOR)) * _u64(_CROSS_FACTOR)
        found = _shifted(_shifted(mixed * _u64(_CROSS_FACTOR)) * _u64(_CROSS_FACTOR))
    return np.zeros(0, np.uint64) if found is None else found


def _by_length(strings: Sequence[bytes], function: Callable[[NDArray[np.uint8]], Words]) -> Words:
    """Applies `function` to the strings of each length, which it gets as uint8 (n, length)."""
    hashes = np.zeros(len(strings), np.uint64)
    lengths = np.fromiter(map(len, strings), np.intp, len(strings))
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        joined = b"".join([strings[place] for place in places.tolist()])
        hashes[places] = function(np.frombuffer(joined, np.uint8).reshape(len(places), length))
    return hashes


def _u64(value: int) -> np.uint64:
    return np.uint64(value % 2**64)


def _read(rows: NDArray[np.uint8], offset: int, width: int = _WORD) -> Words:
    """Returns the little-endian word of `width` bytes at `offset` in each row; a negative offset counts from the end."""
    begin = offset % rows.shape[1] if offset < 0 else offset
    word = np.ascontiguousarray(rows[:, begin : begin + width])
    return word.view(f"<u{width}")[:, 0].astype(np.uint64)


def _rotated_right(word: Words, bits: int) -> Words:
    return (word >> _u64(bits)) | (word << _u64(64 - bits))


def _shifted(word: Words) -> Words:
    return word ^ (word >> _u64(47))


def _pair(one: Words, other: Words, factor: Any) -> Words:
    """Returns the hash of two words."""
    a: Words = _shifted((one ^ other) * factor)
    last: Words = _shifted((other ^ a) * factor) * factor
    return last


def _farm(rows: NDArray[np.uint8]) -> Words:
    """Returns Fingerprint64 of each row, all of which have one length."""
    length = rows.shape[1]
    bounds = ((16, _farm_to_16), (32, _farm_to_32), (_FARM_BLOCK, _farm_to_64))
    function = next((each for most, each in bounds if length <= most), _farm_long)
    return function(rows)


def _farm_to_16(rows: NDArray[np.uint8]) -> Words:
    length = rows.shape[1]
    factor = _u64(_K2 + 2 * length)
    if length >= _WORD:
        a, b = _read(rows, 0) + _u64(_K2), _read(rows, -8)
        return _pair(_rotated_right(b, 37) * factor + a, (_rotated_right(a, 25) + b) * factor, factor)
    if length >= _WORD // 2:
        a = _read(rows, 0, 4)
        return _pair(_u64(length) + (a << _u64(3)), _read(rows, -4, 4), factor)
    if length:
        a, b, c = (rows[:, place].astype(np.uint64) for place in (0, length // 2, -1))
        y, z = a + (b << _u64(8)), _u64(length) + (c << _u64(2))
        return _shifted(y * _u64(_K2) ^ z * _u64(_K0)) * _u64(_K2)
    return np.full(len(rows), _K2, np.uint64)


def _farm_to_32(rows: NDArray[np.uint8]) -> Words:
    factor = _u64(_K2 + 2 * rows.shape[1])
    a, b = _read(rows, 0) * _u64(_K1), _read(rows, 8)
    c, d = _read(rows, -8) * factor, _read(rows, -16) * _u64(_K2)
    return _pair(
        _rotated_right(a + b, 43) + _rotated_right(c, 30) + d,
        a + _rotated_right(b + _u64(_K2), 18) + c,
        factor,
    )


def _farm_to_64(rows: NDArray[np.uint8]) -> Words:
    factor = _u64(_K2 + 2 * rows.shape[1])
    a, b = _read(rows, 0) * _u64(_K2), _read(rows, 8)
    c, d = _read(rows, -8) * factor, _read(rows, -16) * _u64(_K2)
    y = _rotated_right(a + b, 43) + _rotated_right(c, 30) + d
    z = _pair(y, a + _rotated_right(b + _u64(_K2), 18) + c, factor)
    e, f = _read(rows, 16) * factor, _read(rows, 24)
    g, h = (y + _read(rows, -32)) * factor, (z + _read(rows, -24)) * factor
    return _pair(
        _rotated_right(e + f, 43) + _rotated_right(g, 30) + h, e + _rotated_right(f + a, 18) + g, factor
    )


def _half_block(rows: NDArray[np.uint8], offset: int, a: Words, b: Words) -> tuple[Words, Words]:
    """Returns two words that 32 bytes at `offset` are mixed into."""
    w, x, y, z = (_read(rows, offset + _WORD * number) for number in range(4))
    a = a + w
    b = _rotated_right(b + a + z, 21)
    first = a
    a = a + x + y
    return a + z, b + _rotated_right(a, 44) + first


def _farm_long(rows: NDArray[np.uint8]) -> Words:
    count, length = rows.shape
    x = np.full(count, _FARM_SEED, np.uint64)
    y = x * _u64(_K1) + _u64(113)
    z = _shifted(y * _u64(_K2) + _u64(113)) * _u64(_K2)
    x = x * _u64(_K2) + _read(rows, 0)
    v = w = (np.zeros(count, np.uint64), np.zeros(count, np.uint64))
    factor: Any = _u64(_K1)
    nine = _u64(1)
    whole = range(0, (length - 1) // _FARM_BLOCK * _FARM_BLOCK, _FARM_BLOCK)
    # The last block may overlap with the one before. It is mixed in with other factors.
    for number, begin in enumerate([*whole, length - _FARM_BLOCK]):
        if number == len(whole):
            factor, nine = _u64(_K1) + ((z & _u64(0xFF)) << _u64(1)), _u64(9)
            first = w[0] + _u64((length - 1) % _FARM_BLOCK)
            v = (v[0] + first, v[1])
            w = (first + v[0], w[1])
        x = _rotated_right(x + y + v[0] + _read(rows, begin + 8), 37) * factor
        y = _rotated_right(y + v[1] + _read(rows, begin + 48), 42) * factor
        x = x ^ w[1] * nine
        y = y + v[0] * nine + _read(rows, begin + 40)
        z = _rotated_right(z + w[0], 33) * factor
        v = _half_block(rows, begin, v[1] * factor, x + w[0])
        w = _half_block(rows, begin + 32, z + w[1], y + _read(rows, begin + 16))
        x, z = z, x
    return _pair(
        _pair(v[0], w[0], factor) + _shifted(y) * _u64(_K0) + z, _pair(v[1], w[1], factor) + x, factor
    )


def _sip(rows: NDArray[np.uint8], key: Sequence[int]) -> Words:
    """Returns SipHash-2-4 of each row, all of which have one length (Aumasson and Bernstein, 2012)."""
    count, length = rows.shape
    words = length // _WORD + 1
    padded = np.zeros((count, words * _WORD), np.uint8)
    padded[:, :length] = rows
    padded[:, -1] = length % 256
    state = [np.full(count, _u64(start ^ key[number % 2])) for number, start in enumerate(_SIP_STATE)]
    for number in range(words):
        word = _read(padded, number * _WORD)
        state[3] = state[3] ^ word
        for _ in range(_SIP_ROUNDS):
            state = _sip_round(*state)
        state[0] = state[0] ^ word
    state[2] = state[2] ^ _u64(0xFF)
    for _ in range(_SIP_LAST_ROUNDS):
        state = _sip_round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _sip_round(a: Words, b: Words, c: Words, d: Words) -> list[Words]:
    a, c = a + b, c + d
    b, d = _rotated_right(b, 64 - 13) ^ a, _rotated_right(d, 64 - 16) ^ c
    a = _rotated_right(a, 32)
    c, a = c + b, a + d
    b, d = _rotated_right(b, 64 - 17) ^ c, _rotated_right(d, 64 - 21) ^ a
    return [a, b, _rotated_right(c, 32), d]
