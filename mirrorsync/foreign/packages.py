"""Specs and lock files of tools that carry images in packages: hauler, Zarf, oc-mirror, imgpkg; and kpromo's lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mirrorsync.errors import GrammarError
from mirrorsync.foreign.draft import Draft, Entry, escaped, reference, shown, split_target, without_equal
from mirrorsync.foreign.yaml_documents import mapping, mappings, text, texts, true
from mirrorsync.oci.names import looks_like_host

# hauler (pkg/apis/hauler.cattle.io/v1): an annotation is the default of the field of the same name.
_HAULER: Final = "hauler.dev/"
_HAULER_KEYS: Final = ("name", "platform", "rewrite", "exclude-extras", "local")
_HAULER_KINDS: Final = {"Charts": "charts", "Files": "files"}


def is_hauler(value: Any) -> bool:
    """Return whether a document is a manifest of hauler."""
    return text(mapping(value).get("apiVersion")).startswith("content.hauler.cattle.io/")


def read_hauler(value: Any) -> Draft:
    """Read a manifest of hauler. It also copies signatures unless exclude-extras is set."""
    draft = Draft()
    kind, spec = text(value.get("kind")), mapping(value.get("spec"))
    for member in mappings(spec.get(_HAULER_KINDS.get(kind, ""))):
        listed = " ".join(
            shown(text(member.get(key)), 80) for key in ("name", "repoURL", "path", "version") if member.get(key)
        )
        draft.note(f"hauler's {kind[:-1].lower()} is not an image: {listed}")
    annotations = mapping(mapping(value.get("metadata")).get("annotations"))
    defaults = {key.removeprefix(_HAULER): found for key, found in annotations.items() if key.startswith(_HAULER)}
    for note in without_equal("hauler", defaults, (*_HAULER_KEYS, "registry")):
        draft.note(note)
    for image in mappings(spec.get("images")) if kind == "Images" else ():
        _hauler_image({**defaults, **image}, image, draft)
    return draft


def _hauler_image(members: Mapping[str, Any], own: Mapping[str, Any], draft: Draft) -> None:
    name = text(members.get("name"))
    if true(members.get("local")):
        draft.daemon(name)
        return
    registry = text(members.get("registry"))
    first, slash, _ = name.partition("/")
    if registry and not (slash and looks_like_host(first)):
        name = f"{registry}/{name}"
    options: dict[str, Any] = {} if true(members.get("exclude-extras")) else {"referrers": True}
    if text(members.get("platform")):
        options["platforms"] = [text(members["platform"])]
    _, path, tag = split_target(text(members.get("rewrite")))
    path = path or text(members.get("rewrite")).strip("/").partition(":")[0]
    notes = without_equal("hauler", own, _HAULER_KEYS)
    draft.image(name, Entry("", name=path, tag=tag, options=options, notes=tuple(notes)))


# Zarf (src/api/v1alpha1/component.go, v1beta1/component.go).
def is_zarf(value: Any) -> bool:
    """Return whether a document is a package of Zarf."""
    return text(mapping(value).get("kind")) in ("ZarfPackageConfig", "ZarfInitConfig")


def read_zarf(value: Any) -> Draft:
    """Read the images of a package of Zarf."""
    draft = Draft()
    for component in mappings(value.get("components")):
        name = shown(text(component.get("name")), 60)
        notes = (
            [f"only in component {name} of Zarf, which has conditions (only:)"]
            if mapping(component.get("only"))
            else []
        )
        for image in component.get("images") or ():
            members = mapping(image)
            if members.get("source") == "daemon":
                draft.daemon(text(members.get("name")))
            else:
                draft.image(text(members.get("name")) or text(image), Entry("", notes=tuple(notes)))
        for archive in mappings(component.get("imageArchives")):
            path = text(archive.get("path"))
            for image in texts(archive.get("images")):
                draft.note(
                    f"{shown(image)} is in the archive {shown(path)}: write from: oci-archive:{shown(path)}:NAME"
                )
        for key in ("charts", "manifests", "repos", "files"):
            if component.get(key):
                draft.note(f"component {name}: Zarf's {key} are not images: add theirs with `mirrorsync init --from`")
        if mapping(component.get("import")):
            draft.note(f"component {name} is imported from another package of Zarf: add that package, too")
    return draft


# oc-mirror v2 (internal/pkg/api/v2alpha1/type_config.go).
def is_oc_mirror(value: Any) -> bool:
    """Return whether a document is an ImageSetConfiguration."""
    return text(mapping(value).get("kind")) == "ImageSetConfiguration"


def read_oc_mirror(value: Any) -> Draft:
    """Read additionalImages; releases, catalogs and charts are resolved by oc-mirror alone."""
    draft = Draft()
    for note in without_equal("oc-mirror", value, ("apiVersion", "kind", "mirror", "metadata")):
        draft.note(note)
    mirror = mapping(value.get("mirror"))
    for key, what in (
        ("platform", "releases"),
        ("operators", "catalogs of operators"),
        ("helm", "charts"),
        ("samples", "samples"),
    ):
        if mirror.get(key):
            draft.note(
                f"{key}: only oc-mirror finds the images of {what}; `oc-mirror --dry-run` lists them (mapping.txt)"
            )
    blocked = [text(image.get("name")) for image in mappings(mirror.get("blockedImages"))]
    for image in mappings(mirror.get("additionalImages")):
        name = text(image.get("name"))
        if name in blocked:
            draft.note(f"{shown(name)} is in blockedImages")
            continue
        platforms = [
            f"{text(one.get('os')) or 'linux'}/{text(one.get('architecture'))}"
            for one in mappings(image.get("platforms"))
        ]
        options = {"platforms": platforms} if platforms else {}
        draft.image(
            name, Entry("", name=text(image.get("targetRepo")), tag=text(image.get("targetTag")), options=options)
        )
    for name in blocked:
        draft.note(f"blockedImages: {shown(name, 200)}: remove what it matches")
    return draft


# imgpkg (pkg/imgpkg/lockconfig).
_KBLD_ID: Final = "kbld.carvel.dev/id"


def is_imgpkg(value: Any) -> bool:
    """Return whether a document is a lock file of imgpkg."""
    return text(mapping(value).get("apiVersion")).startswith("imgpkg.carvel.dev/")


def read_imgpkg(value: Any) -> Draft:
    """Read an ImagesLock or BundleLock. kbld's annotation has the tag that a digest was resolved from."""
    draft = Draft()
    for image in mappings(value.get("images")):
        pinned = text(image.get("image"))
        draft.image(_with_tag(pinned, text(mapping(image.get("annotations")).get(_KBLD_ID))))
    bundle = mapping(value.get("bundle"))
    if bundle:
        pinned, tag = text(bundle.get("image")), text(bundle.get("tag"))
        draft.image(_with_tag(pinned, f"{pinned.partition('@')[0]}:{tag}" if tag else ""))
        draft.note(
            f"the images of the bundle are in it: imgpkg pull -b {shown(pinned)} -o DIR, and add DIR/.imgpkg/images.yml"
        )
    return draft


