"""The names of entries in index.json, as mirrorsync and other tools write them.

mirrorsync, podman and crane write the whole name into one annotation. docker (25 and newer), containerd and buildkit
write only the tag there, and the whole name into an annotation of their own: two images with the tag `latest` differ in
nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.descriptor import REF_NAME, Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import DOCKER_HUB, split_image_name, split_ref_name
from mirrorsync.oci.ref import Tag, written

CONTAINERD_NAME: Final = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Name:
    """The name of an entry: a repository ("" if another tool wrote it without one), and a tag or digest."""

    repository: str
    ref: Tag | Digest

    def __str__(self) -> str:
        return written(self.repository, self.ref)


def ref_name(annotations: Mapping[str, str]) -> Name | None:
    """Return the name in the annotation of the image spec, None if there is no name that we know."""
    try:
        repository, tag, digest = split_ref_name(annotations.get(REF_NAME, ""))
    except GrammarError:
        return None
    # No tool writes the name `repository:tag@digest`; as one of ours it would be ambiguous.
    ref = tag if digest is None else digest if tag is None else None
    return Name(repository, ref) if ref is not None else None


def containerd_name(annotations: Mapping[str, str]) -> Name | None:
    """Return the name in containerd's annotation, without the host if that is Docker Hub; None if there is no name."""
    text = annotations.get(CONTAINERD_NAME)
    if text is None:
        return None
    try:
        host, repository, tag, digest = split_image_name(text)
    except GrammarError:
        return None
    name = repository if host == DOCKER_HUB else f"{host}/{repository}"
    return Name(name, tag) if tag is not None and digest is None else None


def own_name(annotations: Mapping[str, str]) -> Name | None:
    """Return the name of an entry that is written as mirrorsync writes it, None if another tool's form counts."""
    name = ref_name(annotations)
    return None if name is not None and not name.repository and containerd_name(annotations) is not None else name


class OtherEntries:
    """The entries that are not written as mirrorsync writes them, or have a name that another entry has, too.

    named: their content by name and digest; two digests of one name are two images that nothing tells apart. aliases:
    by the tag alone, of entries that containerd's annotation gives a whole name. unnamed: the other well-formed
    entries, with the name as it is written ("" without one).
    """

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self.named: defaultdict[Name, dict[Digest, Descriptor]] = defaultdict(dict)
        self.aliases: defaultdict[Name, dict[Digest, Descriptor]] = defaultdict(dict)
        self.unnamed: list[tuple[str, Descriptor]] = []
        for entry in entries:
            with suppress(GrammarError):
                content = Descriptor.from_json(entry)
                self._add(content.annotations, content.bare())

    def _add(self, annotations: Mapping[str, str], content: Descriptor) -> None:
        name = primary_name(annotations)
        if name is None:
            text = annotations.get(REF_NAME) or annotations.get(CONTAINERD_NAME, "")
            self.unnamed.append((text, content))
            return
        self.named[name][content.digest] = content
        alias = ref_name(annotations)
        if alias is not None and alias != name:
            self.aliases[alias][content.digest] = content


def primary_name(annotations: Mapping[str, str]) -> Name | None:
    """Return the name that an entry is listed under, None if it has no name that we know."""
    return own_name(annotations) or containerd_name(annotations)
