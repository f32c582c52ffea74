"""Options for the platforms of an index: ours, and skopeo's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from mirrorsync.app.reading import HOST_PLATFORM, read_platform
from mirrorsync.cli.completers import complete_platform
from mirrorsync.errors import UsageError
from mirrorsync.oci.platform import Platform
from mirrorsync.text import printable

R = TypeVar("R")

_METAVAR: Final = "OS/ARCH[/VARIANT]"


def platforms_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the options for the platforms that are copied: a command gets `platforms`, () for all."""

    @wraps(function)
    def run(*words: Any, platforms: tuple[str, ...], everything: bool, multi_arch: str | None, **options: Any) -> R:
        override = _override(options)
        chosen = _chosen(tuple(map(read_platform, platforms)), override, multi_arch, everything=everything)
        return function(*words, platforms=chosen, **options)

    return _added(run, [
        click.option(
            "--platform", "platforms", multiple=True, metavar=_METAVAR, shell_complete=complete_platform,
            help="Copy only this platform of an index (`host`: this machine's). Repeatable; default: all.",
        ),
        click.option("-a", "--all", "everything", is_flag=True, help="Copy all platforms, which is the default."),
        click.option("--multi-arch", hidden=True),
        *_OVERRIDES,
    ])  # fmt: skip


def platform_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the options for the one platform that is shown: a command gets `platform`, None if it was not given."""

    @wraps(function)
    def run(*words: Any, wanted: str | None, **options: Any) -> R:
        override = _override(options)
        if wanted is not None and override is not None:
            raise UsageError("--platform and --override-... contradict each other")
        return function(*words, platform=override if wanted is None else read_platform(wanted), **options)

    return _added(run, [
        click.option(
            "--platform", "wanted", metavar=_METAVAR, shell_complete=complete_platform,
            help="The image of an index to show (`host`: this machine's).",
        ),
        *_OVERRIDES,
    ])  # fmt: skip


def _chosen(
    platforms: tuple[Platform, ...], override: Platform | None, multi_arch: str | None, *, everything: bool
) -> tuple[Platform, ...]:
    """Return the platforms to copy. override: instead of this machine's. Raises: UsageError."""
    if multi_arch not in (None, "all", "system"):
        raise UsageError(
            f"--multi-arch {printable(str(multi_arch), 60)} is not supported: an index without its images cannot be "
            "pulled",
            remedy="write --platform OS/ARCH for each platform that is wanted; several make a new index",
        )
    ways = {"--platform": platforms, "--all": everything, "--multi-arch": multi_arch}
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} contradict each other")
    if platforms and override is not None:
        raise UsageError("--platform and --override-... contradict each other")
    if everything or multi_arch == "all":
        return ()
    if multi_arch == "system":
        return (override or read_platform(HOST_PLATFORM),)
    return platforms if override is None else (override,)


# skopeo's, which takes the image for this machine, or for another if it is told so.
_OVERRIDES: Final = tuple(click.option(f"--override-{name}", hidden=True) for name in ("os", "arch", "variant"))


def _override(options: dict[str, Any]) -> Platform | None:
    """Take skopeo's options out of those of a command; return the platform that they mean, None without one."""
    system, architecture, variant = (options.pop(f"override_{name}") for name in ("os", "arch", "variant"))
    if not (system or architecture or variant):
        return None
    host = read_platform(HOST_PLATFORM)
    own = "" if architecture else host.variant
    return Platform(system or host.os, architecture or host.architecture, variant or own)


def _added(
    function: Callable[..., R], options: list[Callable[[Callable[..., R]], Callable[..., R]]]
) -> Callable[..., R]:
    for add in reversed(options):
        function = add(function)
    return function
