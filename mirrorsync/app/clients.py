"""The files that make clients pull from a destination: made of a spec, and written into a directory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

from mirrorsync.app.outputs import write_output
from mirrorsync.app.reading import absolute, read_file
from mirrorsync.clients.formats import CLIENTS, NAMES, files_for
from mirrorsync.clients.head import lost_text
from mirrorsync.clients.model import File, Registry, Site, Written
from mirrorsync.clients.rules import rules_of
from mirrorsync.errors import MirrorsyncError, StorageError, UsageError
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.reference import parse_destination
from mirrorsync.spec.model import STANDARD_INPUT, Destination, Mirror, Spec
from mirrorsync.spec.placement import placement
from mirrorsync.text import printable, some_of

__all__ = ["CLIENTS", "NAMES", "ClientConfig", "File", "client_config", "lost_text", "write_files"]

_MAX_CA_BYTES: Final = 1024 * 1024
# Only the certificates: a file may have the private key, too.
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s[^-]*-----END CERTIFICATE-----")
_SHOWN: Final = 5
_SCHEMES: Final = ("http", "https")
_LOOPBACK: Final = re.compile(r"(localhost|127\.[\d.]+|\[::1\])(:\d+)?")


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The files for a client, and what they are made from."""

    site: Site
    written: Written


def client_config(
    spec: Spec, client: str, destination: str = "", *, address: str = "", fallback: bool = True
) -> ClientConfig:
    """Return the files that make a client pull what a destination of the spec has.

    destination: its name, "" for the only one. address: where clients find it, `[http://]HOST[:PORT][/PREFIX]`, "" for
    where the spec writes it. fallback: whether they may pull from the sources what it lacks. Raises: UsageError,
    also if the client can express none of its mirrors; GrammarError; StorageError if its ca_file cannot be read.
    """
    if not fallback and not next(one for one in CLIENTS if one.name == client).blocks:
        remedy = "leave out --no-fallback, or close the way to Docker Hub in the network"
        raise UsageError(f"{client} always falls back to Docker Hub", remedy=remedy)
    scheme, _, rest = address.rpartition("://")
    if scheme and not rest:  # such as http://$HOST without this variable
        raise UsageError(f"{printable(address)!r} has no host", remedy="write HOST:PORT, or http://HOST:PORT")
    mirrors, chosen = _served(spec, destination, address if scheme not in _SCHEMES else rest)
    registry = _registry(spec, chosen.location.store, plain_http=scheme == "http")
    rules, lost, notes = rules_of(mirrors, chosen)
    if not rules:
        raise UsageError(
            f"no mirror of a registry goes to {printable(chosen.name)}", remedy="name another one: --destination NAME"
        )
    name = "-" if spec.source == STANDARD_INPUT else PurePath(spec.source).name
    site = Site(name, chosen.name, registry, rules, fallback, lost, address)
    written = files_for(client, site)
    if not written.files:
        raise MirrorsyncError(
            f"{client} can express none of the mirrors: {lost_text(registry, written.lost[-1])}",
            remedy="change name: in the spec, or use a client that renames repositories: podman, crio, k3s, rke2",
        )
    if _LOOPBACK.fullmatch(registry.host):
        local = f"{registry.host} is each client itself: --address HOST:PORT names where others connect to it"
        notes = (local, *notes)
    return ClientConfig(site, replace(written, notes=(*notes, *written.notes)))


def _served(spec: Spec, name: str, address: str) -> tuple[tuple[Mirror, ...], Destination]:
    """Return the mirrors of a destination, and the destination where clients know it.

    Raises: UsageError, GrammarError.
    """
    location = parse_destination(address) if address else None
    if location is not None and not location.transport.is_registry:
        raise UsageError(f"{printable(address)!r} is not an address", remedy="write HOST:PORT, or http://HOST:PORT")
    place = placement(spec, name, location)
    place.check_pullable()
    transport = place.destination.location.transport
    if not transport.is_registry and transport.scheme != "oci:":
        raise UsageError(
            f"{place.destination.location} cannot be served to clients",
            remedy="mirror to a registry, or to oci:DIRECTORY and serve that with `mirrorsync serve`",
        )
    return place.mirrors, place.destination if location is None else replace(place.destination, location=location)


def _registry(spec: Spec, host: str, *, plain_http: bool) -> Registry:
    """Return how clients connect to a host. Raises: UsageError, StorageError."""
    settings = spec.registries.get(host, HostSettings())
    return Registry(
        host,
        plain_http=plain_http or settings.plain_http,
        skip_verify=settings.insecure_skip_verify,
        ca=_certificates(settings.ca_file) if settings.ca_file else "",
        login=settings.username is not None,
        client_cert=settings.client_cert is not None,
    )


def _certificates(path: str) -> str:
    """Return the certificates of a file, PEM. Raises: UsageError, StorageError."""
    found = _CERTIFICATE.findall(read_file(Path(path), _MAX_CA_BYTES, "ca_file").decode("utf-8", "replace"))
    if not found:
        raise UsageError(f"ca_file {printable(path)} has no certificate", remedy="name a file of PEM certificates")
    return "".join(f"{one}\n" for one in found)


def write_files(directory: str, files: Iterable[File], *, force: bool = False) -> list[str]:
    """Write files below a directory, and return their paths; an absolute one is taken from there.

    A file that exists is left as it is if it has the same text. force: replace those that differ; without, nothing is
    written. Raises: UsageError if one of them differs, StorageError.
    """
    below = absolute(directory)
    wanted = {below / file.path.lstrip("/"): file.text for file in files}
    missing = {path: text for path, text in wanted.items() if not _has(path, text)}
    differ = [str(path.relative_to(below)) for path in missing if path.exists()]
    if differ and not force:
        raise UsageError(
            f"{some_of(differ, _SHOWN)} in {printable(directory)} would be replaced",
            remedy="compare them with the output without --output; --force replaces them",
        )
    for path, text in missing.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path.parent} cannot be created: {error.strerror}") from error
        write_output(path, [text])
    return [str(path) for path in wanted]


def _has(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
