"""The formats that a spec can be made from: how each is recognised, and what reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mirrorsync.errors import UsageError
from mirrorsync.foreign import dregsy, image_syncer, manifests, packages, regsync, skopeo
from mirrorsync.foreign.draft import Draft, shown
from mirrorsync.foreign.yaml_documents import NotYaml, documents


@dataclass(frozen=True, slots=True)
class Format:
    """name: for --format. title: for people. matches: takes a YAML document. read: takes one that matches.

    tool: whether it is the spec of another tool, which is worth a hint if it is given to us as a spec.
    """

    name: str
    title: str
    matches: Callable[[Any], bool]
    read: Callable[[Any], Draft]
    tool: bool = True


# In the order in which they are tried: the most particular first.
FORMATS: Final = (
    Format("hauler", "hauler manifest", packages.is_hauler, packages.read_hauler),
    Format("zarf", "Zarf package", packages.is_zarf, packages.read_zarf),
    Format("oc-mirror", "oc-mirror ImageSetConfiguration", packages.is_oc_mirror, packages.read_oc_mirror),
    Format("imgpkg", "imgpkg lock file", packages.is_imgpkg, packages.read_imgpkg),
    Format("kubernetes", "Kubernetes manifest", manifests.is_kubernetes, manifests.read_kubernetes),
    Format("regsync", "regsync spec", regsync.is_regsync, regsync.read_regsync),
    Format("dregsy", "dregsy spec", dregsy.is_dregsy, dregsy.read_dregsy),
    Format("compose", "compose file", manifests.is_compose, manifests.read_compose),
    Format("kpromo", "kpromo image list", packages.is_kpromo, packages.read_kpromo),
    Format("skopeo", "skopeo sync spec", skopeo.is_skopeo, skopeo.read_skopeo),
    Format("image-syncer", "image-syncer rules", image_syncer.is_image_syncer, image_syncer.read_image_syncer),
    Format(
        "image-syncer-auth",
        "image-syncer logins",
        image_syncer.is_image_syncer_auth,
        image_syncer.read_image_syncer_auth,
    ),
    Format("values", "values.yaml of a chart", manifests.is_values, manifests.read_values, tool=False),
    Format("list", "image list", manifests.is_list, manifests.read_list, tool=False),
)
NAMES: Final = tuple(known.name for known in FORMATS)
_LIST: Final = FORMATS[-1]
_TITLES: Final = ", ".join(known.title for known in FORMATS)


def recognise(value: Any) -> Format | None:
    """Return the format of a YAML document, None if it is none of them."""
    return next((known for known in FORMATS if known.matches(value)), None)


def tool_of(text: bytes) -> str:
    """Return the title of the other tool's format that a file has, "" if it has none, or cannot be read."""
    try:
        found = [recognise(value) for value in documents(text, "")]
    except (NotYaml, UsageError):
        return ""
    if len(found) and found[0] is not None and found[0].tool:
        return found[0].title
    return _LIST.title if found == [_LIST] and _is_only_images(text) else ""


def _is_only_images(text: bytes) -> bool:
    """Return whether a text is a list of images without doubt: one word could be anything."""
    draft, wrong = manifests.read_lines(text)
    return bool(draft.entries) and not wrong and (b"/" in text or b":" in text)


def read_foreign(text: bytes, name: str, wanted: str = "") -> tuple[Draft, tuple[str, ...]]:
    """Return what a file has, and the titles of its formats. name: of the file, for messages. wanted: its format, by
    name; "" = recognised.

    Raises: UsageError if it is none of the formats, or not the wanted one.
    """
    if b"\0" in text:
        raise _unknown(name, "it is not a text")
    known = next((one for one in FORMATS if one.name == wanted), None)
    try:
        values = [] if known is _LIST else documents(text, name)
        reason = "it is empty"
    except NotYaml as error:
        if known is not None:
            raise UsageError(f"{shown(name)} is not YAML: {error}", remedy=_template_remedy(text)) from error
        values, reason = [], f"as YAML: {error}"
    if known is _LIST or not values or all(isinstance(value, str) for value in values):
        return _read_lines(text, name, reason)
    return _read_documents(values, name, known)


def _read_lines(text: bytes, name: str, reason: str) -> tuple[Draft, tuple[str, ...]]:
    draft, wrong = manifests.read_lines(text)
    if not draft.entries or wrong > len(draft.entries):
        line = f"; as an image list: {draft.notes[0]}" if draft.notes else ""
        raise _unknown(
            name, f"{reason}{line}" if reason != "it is empty" or not line else line.removeprefix("; "), text
        )
    return draft, (_LIST.title,)


def _read_documents(values: Sequence[Any], name: str, known: Format | None) -> tuple[Draft, tuple[str, ...]]:
    draft, titles = Draft(), []
    for number, value in enumerate(values, 1):
        found = known or recognise(value)
        if found is None or not found.matches(value):
            if known is not None:
                raise UsageError(
                    f"{shown(name)} is not a {known.title}", remedy="leave --format out to have it recognised"
                )
            if len(values) == 1:
                raise _unknown(name, "it has no images")
            draft.note(f"document {number} of {shown(name)} has no images")
            continue
        draft.add(found.read(value))
        titles.append(found.title)
    if not titles:
        raise _unknown(name, "its documents have no images")
    return draft, tuple(dict.fromkeys(titles))


def _unknown(name: str, reason: str, text: bytes = b"") -> UsageError:
    message = f"{shown(name)} is in none of the formats that are read: {reason}"
    return UsageError(message, remedy=_template_remedy(text) or f"tried: {_TITLES}; --format NAME says which it is")


def _template_remedy(text: bytes) -> str:
    return "it has templates: give the output of `helm template`" if b"{{" in text else ""
