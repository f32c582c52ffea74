"""What `skopeo inspect` and `skopeo list-tags` print, of our answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from mirrorsync.app.images import Examination, Inspected, inspect_image
from mirrorsync.app.reading import HOST_PLATFORM, read_platform
from mirrorsync.cli.output.console import Console
from mirrorsync.cli.output.stdio import write_stdout
from mirrorsync.cli.sessions import run
from mirrorsync.cli.skopeo.go_values import NO_TIME, Moment, indented
from mirrorsync.cli.skopeo.template import parse
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.oci import media_types
from mirrorsync.oci.names import split_image_name
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Location, Reference

JSON: Final = "json"
# In skopeo's order.
NAMES: Final = (
    "Name", "Tag", "Digest", "RepoTags", "Created", "DockerVersion", "Labels", "Architecture", "Os", "Layers",
    "LayersData", "Env",
)  # fmt: skip
_OF_THE_ROOT: Final = frozenset({"Name", "Tag", "Digest", "RepoTags"})


def print_formatted(
    console: Console,
    image: Reference,
    form: str,
    platform: Platform | None,
    environment: Environment,
    *,
    tags: bool,
) -> None:
    """Print an image as skopeo does. form: `json`, or a template. platform: None = this machine's, if it is an index.

    Raises: UsageError for a template that is not supported; as `inspect_image`.
    """
    template = None if form == JSON else parse(form, NAMES)
    names = frozenset(NAMES) if template is None else template.names
    # skopeo lists tags of registries only.
    asked = partial(inspect_image, image, tags=tags and "RepoTags" in names and image.location.transport.is_registry)
    found = run(console, partial(asked, platform=platform), environment)
    if found.root is None:
        # A repository without `latest` has only tags, and skopeo does not show it.
        raise UsageError(f"{image} has no tag latest", remedy="write the tag, or use list-tags")
    if found.image is None and names - _OF_THE_ROOT:
        found = run(console, partial(asked, platform=read_platform(HOST_PLATFORM)), environment)
    values = _values(found)
    write_stdout(indented(values) if template is None else template.render(values).removesuffix("\n"))


def print_tags(location: Location, names: Iterable[str]) -> None:
    """Print tags as `skopeo list-tags` does: of a registry alone, of an archive with the whole names."""
    repository = {"Repository": str(location)} if location.transport.is_registry else {}
    whole = _whole_name if location.store.startswith("docker-archive:") else str
    write_stdout(indented({**repository, "Tags": [whole(name) for name in names]}))


def _whole_name(name: str) -> str:
    """Return a name in a docker archive with its host: docker.io/library/app:1 for `app:1`; `@0` as it is."""
    if name.startswith("@"):
        return name
    host, repository, tag, _ = split_image_name(name)
    return f"{host}/{repository}:{tag}"


def _values(found: Examination) -> Mapping[str, Any]:
    """Return skopeo's values of an image. What a config lacks is null, as there."""
    where = found.reference.location
    values: dict[str, Any] = {
        "Name": str(where) if where.transport.is_registry else "",
        "Digest": str(found.root.descriptor.digest) if found.root is not None else "",
        "RepoTags": list(found.tags or ()),
    }
    if found.image is not None:
        values |= _of_image(found.image)
    if not values["Name"]:
        del values["Name"]  # as skopeo leaves it out
    return {name: values[name] for name in NAMES if name in values}


def _of_image(image: Inspected) -> dict[str, Any]:
    config = image.config
    if config is None:
        raise UsageError("this is an artifact and not an image", remedy="leave out --format, or write --raw")
    is_oci = image.manifest.media_type == media_types.OCI_MANIFEST
    created = config.created or (None if is_oci else NO_TIME)
    return {
        "Created": None if created is None else Moment(created),
        "DockerVersion": "" if is_oci else config.docker_version,
        "Labels": dict(sorted(config.labels.items())) or None,
        "Architecture": config.platform.architecture if config.platform else "",
        "Os": config.platform.os if config.platform else "",
        "Layers": [str(layer.digest) for layer in image.layers],
        "LayersData": [
            {
                "MIMEType": layer.media_type,
                "Digest": str(layer.digest),
                "Size": layer.size,
                "Annotations": dict(sorted(layer.annotations.items())) or None,
            }
            for layer in image.layers
        ],
        "Env": list(config.env) or None,
    }
