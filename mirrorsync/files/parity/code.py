"""Reed-Solomon over GF(256) as a Cauchy code: any `data` of the `data + rows` blocks suffice for the others.

A block is cut into 8 packets; bit n of packet 0, bit n of packet 1, ... are one byte of the field. A multiplication by
a constant is then a few XORs of whole packets (Bloemer et al., "An XOR-Based Erasure-Resilient Coding Scheme", 1995),
and CPython's XOR of long integers is as fast as a table look-up in C for each byte. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from operator import itemgetter, xor
from typing import Final, TypeVar

# A block has this many bytes. It is part of the format: packets of 2 KiB keep the cost of each call small, and the
# blocks of a stripe in the processor's cache.
BLOCK_BYTES: Final = 16 * 1024
MOST_BLOCKS: Final = 256  # data and parity together: as many as the field has elements
_Choose = Callable[[Sequence[int]], tuple[int, ...]]
_Key = TypeVar("_Key")
_PACKET: Final = BLOCK_BYTES // 8
_POLYNOMIAL: Final = 0x11D  # x^8 + x^4 + x^3 + x^2 + 1, which most Reed-Solomon codes use
# So many blocks are multiplied at a time: their partial sums, four times their size, stay in the cache (measured with
# 100 data and 10 parity blocks: 4 to 8 are best, and three times as fast as all at once).
_GROUP: Final = 8
_PROGRAMS: Final = 32  # kept for each code; damage that differs from stripe to stripe would collect thousands


def _powers() -> list[int]:
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value = value << 1 ^ (_POLYNOMIAL if value & 0x80 else 0)
    return powers


_EXP: Final = tuple(_powers() * 2)
_LOG: Final = {power: number for number, power in enumerate(_EXP[:255])}


def multiply(left: int, right: int) -> int:
    """Return the product of two elements of the field."""
    return _EXP[_LOG[left] + _LOG[right]] if left and right else 0


def inverse(element: int) -> int:
    """Return the inverse of an element that is not 0."""
    return _EXP[255 - _LOG[element]]


class Code:
    """The code of `data` data blocks and `rows` parity blocks, at most MOST_BLOCKS together; each of BLOCK_BYTES.

    Parity block j is the sum of all data blocks i, each multiplied by the inverse of ((data + j) XOR i).
    """

    def __init__(self, data: int, rows: int) -> None:
        self._data: Final = data
        self._rows: Final = rows
        self._sums: dict[tuple[int, ...], _Program] = {}
        self._solutions: dict[tuple[tuple[int, ...], tuple[int, ...]], _Program] = {}

    def encode(self, blocks: Sequence[bytes], rows: Sequence[int]) -> list[bytes]:
        """Return the parity blocks with these numbers. blocks: all data blocks."""
        return _blocks(self._sum(tuple(rows)).run(_packets(blocks)))

    def decode(self, blocks: Sequence[bytes | None], parity: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return the data blocks that are None, by number. parity: at least as many parity blocks, by number."""
        missing = tuple(number for number, block in enumerate(blocks) if block is None)
        rows = tuple(sorted(parity)[: len(missing)])
        if not missing:
            return {}
        if (rows, missing) not in self._solutions:
            _room(self._solutions)
            self._solutions[rows, missing] = _Program(_inverted([self._data + row for row in rows], missing))
        # What the blocks that are present give to the sums is taken out of them; the rest is a small system of its own.
        given = self._sum(rows).run(_packets([block or bytes(BLOCK_BYTES) for block in blocks]))
        rest = [one ^ other for one, other in zip(given, _packets([parity[row] for row in rows]), strict=True)]
        return dict(zip(missing, _blocks(self._solutions[rows, missing].run(rest)), strict=True))

    def _sum(self, rows: tuple[int, ...]) -> _Program:
        if rows not in self._sums:
            _room(self._sums)
            self._sums[rows] = _Program(
                [[inverse((self._data + row) ^ number) for number in range(self._data)] for row in rows]
            )
        return self._sums[rows]


class _Program:
    """Multiplies a matrix over the field with blocks, as XORs of packets."""

    def __init__(self, matrix: Sequence[Sequence[int]]) -> None:
        self._groups: Final = [
            (start, [_sum_of(row[start : start + _GROUP], packet) for row in matrix for packet in range(8)])
            for start in range(0, len(matrix[0]), _GROUP)
        ]

    def run(self, packets: Sequence[int]) -> list[int]:
        """Return the packets of the product, 8 for each row."""
        result = [0] * len(self._groups[0][1])
        for start, chosen in self._groups:
            sums = _partial_sums(packets[8 * start : 8 * (start + _GROUP)])
            result = [reduce(xor, choose(sums), packet) for choose, packet in zip(chosen, result, strict=True)]
        return result


def _partial_sums(packets: Sequence[int]) -> list[int]:
    """Return the 16 sums of each four packets, by the bits of an index: one look-up does the work of several XORs."""
    sums: list[int] = []
    for start in range(0, len(packets), 4):
        four = [0]
        for packet in packets[start : start + 4]:
            four += [packet ^ one for one in four]
        sums += four
    return sums


def _sum_of(elements: Sequence[int], packet: int) -> _Choose:
    """Return what chooses the partial sums of blocks that make one packet of their sum, each times its element."""
    # Entry 0 is zero; twice, because an itemgetter of a single index would return no tuple.
    return itemgetter(
        0, 0, *(at for number, element in enumerate(elements) for at in _entries(number, element, packet))
    )


def _entries(number: int, element: int, packet: int) -> list[int]:
    """Return where the partial sums are that a block contributes to one packet, if it is multiplied by an element."""
    bits = _bits(element, packet)
    return [32 * number + half * 16 + four for half, four in enumerate((bits & 15, bits >> 4)) if four]


@cache
def _bits(element: int, packet: int) -> int:
    """Return which packets of a block make one packet of its product with an element, as bits."""
    return sum((multiply(element, 1 << bit) >> packet & 1) << bit for bit in range(8))


def _inverted(rows: Sequence[int], columns: Sequence[int]) -> list[list[int]]:
    """Return the inverse of the Cauchy matrix 1 / (row XOR column), by its closed formula."""

    def differences(one: int, others: Sequence[int]) -> int:
        return reduce(multiply, (one ^ other for other in others if other != one), 1)

    above = [multiply(differences(row, columns), inverse(differences(row, rows))) for row in rows]
    beside = [multiply(differences(column, rows), inverse(differences(column, columns))) for column in columns]
    return [
        [multiply(multiply(above[j], beside[i]), inverse(row ^ column)) for j, row in enumerate(rows)]
        for i, column in enumerate(columns)
    ]


def _packets(blocks: Sequence[bytes]) -> list[int]:
    return [
        int.from_bytes(block[start : start + _PACKET], "little")
        for block in blocks
        for start in range(0, BLOCK_BYTES, _PACKET)
    ]


def _blocks(packets: Sequence[int]) -> list[bytes]:
    parts = [packet.to_bytes(_PACKET, "little") for packet in packets]
    return [b"".join(parts[start : start + 8]) for start in range(0, len(parts), 8)]


def _room(programs: dict[_Key, _Program]) -> None:
    if len(programs) >= _PROGRAMS:
        programs.clear()
