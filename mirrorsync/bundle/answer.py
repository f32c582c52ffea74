"""Answer codes: what a destination lacks of a bundle, as a few groups of letters that a person can copy. Pure.

A one-way network carries no inventory back. The sender still has the document of each bundle that it sent, so what
is lacking can be named by its position in a list that both sides know: first what the document assumes, in the order in
which it was sent, then its objects. What one lost bundle carried is one run of that list: a few letters.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.bundle.model import Bundle
from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.text import printable

# Crockford's base 32: no I, L, O and U, and those that read them write 1 and 0.
_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MISREAD: Final = str.maketrans("OIL", "011")
_SEPARATORS: Final = re.compile(r"[\s\-_.]+")
_VERSION: Final = 1
_DATA: Final = 4  # letters of a group before its check letter
_PREFIX: Final = 2  # bytes
_SUM: Final = 3  # bytes
# A code of more letters is not copied by hand: an inventory is a file, and says the same.
MAX_LETTERS: Final = 4000
_MAX_NUMBER: Final = 2**40


@dataclass(frozen=True, slots=True)
class Answer:
    """What a code says. chain, document: the first bytes of the sender's chain and of the digest of the document, as
    hex digits. runs: the lengths of runs in `listed`: present, lacking, present and so on; the last one is lacking.
    """

    chain: str
    sequence: int
    document: str
    runs: tuple[int, ...]

    def lacking(self, bundle: Bundle, document: Digest) -> frozenset[Digest]:
        """Return what the destination lacks. bundle, document: the bundle of that sequence number, and its digest.

        Raises: UsageError if the code is about another bundle.
        """
        same = (bundle.chain[: 2 * _PREFIX], bundle.sequence, document.encoded[: 2 * _PREFIX])
        names = listed(bundle)
        if same != (self.chain, self.sequence, self.document) or sum(self.runs) > len(names):
            raise UsageError(
                f"the code is about another bundle than {bundle.stem}",
                remedy="give the code to the sender whose bundle printed it, and use its state",
            )
        found: set[Digest] = set()
        start = 0
        for number, run in enumerate(self.runs):
            if number % 2:
                found.update(names[start : start + run])
            start += run
        return frozenset(found)


def listed(bundle: Bundle) -> tuple[Digest, ...]:
    """Return the content that a code can name, in its order."""
    return (*(one.digest for one in bundle.assumes), *(one.digest for one in bundle.objects))


def answer_code(bundle: Bundle, document: Digest, lacking: Collection[Digest]) -> str:
    """Return the code that names what a destination lacks. document: digest of the bundle's document.

    Raises: UsageError if it is too long to copy.
    """
    raw = bytes([_VERSION]) + bytes.fromhex(bundle.chain)[:_PREFIX] + bytes.fromhex(document.encoded)[:_PREFIX]
    raw += b"".join(_varint(number) for number in (bundle.sequence, *_runs(listed(bundle), lacking)))
    letters = _base32(raw + zlib.crc32(raw).to_bytes(4, "big")[:_SUM])
    if len(letters) > MAX_LETTERS:
        raise UsageError(
            "too much is lacking here and there for a code", remedy="carry an inventory back: `mirrorsync inventory`"
        )
    groups = [letters[start : start + _DATA] for start in range(0, len(letters), _DATA)]
    return "-".join(group + _check_letter(group, number) for number, group in enumerate(groups))


def read_answer(text: str) -> Answer:
    """Read a code as a person copied it: letters of any case, with or without separators.

    Raises: GrammarError, which names the first group that has a mistake.
    """
    letters = _SEPARATORS.sub("", text).upper().translate(_MISREAD)
    wrong = next((letter for letter in letters if letter not in _LETTERS), None)
    if wrong is not None or not letters or len(letters) > 2 * MAX_LETTERS:
        length = "the code is too long" if letters else "the code is empty"
        what = f"{printable(wrong)!r} is not a letter of a code" if wrong else length
        raise GrammarError(what, remedy="copy the code again")
    data = ""
    for number, start in enumerate(range(0, len(letters), _DATA + 1)):
        group, check = letters[start : start + _DATA + 1][:-1], letters[start : start + _DATA + 1][-1]
        if not group or _check_letter(group, number) != check:
            raise GrammarError(f"group {number + 1} of the code ({group}{check}) has a mistake", remedy="copy it again")
        data += group
    return _parsed(_bytes(data))


def _parsed(raw: bytes) -> Answer:
    body, checksum = raw[:-_SUM], raw[-_SUM:]
    if len(body) <= 1 + 2 * _PREFIX or zlib.crc32(body).to_bytes(4, "big")[:_SUM] != checksum:
        raise GrammarError("the code is not complete, or its groups are in another order", remedy="copy it again")
    if body[0] != _VERSION:
        raise GrammarError(f"codes of version {body[0]} are not known", remedy="use the version that made the code")
    chain, document, rest = body[1 : 1 + _PREFIX], body[1 + _PREFIX : 1 + 2 * _PREFIX], body[1 + 2 * _PREFIX :]
    sequence, *runs = _numbers(rest)
    return Answer(chain.hex(), sequence, document.hex(), tuple(runs))


def _runs(names: Sequence[Digest], lacking: Collection[Digest]) -> Iterator[int]:
    """Yield the lengths of runs: present, lacking, present and so on; without the last one if it is present."""
    wanted, length = False, 0
    for name in names:
        if (name in lacking) != wanted:
            yield length
            wanted, length = not wanted, 0
        length += 1
    if wanted:
        yield length


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def _numbers(raw: bytes) -> list[int]:
    found, number, shift = [], 0, 0
    for byte in raw:
        number |= (byte & 127) << shift
        shift = shift + 7 if byte & 128 else 0
        if number > _MAX_NUMBER:
            break
        if not shift:
            found.append(number)
            number = 0
    if shift or not found:
        raise GrammarError("the code has a number that does not end", remedy="copy it again")
    return found


def _base32(raw: bytes) -> str:
    bits = f"{int.from_bytes(raw, 'big'):0{8 * len(raw)}b}"
    bits += "0" * (-len(bits) % 5)
    return "".join(_LETTERS[int(bits[start : start + 5], 2)] for start in range(0, len(bits), 5))


def _bytes(letters: str) -> bytes:
    bits = "".join(f"{_LETTERS.index(letter):05b}" for letter in letters)
    whole = len(bits) // 8
    return int(bits[: 8 * whole] or "0", 2).to_bytes(whole, "big")


def _check_letter(group: str, number: int) -> str:
    """Return the check letter of a group: each wrong letter changes it, and so do most swaps, also of groups.

    Weights are odd, and so have an inverse modulo 32.
    """
    total = number * 7 + sum((2 * place + 3) * _LETTERS.index(letter) for place, letter in enumerate(group))
    return _LETTERS[total % 32]
