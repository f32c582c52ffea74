"""What the words of a command line can be completed to: files, references, sources of a spec, platforms.

Nothing here contacts a network, and nothing raises: an unreadable spec has no completions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.errors import MirrorsyncError

if TYPE_CHECKING:
    from mirrorsync.spec.model import Spec

_REGISTRY: Final = "docker://"
_WITH_PATH: Final = ("oci:", "oci-archive:", "docker-archive:", "dir:", "bundle:")
_SCHEMES: Final = (_REGISTRY, *_WITH_PATH, "docker-daemon:")
_PLATFORMS: Final = ("host", "linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/s390x")


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG001
    """Complete a file; the shell does it."""
    return [CompletionItem(incomplete, type="file")]


def complete_directory(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG001
    """Complete a directory; the shell does it."""
    return [CompletionItem(incomplete, type="dir")]


def complete_platform(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Complete a platform."""
    return _matching(_PLATFORMS, incomplete)


def complete_source(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Complete `--only`: a source of the spec that is on the command line, or of ./mirror.yaml."""
    spec = _spec(str(ctx.params.get("spec") or DEFAULT_SPEC))
    return _matching(sorted({str(mirror.source) for mirror in spec.mirrors}), incomplete) if spec else []


def complete_host(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Complete a registry's host: one of ./mirror.yaml."""
    spec = _spec(DEFAULT_SPEC)
    return _matching(sorted({one.split("/")[0] for one in _repositories(spec)}), incomplete) if spec else []


def complete_reference(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Complete a reference: its transport, the path behind it, a name in a layout, a repository of ./mirror.yaml."""
    if incomplete.startswith(_REGISTRY):
        spec = _spec(DEFAULT_SPEC)
        return _matching((f"{_REGISTRY}{one}" for one in _repositories(spec)), incomplete) if spec else []
    scheme = next((one for one in _WITH_PATH if incomplete.startswith(one)), None)
    if scheme is None:
        return _matching(_SCHEMES, incomplete)
    path, colon, _ = incomplete.removeprefix(scheme).partition(":")
    if not colon:
        return [f"{scheme}{one}" for one in _paths(path)]
    return _matching((f"{scheme}{path}:{name}" for name in _names(path)), incomplete) if scheme == "oci:" else []


def complete_layout(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Complete `oci:DIRECTORY`."""
    if not incomplete.startswith("oci:"):
        return _matching(["oci:"], incomplete)
    return [f"oci:{one}" for one in _paths(incomplete.removeprefix("oci:")) if one.endswith("/")]


def complete_filter(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Complete the word of `--filter WORD=VALUE`."""
    from mirrorsync.spec.filters import FILTERS

    return _matching((f"{word}=" for word in ("exact", *FILTERS)), incomplete)


def _matching(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _spec(path: str) -> Spec | None:
    from mirrorsync.app.specs import load_spec

    try:
        return load_spec(path)
    except (MirrorsyncError, OSError, ValueError):
        return None


def _repositories(spec: Spec) -> list[str]:
    """Return the repositories in registries that a spec reads or writes, sorted."""
    locations = [mirror.source for mirror in spec.mirrors] + [one.location for one in spec.destinations.values()]
    return sorted({str(one) for one in locations if one.transport.is_registry})


def _paths(incomplete: str) -> Iterator[str]:
    """Yield the paths that begin with `incomplete`; directories end with a slash."""
    folder, _, begin = incomplete.rpartition("/")
    base = f"{folder}/" if folder or incomplete.startswith("/") else ""
    try:
        entries = sorted(os.scandir(base or "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(begin) and (begin or not entry.name.startswith(".")):
            yield f"{base}{entry.name}{'/' if entry.is_dir() else ''}"


def _names(layout: str) -> list[str]:
    """Return the names of the images in a layout."""
    import asyncio

    from mirrorsync.app.images import list_tags

    if not Path(layout, "index.json").is_file():
        return []
    try:
        listed = asyncio.run(list_tags(f"oci:{layout}"))
    except (MirrorsyncError, OSError, ValueError):
        return []
    return list(listed)
