"""What signatures prove: which people signed, and which signatures are not valid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_WILDCARDS: Final = {"*": ".*", "?": "."}


@dataclass(frozen=True, slots=True)
class Signer:
    """A valid signature. number: of the signature, from 1; key: `SHA256:...`.

    principals: as in the file of allowed signers, for which the key is valid; () if no signers are configured.
    """

    number: int
    key: str
    principals: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{', '.join(self.principals)} ({self.key})" if self.principals else self.key


@dataclass(frozen=True, slots=True)
class Rejected:
    """A signature that does not count. reason: why; broken: it is damaged, or not of these bytes."""

    number: int
    reason: str
    broken: bool


@dataclass(frozen=True)
class Verdict:
    """What the signatures of a document prove. threshold: how many people have to sign; 0 = any."""

    signers: tuple[Signer, ...]
    rejected: tuple[Rejected, ...]
    threshold: int

    @cached_property
    def people(self) -> tuple[tuple[Signer, ...], ...]:
        """The signatures, those of each person together: who shares a key or a principal is the same person."""
        groups: list[list[Signer]] = []
        for signer in self.signers:
            same = [group for group in groups if any(_same(signer, other) for other in group)]
            groups = [group for group in groups if group not in same]
            groups.append([one for group in same for one in group] + [signer])
        return tuple(tuple(group) for group in groups)

    @property
    def met(self) -> bool:
        """Whether as many people signed as have to."""
        return len(self.people) >= self.threshold

    @property
    def missing(self) -> int:
        """How many people have to sign yet."""
        return max(0, self.threshold - len(self.people))


def _same(one: Signer, other: Signer) -> bool:
    return one.key == other.key or any(_overlap(a, b) for a in one.principals for b in other.principals)


def _overlap(one: str, other: str) -> bool:
    """Return whether two principals can be one person. Both may be patterns: `*@corp.example` is everybody there."""
    return _matches(one, other) or _matches(other, one)


def _matches(pattern: str, name: str) -> bool:
    return (
        re.fullmatch("".join(_WILDCARDS.get(one, re.escape(one)) for one in pattern.lower()), name.lower()) is not None
    )
