"""Lines of `skopeo sync`, answered with the spec that does the same, and skopeo's other commands with words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from mirrorsync.app.reading import HOST_PLATFORM, read_platform
from mirrorsync.cli.output.stdio import write_stdout
from mirrorsync.cli.skopeo.options import SYNC, skopeo_options
from mirrorsync.errors import UsageError
from mirrorsync.oci.reference import Reference, parse_destination, parse_image
from mirrorsync.text import printable

F = TypeVar("F", bound=Callable[..., Any])

# skopeo's other commands, and what does the same.
ANSWERS: Final[Mapping[str, str]] = {
    "sync": "Write the whole line of `skopeo sync`, and it is answered with a spec for `mirrorsync apply`.",
    "manifest-digest": 'Write: echo "sha256:$(sha256sum < FILE | cut -d" " -f1)"',
    "standalone-sign": "Nothing is signed here; use `cosign sign`, or skopeo.",
    "standalone-verify": "Signatures are not checked here; use `cosign verify`, or skopeo.",
    "generate-sigstore-key": "Nothing is signed here; use `cosign generate-key-pair`, or skopeo.",
    "layers": "`mirrorsync copy REF oci:DIR` writes the layers to DIR/blobs.",
    "experimental-image-proxy": "Only skopeo is a proxy for other programs.",
}

# Options of one side: what is in them belongs to the host, and not to an image.
_LOGIN: Final = ("creds", "username", "password", "registry-token")


@dataclass(frozen=True, slots=True)
class _Side:
    """The source or the destination of a line. host: "" if it is not a registry. options: those of this side."""

    host: str
    options: Mapping[str, Any]

    def settings(self) -> Iterator[str]:
        """Yield the settings of the host, as in a spec."""
        if self.options["cert_dir"]:
            yield f"cert_dir: {json.dumps(self.options['cert_dir'])}"
        if self.options["tls_verify"] is False:
            yield "plain_http: true"


def _options_of_sides(function: F) -> F:
    for side in ("src", "dest"):
        for name in ("authfile", "cert-dir", *_LOGIN):
            function = click.option(f"--{side}-{name}")(function)
        function = click.option(f"--{side}-tls-verify", type=bool)(function)
    for name in ("authfile", "digestfile", "override-os", "override-arch", "override-variant"):
        function = click.option(f"--{name}")(function)
    return function


@click.command("sync", help="Answer a line of `skopeo sync` with the spec that does the same.")
@click.argument("source")
@click.argument("destination")
@click.option("-s", "--src")
@click.option("-d", "--dest")
@click.option("-a", "--all", "everything", is_flag=True)
@click.option("--scoped", is_flag=True)
@click.option("--dry-run", is_flag=True)
@_options_of_sides
@skopeo_options(SYNC)
def sync_command(source: str, destination: str, src: str | None, dest: str | None, **options: Any) -> None:
    """Print the spec that does what the line of `skopeo sync` says. Raises: UsageError, always: nothing was synced."""
    if src == "yaml":
        raise UsageError("what is mirrored is in a spec", remedy=f"mirrorsync init --from {printable(source, 200)}")
    if src == "dir":
        raise UsageError(
            "a directory of skopeo's is not a source of a spec",
            remedy=f"mirrorsync copy dir:{printable(source, 200)}/NAME docker://..., for each NAME in it",
        )
    if src != "docker" or dest not in ("docker", "dir"):
        raise UsageError(
            "`skopeo sync` needs --src docker, dir or yaml, and --dest docker or dir",
            remedy="for the images of a spec, it is `mirrorsync apply`",
        )
    image = parse_image(source)
    target = f"oci:{destination}" if dest == "dir" else destination
    store = parse_destination(target)
    hosts = image.location.store, store.store if store.transport.is_registry else ""
    sides = [_Side(host, _of(side, options)) for host, side in zip(hosts, ("src", "dest"), strict=True)]
    for line in _spec(image, target, sides, options):
        write_stdout(line)
    raise UsageError(
        "what is mirrored is in a spec, and that of this line is on standard output",
        remedy="; ".join(_next(sides, options)),
    )


def _of(side: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(f"{side}_"): value for name, value in options.items() if name.startswith(f"{side}_")}


def _spec(image: Reference, target: str, sides: list[_Side], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the spec."""
    yield "version: 1"
    hosts = {side.host: ", ".join(side.settings()) for side in sides if side.host}
    if any(hosts.values()):
        yield "registries:"
        yield from (f'  "{host}": {{{settings}}}' for host, settings in hosts.items() if settings)
    yield "destinations:"
    yield f"  copy: {json.dumps(target)}"
    yield "mirrors:"
    yield f"  - from: {image.location}"
    ref = image.digest or image.tag
    yield "    tags: {all: true}" if ref is None else f'    tags: ["{ref}"]'
    yield "    to: [copy]"
    yield f"    name: {json.dumps('{host}/{repository}' if options['scoped'] else '{basename}')}"
    if not options["everything"]:
        yield f"    platforms: [{_platform(options)}] # without --all, skopeo copies one"


def _platform(options: Mapping[str, Any]) -> str:
    host = read_platform(HOST_PLATFORM)
    named = (options["override_os"], options["override_arch"], options["override_variant"])
    return "/".join(part for part in (named[0] or host.os, named[1] or host.architecture, named[2]) if part)


def _next(sides: list[_Side], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else to do."""
    yield f"save it as mirror.yaml, and run: mirrorsync {'plan' if options['dry_run'] else 'apply'}"
    for side in sides:
        if side.host and any(side.options[name.replace("-", "_")] for name in _LOGIN):
            yield f"log in once: mirrorsync login {side.host}"
        if side.options["tls_verify"] is False:
            yield f"if {side.host} has TLS, write insecure_skip_verify instead of plain_http"
    if options["authfile"] or any(side.options["authfile"] for side in sides):
        yield "set REGISTRY_AUTH_FILE to the auth file"
    if options["digestfile"]:
        yield "`apply --json` prints the digests"
    if not sides[1].host:
        yield "the images are in one layout, where skopeo makes a directory of each"
