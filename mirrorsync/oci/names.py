"""The grammar of names: hosts, repositories, and names of images in an index.json and in a daemon."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.text import printable

DOCKER_HUB: Final = "docker.io"
_HUB_LIBRARY: Final = "library/"
# Schemes of URLs that are written before the host of a registry.
_OF_REGISTRIES: Final = frozenset({"http", "https", "docker", "oci"})
_STORES: Final = (
    "images are read and written as host/repository, oci:DIRECTORY, oci-archive:FILE or docker-archive:FILE"
)
_HUB_ALIASES = {
    "index.docker.io": DOCKER_HUB,
    "registry-1.docker.io": DOCKER_HUB,
    "registry.hub.docker.com": DOCKER_HUB,
}

# The suffixes of cosign's tags, after the digest of the subject: signature, attestation, SBOM (SIGNATURE_SPEC.md).
COSIGN_SUFFIXES: Final = (".sig", ".att", ".sbom")
# These tags, and the one for a list of referrers (distribution spec 1.1, "Referrers Tag Schema").
_OF_DIGEST: Final = re.compile(r"sha(256-[0-9a-f]{64}|512-[0-9a-f]{64,128})(\.(sig|att|sbom))?")

# Distribution spec 1.1, "Pulling manifests": <name>.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_MAX_REPOSITORY = 255
# distribution/reference: a domain name or bracketed IPv6 address, with an optional port.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")


def check_repository(text: str) -> str:
    """Return `text` if it is a repository name by the distribution spec's grammar. Raises: GrammarError."""
    if not is_repository(text):
        raise GrammarError(
            f"{printable(text)!r} is not a repository name",
            remedy="use lower-case letters and digits, with single '.', '_', '__', '-' or '/' between them",
        )
    return text


def is_repository(text: str) -> bool:
    """Return whether a registry can have a repository of that name; a layout can also have one with a host and port."""
    return _REPOSITORY.fullmatch(text) is not None and len(text) <= _MAX_REPOSITORY


def check_layout_repository(text: str) -> str:
    """Return `text` if it is the name of a repository in an index.json: podman and crane write a host with a port, too.

    Raises: GrammarError.
    """
    host, slash, rest = text.partition("/")
    if slash and ":" in host and _HOST.fullmatch(host) is not None:
        check_repository(rest)
        return text
    return check_repository(text)


def check_host(text: str) -> str:
    """Return the canonical spelling of a registry's host (and port). Raises: GrammarError."""
    refuse_url(text)
    if _HOST.fullmatch(text) is None:
        raise GrammarError(f"{printable(text)!r} is not a host name", remedy="write it as host or host:port")
    port = text.rpartition("]")[2].partition(":")[2]
    if port and not 0 < int(port) < 65536:
        raise GrammarError(f"{printable(text)!r} has no valid port", remedy="ports go from 1 to 65535")
    host = text.lower()
    return _HUB_ALIASES.get(host, host)


def host_in_name(host: str) -> str:
    """Return a host in a form that is valid inside a repository's name: `h.example:5000` is h.example-5000.

    An IPv6 address is written in full, since a name begins with a letter or digit and "::" is many zeros:
    [2001:db8::1]:5000 is 2001-0db8-0000-0000-0000-0000-0000-0001-5000.
    """
    address, bracket, port = host.partition("]")
    if not bracket:
        return host.replace(":", "-")
    try:
        address = ipaddress.ip_address(address.removeprefix("[")).exploded
    except ValueError as error:
        message = f"{printable(host)!r} is not an IPv6 address"
        raise GrammarError(message, remedy="write it as [2001:db8::1] or [2001:db8::1]:5000") from error
    return f"{address}{port}".replace(":", "-")


def split_ref_name(name: str) -> tuple[str, Tag | None, Digest | None]:
    """Read the name of an image in index.json: (repository, tag, digest).

    mirrorsync writes `repository:tag` and `repository@digest`; see `oci.ref.written`. A name without a colon, as other
    tools write it, is a tag of the unnamed repository (""); podman and crane write the host, too, with its port.
    Raises: GrammarError.
    """
    before, at, encoded = name.partition("@")
    digest = Digest(encoded) if at else None
    repository, colon, tag = before.rpartition(":")
    if not colon and digest is None:
        repository, tag = "", before
    elif not colon:
        repository, tag = before, ""
    if repository:
        check_layout_repository(repository)
    return repository, Tag(tag) if tag or digest is None else None, digest


