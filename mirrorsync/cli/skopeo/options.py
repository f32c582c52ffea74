"""skopeo's options that mirrorsync does not have: accepted if they change nothing here, else answered.

docs/coming-from-skopeo.md has a line for each, which a test runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Theirs:
    """An option of skopeo. answer: what to do instead; "" if it is accepted. flag: whether it has no value."""

    name: str
    answer: str = ""
    flag: bool = False


_CRYPT: Final = "layers are copied as they are; encrypt and decrypt with skopeo"
_CONVERTS: Final = "layers are copied as they are, so that digests are kept; leave it out"

# skopeo takes these before and behind the verb.
EVERYWHERE: Final = (
    Theirs("--insecure-policy", flag=True),  # the same: no policy is read
    Theirs("--require-signed", "signatures are not checked here; check them first, with `cosign verify`", flag=True),
    Theirs("--policy", "no trust policy is read; check signatures first, with `cosign verify`, and leave it out"),
    Theirs("--registries.d", "registries.d is not read; --referrers copies signatures that are in the registry"),
    Theirs("--registries-conf", "registries.conf is not read; write the registry that is meant"),
    Theirs("--tls-details", "it is not read; leave it out"),
    Theirs("--tmpdir", "set the environment variable TMPDIR to the directory"),
    Theirs("--user-agent-prefix", "leave it out"),
)
TIMEOUT: Final = Theirs("--command-timeout", "write `timeout 30s mirrorsync ...`, with a time of your own")
# Which image of an index is meant: for verbs that ask this, an option of their own.
OVERRIDES: Final = (Theirs("--override-os"), Theirs("--override-arch"), Theirs("--override-variant"))
RETRIES: Final = (Theirs("--retry-delay"),)  # waits grow, and are as long as the registry asks for
SHARED_BLOBS: Final = "every layout has its blobs in its own directory; leave it out"

_SIGNING: Final = tuple(
    Theirs(f"--sign-{name}", "nothing is signed here; sign the copy with `cosign sign`, or copy it with skopeo")
    for name in ("by", "by-sigstore", "by-sigstore-private-key", "by-sq-fingerprint", "identity", "passphrase-file")
)
IMAGE: Final = (*EVERYWHERE, *RETRIES, TIMEOUT)
COPY: Final = (
    *EVERYWHERE,
    *RETRIES,
    Theirs("--command-timeout", "write --deadline DURATION, behind the verb"),
    Theirs("--format", "images are never converted, so that digests are kept; leave it out"),
    Theirs("-f", "images are never converted, so that digests are kept; leave it out"),
    Theirs("--remove-signatures", flag=True),  # the same: they are copied only with --referrers
    Theirs("--image-parallel-copies"),  # how fast, not what
    Theirs("--dest-precompute-digests", flag=True),  # the same: present blobs are never sent
    Theirs("--dest-oci-accept-uncompressed-layers", flag=True),  # the same: layers stay as they are
    Theirs("--src-shared-blob-dir", SHARED_BLOBS),
    Theirs("--dest-shared-blob-dir", SHARED_BLOBS),
    *_SIGNING,
    *(Theirs(name, _CRYPT) for name in ("--encryption-key", "--encrypt-layer", "--decryption-key")),
    *(Theirs(f"--dest-{name}", _CONVERTS, flag=True) for name in ("compress", "decompress",
                                                                  "force-compress-format")),
    *(Theirs(f"--dest-compress-{name}", _CONVERTS) for name in ("format", "level")),
)  # fmt: skip
INSPECT: Final = (
    *IMAGE,
    Theirs("--shared-blob-dir", SHARED_BLOBS),
    Theirs("--manifest-digest", "write `mirrorsync inspect --raw REF | sha512sum`"),
)
DELETE: Final = (*IMAGE, *OVERRIDES, Theirs("--shared-blob-dir", SHARED_BLOBS))
LIST_TAGS: Final = (*IMAGE, *OVERRIDES)
_COMPAT: Final = Theirs("--compat-auth-file", "write --authfile FILE, which may be docker's config.json")
LOGIN: Final = (*EVERYWHERE, TIMEOUT, *OVERRIDES, _COMPAT)
LOGOUT: Final = (*LOGIN, Theirs("--tls-verify"))  # nothing is asked of the registry
SYNC: Final = (
    *EVERYWHERE,
    *RETRIES,
    *_SIGNING,
    Theirs("--append-suffix", "a spec has no suffixes for tags"),
    *(
        Theirs(name, "images are never converted, so that digests are kept; leave it out")
        for name in ("--format", "-f")
    ),
    # `apply` has a --deadline, tries the other images if one fails, keeps digests, and reads logins where they are.
    *(Theirs(name) for name in ("--command-timeout", "--retry-times")),
    *(Theirs(name, flag=True) for name in ("--keep-going", "--preserve-digests", "--remove-signatures", "--debug")),
    *(Theirs(f"--{side}-no-creds", flag=True) for side in ("src", "dest")),
)


def skopeo_options(options: Iterable[Theirs]) -> Callable[[F], F]:
    """Add options of skopeo to a command, hidden. The command gets none of them."""

    def decorate(function: F) -> F:
        for one in options:
            function = _added(one)(function)
        return function

    return decorate


def behind_the_verb(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line with those options behind the verb that skopeo takes before it."""
    known = {one.name: one for one in chain(EVERYWHERE, OVERRIDES, (TIMEOUT, _DEBUG, _TLS_VERIFY))}
    position = 0
    while position < len(arguments) and (one := known.get(arguments[position].partition("=")[0])) is not None:
        position += 1 if one.flag or "=" in arguments[position] else 2
    if position == 0 or position >= len(arguments):
        return list(arguments)
    return [arguments[position], *arguments[:position], *arguments[position + 1 :]]


_DEBUG: Final = Theirs("--debug", flag=True)
_TLS_VERIFY: Final = Theirs("--tls-verify", flag=True)


def _added(one: Theirs) -> Callable[[F], F]:
    def check(ctx: click.Context, param: click.Parameter, value: object) -> None:  # noqa: ARG001 - click's
        if one.answer and value not in (None, False):
            raise click.UsageError(f"{one.name} is not supported: {one.answer}", ctx)

    parameter = f"skopeo_{one.name.strip('-').replace('-', '_').replace('.', '_')}"
    return click.option(
        one.name, parameter, hidden=True, expose_value=False, is_eager=bool(one.answer), is_flag=one.flag,
        default=False if one.flag else None, callback=check,
    )  # fmt: skip
