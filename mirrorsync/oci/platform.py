"""Platforms: what an image of an index runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mirrorsync.errors import GrammarError, printable

# key of the OCI index's platform object -> field here
_FIELDS = {"os": "os", "architecture": "architecture", "variant": "variant", "os.version": "os_version"}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and processor, as the OCI index names them: `linux/arm64/v8`."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read the `platform` object of an index entry. Raises: GrammarError."""
        if not isinstance(value, Mapping):
            raise GrammarError("platform is not an object")
        fields = {}
        for key, field in _FIELDS.items():
            text = value.get(key, "")
            if not isinstance(text, str):
                raise GrammarError(f"platform {key} is not a string")
            fields[field] = text
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """Return the `platform` object of an index entry."""
        return {key: getattr(self, field) for key, field in _FIELDS.items() if getattr(self, field)}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `os/architecture[/variant]`. Raises: GrammarError."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise GrammarError(
                f"{printable(text)!r} is not a platform", remedy="write it as linux/amd64 or linux/arm/v7"
            )
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