def _with_tag(pinned: str, tagged: str) -> str:
    """Return a reference by digest with the tag of another reference, if that is of the same repository."""
    try:
        one, other = reference(pinned), reference(tagged)
    except GrammarError:
        return pinned
    same = one.location == other.location and one.digest and not one.tag
    return str(replace(one, tag=other.tag)) if same else pinned


# kpromo (docs/image-promotion.md of promo-tools): the registries are in another file.
_SOURCE: Final = "source.example.com"


def is_kpromo(value: Any) -> bool:
    """Return whether a document is an images.yaml of kpromo, or its older manifest with registries in it."""
    images = mapping(value).get("images") if isinstance(value, dict) else value
    return bool(mappings(images)) and all("dmap" in image and "name" in image for image in mappings(images))


def read_kpromo(value: Any) -> Draft:
    """Read promoted images: digests, each with its tags."""
    draft = Draft()
    registries = mappings(mapping(value).get("registries"))
    host = next((text(registry.get("name")) for registry in registries if true(registry.get("src"))), "")
    if not host:
        host = _SOURCE
        draft.note(f"kpromo has the registries in another file: write the source's host instead of {host}")
    for image in mappings(mapping(value).get("images") if isinstance(value, dict) else value):
        for digest, tags in mapping(image.get("dmap")).items():
            for tag in texts(tags) or [""]:
                draft.image(f"{host}/{text(image.get('name'))}{f':{tag}' if tag else ''}@{digest}")
    for registry in registries:
        if not true(registry.get("src")):
            draft.note(f"kpromo's target: {escaped(shown(text(registry.get('name'))))}")
    return draft
