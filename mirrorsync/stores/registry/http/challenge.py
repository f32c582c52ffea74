"""Parse WWW-Authenticate: which kind of credentials a registry requires, and its token service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# RFC 9110, 11.6.1: `scheme param=value, param="value"`, several in one header or in several headers.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?:\s+|,|$)")
_BARE = re.compile(r"\s*[A-Za-z0-9._~+/-]+=*\s*(?:,|$)")

# The supported schemes, best first: if a registry offers Bearer and Basic, Bearer is used (docker does the same).
_KNOWN = ("bearer", "basic")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: its scheme (Nexus sends `BASIC`) and its parameters' names, both in lower case."""

    scheme: str
    parameters: Mapping[str, str]

    def get(self, name: str) -> str:
        """Return a parameter, "" if it is missing."""
        return self.parameters.get(name, "")


def parse(values: Iterable[str]) -> list[Challenge]:
    """Read the challenges of all WWW-Authenticate headers; malformed ones are skipped."""
    challenges = []
    for value in values:
        position = 0
        while scheme := _SCHEME.match(value, position):
            parameters, position = _parameters(value, scheme.end())
            challenges.append(Challenge(scheme[1].lower(), parameters))
    return challenges


def choose(values: Iterable[str]) -> Challenge | None:
    """Return a supported challenge, Bearer before Basic; None without one (only Negotiate, say)."""
    challenges = parse(values)
    for scheme in _KNOWN:
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme != "bearer" or challenge.get("realm")):
                return challenge
    return None


def _parameters(value: str, position: int) -> tuple[dict[str, str], int]:
    parameters: dict[str, str] = {}
    while parameter := _PARAMETER.match(value, position):
        name, quoted, plain = parameter.groups()
        text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        parameters.setdefault(name.lower(), text)
        position = parameter.end()
    if not parameters and (token68 := _BARE.match(value, position)):
        position = token68.end()
    return parameters, position
