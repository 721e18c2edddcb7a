"""Seeded mutations of bytes: the short run in the test suite, and the long one where atheris is not installed."""

from __future__ import annotations

import random
from collections.abc import Iterator

INTERESTING = (
    b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"-1", b"NaN", b"1e999", b"9" * 40, b"[" * 90,
    b"{", b"}", b'"', b"'", b"\n", b"\r\n", b": ", b"- ", b"&a ", b"*a", b"<<: ", b"!!int ", b"../", b"/", b"\\u0000",
    b"null", b"true", b"{}", b"[]", b"0x", b"2024-13-40", b",", b"#", b"\xef\xbb\xbf", b"\xc3\x28", b"%", b"{id}",
)  # fmt: skip
LONGEST = 8192


def mutations(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` inputs: the seeds themselves, then one to eight small damages to one of them, the same for the same `seed`."""
    dice = random.Random(seed)
    yield from seeds[:count]
    for _ in range(count - len(seeds)):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 8)):
            _damage(data, dice, seeds)
        yield bytes(data[:LONGEST])


def _damage(data: bytearray, dice: random.Random, seeds: list[bytes]) -> None:
    at = dice.randint(0, len(data))
    kind = dice.randrange(7)
    if kind == 0 and data:
        data[at % len(data)] ^= 1 << dice.randrange(8)
    elif kind == 1 and data:
        data[at % len(data)] = dice.randrange(256)
    elif kind == 2:
        data[at:at] = dice.choice(INTERESTING)
    elif kind == 3:
        piece = dice.choice(INTERESTING)
        data[at : at + len(piece)] = piece
    elif kind == 4:
        del data[at : at + dice.randint(1, 16)]
    elif kind == 5:
        end = at + dice.randint(1, 32)
        data[at:at] = data[at:end] * dice.randint(1, 4)
    else:
        other = dice.choice(seeds)
        start = dice.randint(0, len(other))
        data[at:] = other[start : start + 400]
