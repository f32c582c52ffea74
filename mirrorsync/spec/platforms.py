"""Platforms as a spec names them: those that are probably mistyped are rejected, since they match no image."""

from __future__ import annotations

import difflib
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.platform import Platform
from mirrorsync.text import printable

# The names of Go (GOOS, GOARCH, also those that it reserves), which images are labelled with.
_SYSTEMS: Final = (
    "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd", "plan9",
    "solaris", "unknown", "wasip1", "windows", "zos",
)  # fmt: skip
_ARCHITECTURES: Final = (
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64", "mips64le",
    "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64",
    "unknown", "wasm",
)  # fmt: skip
# What uname and distributions call them.
_OTHER_NAMES: Final = {
    "x86_64": "amd64", "x86-64": "amd64", "x64": "amd64", "x86": "386", "i386": "386", "i686": "386",
    "aarch64": "arm64", "armv8": "arm64", "armv7": "arm/v7", "armv7l": "arm/v7", "armhf": "arm/v7", "armv6": "arm/v6",
    "armv6l": "arm/v6", "ppc64el": "ppc64le", "macos": "darwin",
}  # fmt: skip


def read_platform(text: str) -> Platform:
    """Read `os/architecture[/variant]`. Raises: GrammarError, also for a name that is almost a known one.

    A name that is like no known one is taken as it is: it may be newer than this list.
    """
    platform = Platform.parse(text)
    system = _meant(platform.os, _SYSTEMS)
    architecture = _meant(platform.architecture, _ARCHITECTURES)
    if (system, architecture) != (platform.os, platform.architecture):
        variant = f"/{platform.variant}" if platform.variant and "/" not in architecture else ""
        raise GrammarError(
            f"{printable(text)!r} is not a known platform", remedy=f"did you mean {system}/{architecture}{variant}?"
        )
    return platform


def _meant(name: str, known: tuple[str, ...]) -> str:
    if name in known:
        return name
    if name.lower() in _OTHER_NAMES:
        return _OTHER_NAMES[name.lower()]
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)), name)
