"""Expand `${VARIABLE}` in the fields that allow it: after parsing, so that a value cannot become YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mirrorsync.spec.yaml_source import Source, join

# Where variables are expanded, as JSON pointers with `*` for any one key.
_DECLARED = tuple(
    tuple(pointer.split("/")[1:])
    for pointer in (
        "/registries/*/username",
        "/registries/*/password",
        "/registries/*/password_file",
        "/registries/*/ca_file",
        "/registries/*/cert_dir",
        "/registries/*/client_cert",
        "/registries/*/client_key",
        "/destinations/*",
        "/signers/allowed",
        "/mirrors/*",
        "/mirrors/*/from",
        "/mirrors/*/images_file",
        "/mirrors/*/from/*",
    )
)
_VARIABLE = re.compile(r"(?P<escaped>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<broken>\$\{)")


def interpolate(source: Source, environment: Mapping[str, str]) -> Any:
    """Return the source's value with variables expanded once; `$${` is written for a literal `${`.

    Mistakes (an unset variable, a `${` without end) are added to the source's problems, which never contain a value.
    """
    return _expand(source.value, (), "", source, environment)


def _expand(value: Any, path: tuple[str, ...], pointer: str, source: Source, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _expand(child, (*path, key), join(pointer, key), source, environment) for key, child in value.items()
        }
    if isinstance(value, list):
        return [
            _expand(child, (*path, str(number)), join(pointer, number), source, environment)
            for number, child in enumerate(value)
        ]
    if isinstance(value, str) and "${" in value and _declared(path):
        return _VARIABLE.sub(lambda match: _replacement(match, pointer, source, environment), value)
    return value


def _declared(path: tuple[str, ...]) -> bool:
    return any(
        len(path) == len(pattern) and all(want in ("*", key) for want, key in zip(pattern, path, strict=True))
        for pattern in _DECLARED
    )


def _replacement(match: re.Match[str], pointer: str, source: Source, environment: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "${"
    name = match["name"]
    if name is None:
        source.problems.append(
            source.problem(pointer, "'${' without a variable and '}'", "write ${NAME}, or $${ for a literal ${")
        )
        return match[0]
    if name not in environment:
        source.problems.append(
            source.problem(pointer, f"the variable {name} is not set", f"set {name} in the environment")
        )
        return match[0]  # an empty text would be a second problem of the same field
    return environment[name]
