"""WWW-Authenticate: which kind of credentials a registry wants, and where tokens come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# RFC 9110, 11.6.1: `scheme param=value, param="value"`, several in one header or in several headers.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?:\s+|,|$)")
_BARE = re.compile(r"\s*[A-Za-z0-9._~+/-]+=*\s*(?:,|$)")

# What can be done, best first: a registry that offers Bearer and Basic means Bearer (docker does the same).
_KNOWN = ("bearer", "basic")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: its scheme (Nexus sends `BASIC`) and its parameters' names, both in lower case."""

    scheme: str
    parameters: Mapping[str, str]

    def get(self, name: str) -> str:
        """Return a parameter, "" when it is not there."""
        return self.parameters.get(name, "")


def parse(values: Iterable[str]) -> list[Challenge]:
    """Read the challenges of all WWW-Authenticate headers; what cannot be read is left out."""
    challenges = []
    for value in values:
        position = 0
        while scheme := _SCHEME.match(value, position):
            parameters, position = _parameters(value, scheme.end())
            challenges.append(Challenge(scheme[1].lower(), parameters))
    return challenges


def choose(values: Iterable[str]) -> Challenge | None:
    """Return the challenge that can be met, Bearer before Basic; None when there is none (Negotiate alone, say)."""
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
