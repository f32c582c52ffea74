"""Platforms: operating system, architecture and variant that an image is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mirrorsync.errors import GrammarError
from mirrorsync.text import printable

# key of the OCI index's platform object -> field here
_FIELDS = {"os": "os", "architecture": "architecture", "variant": "variant", "os.version": "os_version"}


# The variant that is meant if it is not written.
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
# uname's names of architectures -> those of images
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm/v6", "i686": "386", "i386": "386"}


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

    @classmethod
    def of_machine(cls, system: str, machine: str) -> Self:
        """Return the platform of a machine. system: from `uname -s`. machine: from `uname -m`."""
        return cls.parse(f"{system.lower()}/{_MACHINES.get(machine, machine)}")

    def runs(self, other: Platform) -> bool:
        """Return whether an image for `other` matches this platform, by containerd's defaults for variants.

        `linux/arm64` and `linux/arm64/v8` are equal, so are `linux/arm` and `linux/arm/v7`, and `linux/amd64` and its
        v1 (containerd/platforms, normalizeArch). Versions of Windows are compared only if this platform has one.
        """
        return _normal(self) == _normal(other) and self.os_version in ("", other.os_version)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _normal(platform: Platform) -> tuple[str, str, str]:
    variant = platform.variant or _DEFAULT_VARIANTS.get(platform.architecture, "")
    return platform.os, platform.architecture, variant
