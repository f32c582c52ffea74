"""Verify: what the destinations of a spec, or any other location, really have, as coroutines.

environment: None = the process's. stop: stops the run, which then raises Interrupted; None = it is not stopped.
content: True reads every blob, False none, None those of stores on this machine. sample: a percentage of all blobs to
read instead, chosen at random by `seed` (None = another one each time; it is in the result). Manifests are always read,
and everything is checked for presence and size.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from mirrorsync.app.memory import read_absences
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute, read_scope
from mirrorsync.app.session import query
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.plan.policies import Identities, KeyFiles, SignedBy
from mirrorsync.spec.model import Spec
from mirrorsync.sync.gather.signers import readers_of
from mirrorsync.sync.verify import verify
from mirrorsync.sync.verify.model import Depth, Verification
from mirrorsync.sync.verify.scope import Scope
from mirrorsync.sync.verify.travelled import Travelled
from mirrorsync.text import printable

_SEEDS = 2**31


async def verify_spec(
    spec: Spec,
    *,
    only: Sequence[str] = (),
    trust: bool = False,
    content: bool | None = None,
    sample: float | None = None,
    seed: int | None = None,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Verification:
    """Verify every image that `spec` wants at its destinations, and that it is the one of its source.

    A source that cannot be asked is in `failures`; what the destinations have is verified all the same. An image that
    its source has dropped, which is acknowledged, is a notice, and the destinations have to have it. only: as for
    `make_plan`. trust: find out what the signatures at the destinations prove instead, without any source; filters
    choose from the tags of the destinations. Raises: UsageError if `only` matches nothing, the options contradict each
    other, or `trust` is asked of a spec without `verify:`.
    """
    environment = environment or process_environment()
    depth, clock = _depth(content, sample, seed), environment.clock.monotonic
    if trust:
        return await query(
            lambda session: verify.verify_trust(spec, session, depth, clock, only),
            environment,
            stop,
            spec.registries,
            signers=spec.signers,
        )
    absences = read_absences(spec, environment)
    return await query(
        lambda session: verify.verify_spec(spec, session, depth, clock, only, absences),
        environment,
        stop,
        spec.registries,
        signers=spec.signers,
    )


def signed_by(
    keys: Sequence[str] = (), identities: Sequence[str] = (), issuer: str | None = None, trusted_root: str | None = None
) -> SignedBy:
    """Return what has to have signed images: one of some keys, or one of some identities. Reads the files.

    keys: files with a public key each. identities: shell patterns. trusted_root: a file. Raises: UsageError for both,
    or neither; StorageError or GrammarError if a file is missing or of no use.
    """
    if keys and (identities or issuer or trusted_root):
        raise UsageError("a key and an identity exclude each other", remedy="verify with one of them at a time")
    if not keys and not (identities or issuer or trusted_root):
        remedy = "pass --key FILE, or --identity, --issuer and --trusted-root; a spec names them under verify:"
        raise UsageError("no key or identity to verify signatures with", remedy=remedy)
    found = KeyFiles(tuple(keys)) if keys else Identities.of(identities, issuer, trusted_root)
    found = found.under(str(absolute(".")))
    for _, read in readers_of(found):
        read()
    return found


async def verify_location(
    scope: str | Scope,
    *,
    signed_by: SignedBy | Travelled | None = None,
    content: bool | None = None,
    sample: float | None = None,
    seed: int | None = None,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Verification:
    """Verify every image at a location, without a spec and without a source.

    scope: `oci:DIR`, `host/repository`, `host/prefix/`, `host/repository:tag`, `docker-archive:FILE`... signed_by: what
    has to have signed all of them, as `signed_by()` returns it, or the policies that came with bundles, as
    `policies_at()` does; None = their signatures are not looked at. Raises: GrammarError; UsageError also if `scope` is
    not a location; NotFound if it has no images; Denied if a registry does not list its repositories.
    """
    read = read_scope(scope) if isinstance(scope, str) else scope
    if read is None:
        raise UsageError(
            f"{printable(str(scope))} is not a location", remedy="write host/repository, oci:DIR, oci-archive:FILE..."
        )
    environment = environment or process_environment()
    depth, clock = _depth(content, sample, seed), environment.clock.monotonic
    return await query(
        lambda session: verify.verify_location(read, session, depth, clock, signed_by), environment, stop
    )


def _depth(content: bool | None, sample: float | None, seed: int | None) -> Depth:
    if sample is None:
        if seed is not None:
            raise UsageError("a seed has no effect without a sample")
        return Depth(content)
    if content is not None:
        raise UsageError("a sample and all or no content contradict each other", remedy="choose one of them")
    if not 0 < sample <= 100:
        raise UsageError(f"a sample of {sample:g}% is not possible", remedy="write more than 0% and at most 100%")
    return Depth(percent=sample, seed=secrets.randbelow(_SEEDS) if seed is None else seed)
