"""The page of `mirrorsync inspect`: labels with values and rows, in colour on a terminal, plain elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.filesize import decimal

from mirrorsync.app.images import Attachment, Examination, Inspected, Member, is_image
from mirrorsync.cli.output.stdio import LINE_LIMIT, write_stdout
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.text import printable

_KINDS: Final[Mapping[str, str]] = {
    media_types.OCI_INDEX: "OCI index",
    media_types.OCI_MANIFEST: "OCI image",
    media_types.DOCKER_LIST: "Docker manifest list",
    media_types.DOCKER_MANIFEST: "Docker image",
    media_types.OCI_ARTIFACT: "OCI artifact",
}
_TITLE: Final = "org.opencontainers.image.title"
_LABEL_WIDTH: Final = 11
_TAGS_SHOWN: Final = 40
_VALUE_LIMIT: Final = 400


@dataclass(frozen=True, slots=True)
class Section:
    """A label with its value (which can be "") and the rows below it. Cells are aligned; all is untrusted text."""

    label: str
    value: str = ""
    rows: Sequence[tuple[str, ...]] = ()


def print_page(found: Examination) -> None:
    """Print an examination to stdout. Raises: StorageError."""
    sections = list(sections_of(found))
    if not sys.stdout.isatty():
        for section in sections:
            for line in _lines(section):
                write_stdout(line)
        return
    from mirrorsync.cli.output.rich_page import print_sections

    print_sections([(_head(section), [_row(cells) for cells in _aligned(section.rows)]) for section in sections])


def sections_of(found: Examination) -> Iterator[Section]:
    """Yield the sections of the page, from the top."""
    where = found.reference.location
    yield Section("name", str(where))
    if found.reference.tag is not None:
        yield Section("tag", found.reference.tag)
    if found.root is not None:
        root = found.root.descriptor
        yield Section("digest", str(root.digest))
        yield Section("type", _kind(found.root.media_type))
        yield from _members(found.members)
        if found.members:
            yield from _texts("annotations", list(found.root.annotations.items()))
    if found.image is not None:
        is_root = found.root is not None and found.root.digest == found.image.manifest.digest
        yield from _image(found.image, is_root=is_root)
    if found.attached:
        yield Section("attached", rows=[_attachment(one) for one in found.attached])
    if found.tags:
        yield _tags(found.tags)


def _kind(media_type: str) -> str:
    return f"{_KINDS[media_type]} ({media_type})" if media_type in _KINDS else media_type


def _members(members: Sequence[Member]) -> Iterator[Section]:
    if members:
        platforms = {member.content.digest: _platform(member.content) for member in members}
        yield Section("platforms", rows=[_member(member, platforms) for member in members])


def _member(member: Member, platforms: Mapping[Digest, str]) -> tuple[str, ...]:
    if member.kind == "attestation":
        about = platforms.get(member.attests, str(member.attests)) if member.attests else "an unknown image"
        return f"attestation of {about}", str(member.content.digest)
    shown = _platform(member.content)
    if member.kind == "other":
        shown = f"{shown} ({member.content.media_type})"
    return shown, str(member.content.digest), *(("index",) if member.kind == "index" else ())


def _platform(content: Descriptor) -> str:
    if content.platform is None or not (content.platform.os or content.platform.architecture):
        return "no platform"
    version = content.platform.os_version
    return f"{content.platform} {version}" if version else str(content.platform)


def _image(image: Inspected, *, is_root: bool) -> Iterator[Section]:
    """Yield the sections of one image. is_root: its digest and type are already on the page."""
    config, manifest = image.config, image.manifest
    if not is_root:
        platform = f"{config.platform} " if config and config.platform else ""
        yield Section("image", f"{platform}{manifest.digest}")
        yield Section("image type", _kind(manifest.media_type))
    elif config and config.platform:
        yield Section("platform", str(config.platform))
    if not is_image(manifest):
        yield Section("artifact", manifest.artifact_type or "unknown type")
    if config is not None:
        facts = {"created": config.created, "author": config.author, "user": config.user}
        facts |= {"entrypoint": " ".join(config.entrypoint), "command": " ".join(config.cmd)}
        yield from (Section(label, value) for label, value in facts.items() if value)
        yield from _texts("environment", [tuple(text.split("=", 1)) for text in config.env])
        yield from _texts("labels", list(config.labels.items()))
    yield from _texts("annotations", list(manifest.annotations.items()))
    rows = [_layer(one) for one in image.layers]
    if is_image(manifest):
        yield Section("layers", f"{len(rows)}, {decimal(image.size)} compressed", rows)
    else:
        yield Section("content", decimal(image.size), rows)


def _texts(label: str, rows: Sequence[tuple[str, ...]]) -> Iterator[Section]:
    if rows:
        yield Section(label, rows=rows)


def _layer(layer: Descriptor) -> tuple[str, ...]:
    title = layer.annotations.get(_TITLE, "")
    return str(layer.digest), decimal(layer.size), layer.media_type, *((title,) if title else ())


def _attachment(one: Attachment) -> tuple[str, ...]:
    return one.kind, str(one.content.digest), one.tag or one.artifact_type or "unknown type"


def _tags(tags: Sequence[str]) -> Section:
    more = f" and {len(tags) - _TAGS_SHOWN} more: see mirrorsync list-tags" if len(tags) > _TAGS_SHOWN else ""
    return Section("tags", f"{len(tags)}: {', '.join(tags[:_TAGS_SHOWN])}{more}")


def _lines(section: Section) -> Iterator[str]:
    label, value = _head(section)
    yield f"{label.ljust(_LABEL_WIDTH)}  {value}".rstrip()
    yield from map(_row, _aligned(section.rows))


def _head(section: Section) -> tuple[str, str]:
    return section.label, printable(section.value, LINE_LIMIT)


def _row(cells: Sequence[str]) -> str:
    return f"  {'  '.join(cells)}".rstrip()


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """Return rows with aligned columns; cells that are longer than a line are cut."""
    shown = [[printable(cell, _VALUE_LIMIT) for cell in row] for row in rows]
    columns = max((len(row) for row in shown), default=0)
    widths = [max((len(row[number]) for row in shown if number < len(row)), default=0) for number in range(columns)]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=False)] for row in shown]
