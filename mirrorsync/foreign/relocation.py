"""Image references in Kubernetes YAML, values.yaml and compose files, and the same files with other references.

Only the references change: every other byte stays as it is, with comments, quotes and indentation. A YAML writer would
keep the comments and still break lines and quotes in another way, and the diff for a review would show all of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.foreign.draft import reference, shown
from mirrorsync.foreign.manifests import Found, images_in, is_compose
from mirrorsync.foreign.yaml_documents import NotYaml, Written, documents, mapping, text
from mirrorsync.oci.reference import Reference

_BOM: Final = "\ufeff"
_BLOCK: Final = ("|", ">")


@dataclass(frozen=True, slots=True)
class Use:
    """A place in a file that names an image. image: as it is written there. key: what it is under; line: from 1.

    reference: None if it cannot be read; trouble: then why, also if it can be read but not be replaced.
    """

    image: str
    key: str
    line: int
    reference: Reference | None
    trouble: str = ""
    _texts: Mapping[str, Written] = field(default_factory=dict)

    @property
    def where(self) -> tuple[int, ...]:
        """The characters of the file at which its texts start."""
        return tuple(one.start for one in self._texts.values())

    def edits(self, target: Reference) -> Iterator[tuple[int, int, str, str]]:
        """Yield what is replaced so that it names `target`: the range of characters, the old text in it, the new."""
        if "repository" not in self._texts:
            one = self._texts[self.key]
            yield one.start, one.end, self.image, str(target)
            return
        store, repository = target.location.store, target.location.repository
        parts = {"repository": repository if "registry" in self._texts else f"{store}/{repository}", "registry": store}
        if target.tag is not None:
            parts["tag"] = target.tag
        if target.digest is not None:
            # Charts without a key for the digest put it after the tag, where Kubernetes accepts it.
            parts |= {"digest": target.digest} if "digest" in self._texts else {"tag": f"{target.tag}@{target.digest}"}
        for key, written in self._texts.items():
            if key in parts and parts[key] != written:
                yield written.start, written.end, str(written), parts[key]


def find_images(data: bytes, name: str) -> tuple[Use, ...]:
    """Return the images that a file names, in the order of the file. name: of the file, for errors.

    Raises: UsageError if it is not YAML, with the remedy for a template.
    """
    try:
        values = documents(data, name, Written.of)
    except NotYaml as error:
        remedy = "it has templates: give the output of `helm template`" if b"{{" in data else "check its syntax"
        raise UsageError(f"{shown(name)} is not YAML: {error}", remedy=remedy) from error
    # The image of an anchor is found once for each alias.
    uses = {use.where: use for value in values for use in _uses(value)}
    return tuple(sorted(uses.values(), key=lambda use: use.line))


def _uses(value: Any) -> Iterator[Use]:
    if not is_compose(value):
        yield from (_use(found) for found in images_in(value))
        return
    for service in mapping(value["services"]).values():
        written = text(mapping(service).get("image"))
        # What is built is named, and not pulled.
        if written and not mapping(service).get("build"):
            yield _use(Found(written, "image", {"image": written}))


def _use(found: Found) -> Use:
    texts = {key: one for key, one in found.texts.items() if isinstance(one, Written)}
    line = min((one.line for one in texts.values()), default=0)
    try:
        named = reference(found.image).or_latest()
    except GrammarError as error:
        return Use(found.image, found.key, line, None, error.message, texts)
    if named.location.transport.is_registry and all(one.style not in _BLOCK for one in texts.values()):
        return Use(found.image, found.key, line, named, "", texts)
    return Use(found.image, found.key, line, named, "it is a block of text, or not an image of a registry", texts)


def replaced(data: bytes, targets: Iterable[tuple[Use, Reference]]) -> bytes:
    """Return a file with other images in the place of some. targets: uses that `find_images` returned for this file.

    Raises: UsageError if an image is not in the file letter by letter: with escapes, or over several lines; or if two
    images share a text by an anchor, and it would be another one for each.
    """
    whole = data.decode("utf-8")
    mark = _BOM if whole.startswith(_BOM) else ""
    old = whole.removeprefix(_BOM)
    made, end = [mark], 0
    edits = sorted({edit: use for use, target in targets for edit in use.edits(target)}.items(), key=lambda one: one[0])
    for (start, stop, before, after), use in edits:
        span = old[start:stop]
        if start < end:
            raise UsageError(
                f"line {use.line}: {shown(use.image)} shares a text with another image, and cannot be replaced alone",
                remedy="write its anchor out",
            )
        if before and before not in span:
            raise UsageError(
                f"line {use.line}: {shown(use.image)} is written with escapes, or over several lines",
                remedy="write it plainly",
            )
        made += [old[end:start], span.replace(before, after, 1) if before else f'"{after}"']
        end = stop
    return "".join([*made, old[end:]]).encode()
