"""Images in Kubernetes manifests, `helm template` output, values.yaml, compose files, and lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mirrorsync.foreign.draft import Draft, Entry, shown
from mirrorsync.foreign.yaml_documents import mapping, mappings, text, texts
from mirrorsync.oci.names import looks_like_host
from mirrorsync.problems import Problem
from mirrorsync.spec.image_list import list_lines

# A reference that is nothing else: a host with a dot or a port, a path, and a tag or digest. Docker's short names are
# taken only where an image is expected: `bash:5` in the arguments of a program may be anything.
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?"
_UNMISTAKABLE: Final = re.compile(
    rf"(?:--?[A-Za-z][\w.-]*=)?(?P<image>(?:(?:{_LABEL}\.)+[a-z]{{2,63}}|localhost|[0-9.]{{7,15}}(?=:))(?::[0-9]{{1,5}})?"
    r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?)"
)
# Names that only a cluster resolves: a service and its path, not a registry.
_IN_CLUSTER: Final = (".svc", ".local", ".internal")
_MAX_TEXT: Final = 600
# The keys of an image that is written in parts, next to that of its name: `repository`, or `image` without a tag.
TAGS: Final = ("tag", "imageTag")
_OTHER_PARTS: Final = ("registry", *TAGS, "digest")
IMAGE_PARTS: Final = ("repository", "image", *_OTHER_PARTS)
# Next to these, a `repository` is that of an image, also without a tag: that of git is not.
_OF_IMAGES: Final = frozenset(("tag", "digest", "pullPolicy", "registry"))


@dataclass(frozen=True, slots=True)
class Found:
    """An image in a document. key: what it is under: `image`, or the name of a variable or an argument.

    texts: the scalars it is made of, by their keys: that of `key` alone, or those of its parts. tagged: False if the
    document leaves the tag to another program, as a values.yaml with an empty one leaves it to the chart. replaces: the
    name in other files that it replaces, written before it with a `=`. trouble: why it cannot be replaced.
    """

    image: str
    key: str
    texts: Mapping[str, str]
    tagged: bool = True
    replaces: str = ""
    trouble: str = ""


def is_kubernetes(value: Any) -> bool:
    """Return whether a document is a Kubernetes object, or a list of them."""
    return bool(text(mapping(value).get("kind")) and text(mapping(value).get("apiVersion")))


def read_kubernetes(value: Any) -> Draft:
    """Read the images of an object: every `image:`, and elsewhere (environment, arguments) what can be nothing else."""
    draft = Draft()
    name = text(mapping(value.get("metadata")).get("name"))
    where = f"{shown(text(value.get('kind')), 40)} {shown(name, 80)}".strip()
    for found in images_in(value):
        _add(draft, found, f" of {where}")
    return draft


def images_in(value: Any, key: str = "") -> Iterator[Found]:
    """Yield the images of a document, or of a part of one that is under `key`."""
    if isinstance(value, dict):
        parts = _parts(value)
        if parts:
            yield of_parts(parts)
        for name, member in value.items():
            if name in parts:
                continue
            if name == "image" and isinstance(member, str) and member:
                yield Found(member, "image", {"image": member})
            else:
                # `{name: X, value: image}` is an environment variable: X says more than "value".
                yield from images_in(member, text(value.get("name")) or name if name == "value" else name)
    elif isinstance(value, list):
        for member in value:
            yield from images_in(member, key)
    elif isinstance(value, str) and len(value) <= _MAX_TEXT:
        found = _UNMISTAKABLE.fullmatch(value)
        if found and _has_version(found["image"]):
            yield Found(found["image"], key, {key: value})


def _has_version(image: str) -> bool:
    host, _, path = image.partition("/")
    return not host.partition(":")[0].endswith(_IN_CLUSTER) and (":" in path or "@" in path)


def without_version(image: str) -> str:
    """Return what an image is written with before its tag and digest."""
    bare = image.partition("@")[0]
    path, colon, tag = bare.rpartition(":")
    return path if colon and "/" not in tag else bare


def is_versioned(image: str) -> bool:
    """Return whether an image is written with a tag or a digest."""
    return without_version(image) != image


def _parts(value: dict[str, Any]) -> dict[str, str]:
    """Return the texts of an image in parts, as values.yaml and operators write it, by their keys; {} if it is not."""
    repository, image = text(value.get("repository")), text(value.get("image"))
    others = [key for key in _OTHER_PARTS if key in value]
    if repository:
        is_image = "://" not in repository and not _OF_IMAGES.isdisjoint(value)
        return {key: text(value[key]) for key in ("repository", *others)} if is_image else {}
    if looks_like_host(image.partition("/")[0] if "/" in image else ""):
        others = [key for key in others if key != "registry"]  # it is of something else
    if image and ((text(value.get("registry")) and "registry" in others) or _lacks_tag(image, others)):
        return {key: text(value[key]) for key in ("image", *others)}
    return {}


def _lacks_tag(image: str, others: Sequence[str]) -> bool:
    return not is_versioned(image) and not set(others).isdisjoint(TAGS)


def of_parts(parts: Mapping[str, str]) -> Found:
    """Return the image of parts. parts: the texts by their keys: `repository` or `image`, and others."""
    name = parts.get("repository") or parts["image"]
    name = f"{parts['registry']}/{name}" if parts.get("registry") else name
    if is_versioned(name):
        return Found(name, "image", parts)
    tag, digest = next((parts[key] for key in TAGS if parts.get(key)), ""), parts.get("digest", "")
    image = f"{name}{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}"
    return Found(image, "image", parts, is_versioned(image))


def is_values(value: Any) -> bool:
    """Return whether a document is a values.yaml, or anything else with images in it."""
    return any(True for _ in images_in(value))


def read_values(value: Any) -> Draft:
    """Read the images of a values.yaml. An empty tag is the chart's appVersion, which is not in the file."""
    draft = Draft()
    for found in images_in(value):
        _add(draft, found)
    return draft