def cosign_tag(digest: Digest, suffix: str) -> Tag:
    """Return the tag of cosign's signature, attestation or SBOM of a manifest; suffix: one of COSIGN_SUFFIXES."""
    return Tag(f"{digest.algorithm}-{digest.encoded}{suffix}")


def is_attachment_tag(tag: Tag) -> bool:
    """Return whether a tag is one for what is attached to a digest: cosign's, or the fallback for referrers."""
    return _OF_DIGEST.fullmatch(tag) is not None


def is_referrers_tag(tag: Tag) -> bool:
    """Return whether a tag is that of a list of referrers, which registries without the referrers API need."""
    return is_attachment_tag(tag) and not tag.endswith(COSIGN_SUFFIXES)


def split_image_name(text: str) -> tuple[str, str, Tag | None, Digest | None]:
    """Read `[host/]repository[:tag][@digest]` by docker's rules: (host, repository, tag, digest).

    Docker Hub's short names are completed; a missing tag or digest stays missing. Raises: GrammarError.
    """
    rest, at, encoded = text.partition("@")
    if "://" in rest or "/" in encoded:
        refuse_url(f"{rest}{at}{encoded}")
    digest = Digest(encoded) if at else None
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path, colon, tag = rest, "", ""
    host, slash, repository = path.partition("/")
    if not slash or not looks_like_host(host):
        host, repository = DOCKER_HUB, path
    host = check_host(host)
    check_repository(repository)
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"{_HUB_LIBRARY}{repository}"
    if colon and not tag:
        raise GrammarError(f"{printable(text)!r} has an empty tag", remedy="write the tag after the colon")
    return host, repository, Tag(tag) if tag else None, digest


def familiar_name(host: str, repository: str) -> str:
    """Return a repository's name as a daemon lists it: `app` for docker.io/library/app, `quay.io/x/y` as it is."""
    if host != DOCKER_HUB:
        return f"{host}/{repository}"
    short = repository.removeprefix(_HUB_LIBRARY)
    return short if "/" not in short else repository


def split_familiar_name(name: str) -> tuple[str, str]:
    """Return the host of a familiar name ("docker.io" if it has no host), and the rest of the name."""
    host, slash, rest = name.partition("/")
    return (host, rest) if slash and looks_like_host(host) else (DOCKER_HUB, name)


def other_spellings(name: str) -> tuple[str, ...]:
    """Return the other names that tools write for a repository, the likeliest first; () if they all write the same.

    Of Docker Hub's, docker leaves out the host and `library/`, containerd and podman write all of it, and crane writes
    index.docker.io. podman puts localhost/ before the short name of an image that it has built.
    """
    host, rest = split_familiar_name(name)
    host = _HUB_ALIASES.get(host, host)
    if host != DOCKER_HUB or not rest:
        return ()
    short = rest.removeprefix(_HUB_LIBRARY)
    whole = rest if "/" in rest else f"{_HUB_LIBRARY}{rest}"
    found = [whole, short if "/" not in short else whole, *(f"{hub}/{whole}" for hub in (DOCKER_HUB, *_HUB_ALIASES))]
    found += podman_spelling(name)
    return tuple(spelling for spelling in dict.fromkeys(found) if spelling != name)


def podman_spelling(name: str) -> tuple[str, ...]:
    """Return the name that podman gives an image that it has built under a name without a host; () with a host."""
    return (f"localhost/{name}",) if name and split_familiar_name(name) == (DOCKER_HUB, name) else ()


def refuse_url(text: str) -> None:
    """Reject a URL, and text with an '@' before the host. Raises: GrammarError, without a possible password."""
    scheme, separator, _ = text.partition("://")
    if separator:
        remedy = "leave that out" if scheme in _OF_REGISTRIES else _STORES
        raise GrammarError(f"this is a URL: it begins with {printable(scheme, 40)}://", remedy=remedy)
    if "@" in text:
        raise GrammarError(
            "there is an '@' before the host",
            remedy="set the host's username and password under registries:",
        )


def looks_like_host(text: str) -> bool:
    """Return whether the first part of a name is a host, by docker's rule (distribution/reference)."""
    return "." in text or ":" in text or text == "localhost" or text.lower() != text