def _add(draft: Draft, found: Found, where: str = "") -> None:
    """Add an image to a draft; where: what it is in, for notes."""
    if found.tagged:
        note = () if found.key == "image" else (f"{shown(found.image, 200)}: in {shown(found.key, 60)}{where}",)
        draft.image(found.image, Entry("", notes=note))
    else:
        draft.note(f"{shown(found.image)} has no tag: its chart's appVersion is taken; `helm template` shows it")


# ${NAME:-default} and ${NAME-default} of compose.
_DEFAULT: Final = re.compile(r"\$\{\w+:?-([^${}]*)\}")
# A context of a build that is an image (compose-spec, build.md; of a list `NAME=docker-image://IMAGE`).
_IMAGE_CONTEXT: Final = "docker-image://"


def is_compose(value: Any) -> bool:
    """Return whether a document is a compose file."""
    services = list(mapping(mapping(value).get("services")).values())
    return any(isinstance(service, dict) and ("image" in service or "build" in service) for service in services)


def read_compose(value: Any) -> Draft:
    """Read the images of a compose file, with the defaults of its variables."""
    draft = Draft()
    for name, members in value["services"].items():
        service = mapping(members)
        options = {"platforms": [service["platform"]]} if text(service.get("platform")) else {}
        for found in _of_service(service):
            _add_compose(draft, found, options)
        if service.get("build"):
            image = shown(_DEFAULT.sub(r"\1", text(service.get("image"))), 200)
            draft.note(f"service {shown(name, 60)}: the image{f' {image}' if image else ''} is built, not pulled")
    for found in _models(value):
        _add_compose(draft, found, {})
    return draft


def _add_compose(draft: Draft, found: Found, options: Mapping[str, Any]) -> None:
    image = _DEFAULT.sub(r"\1", found.image)
    notes = [f"{shown(found.image, 200)}: with the defaults of its variables"] if image != found.image else []
    draft.image(image, Entry("", options=options, notes=tuple(notes)))


def images_of_compose(value: Any) -> Iterator[Found]:
    """Yield the images that a compose file pulls; what it builds is named there, and not pulled."""
    for service in mapping(value["services"]).values():
        yield from _of_service(mapping(service))
    yield from _models(value)


def _of_service(service: dict[str, Any]) -> Iterator[Found]:
    """Yield the image of a service, those that it mounts, and those that its build takes files from."""
    build, image = service.get("build"), text(service.get("image"))
    if image and not build:
        yield Found(image, "image", {"image": image})
    for volume in mappings(service.get("volumes")):
        source = text(volume.get("source"))
        if source and volume.get("type") == "image":
            yield Found(source, "source", {"source": source})
    contexts = mapping(build).get("additional_contexts")
    for context in texts(list(contexts.values()) if isinstance(contexts, dict) else contexts):
        _, scheme, image = context.partition(_IMAGE_CONTEXT)
        if scheme:
            yield Found(image, "additional_contexts", {"additional_contexts": context})


def _models(value: Any) -> Iterator[Found]:
    """Yield the models of a compose file, which registries have as artifacts."""
    for model in mapping(value.get("models")).values():
        name = text(mapping(model).get("model"))
        if name:
            yield Found(name, "model", {"model": name})


def is_list(value: Any) -> bool:
    """Return whether a document is a list of images: one text of many lines, or a list of texts."""
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and len(texts(value)) == len(value))


def read_list(value: Any) -> Draft:
    """Read a list of images that is YAML or JSON: `["nginx:1.27"]`."""
    draft = Draft()
    for image in texts(value):
        draft.image(image)
    return draft


def read_lines(lines: bytes) -> tuple[Draft, int]:
    """Read an image list; return also how many of its lines are not images. These become notes."""
    draft, wrong = Draft(), 0
    for line in list_lines(lines):
        if isinstance(line, Problem):
            wrong += 1
            draft.note(f"line {line.line} is not an image: {line.message}")
            continue
        if not line.reference.location.transport.is_registry:
            draft.entries.append(Entry(str(line.reference)))
            continue
        draft.image(str(line.reference), Entry("", name=line.target))
    return draft, wrong
