"""Write parts of a bundle again, which were lost on their way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing

from mirrorsync.app.bundle.creating import Bundled
from mirrorsync.app.bundle.having import document_at, signatures_at
from mirrorsync.app.bundle.sending import open_sender
from mirrorsync.app.bundle.site import site_again
from mirrorsync.app.outputs import existing_directory
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.app.session import open_session
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.model import Bundle
from mirrorsync.bundle.reading import parse
from mirrorsync.environment import Environment
from mirrorsync.errors import ContentNotFound, UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import parse_repository
from mirrorsync.plan.model import Plan
from mirrorsync.spec.model import Spec
from mirrorsync.sync import road
from mirrorsync.sync.bundle.deltas import DeltaMaker, Spool
from mirrorsync.sync.bundle.publish import write_parts
from mirrorsync.sync.bundle.reading import Contents, ReadFrom
from mirrorsync.text import printable


async def write_parts_again(
    spec: Spec,
    of: str,
    numbers: Sequence[int],
    output: str,
    *,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Bundled:
    """Write some parts of a bundle once more, with the same bytes. of: the path of its document, or of a part.

    numbers: of the parts, from 1. Raises: UsageError if the bundle has no such parts; ContentNotFound if a source does
    not have some content any more; as `create_bundle`.
    """
    given, stop = environment or process_environment(), stop or Stop()
    path = absolute(of)
    document, signatures = document_at(path), signatures_at(path)
    bundle = parse(document, printable(of))
    if unknown := [number for number in numbers if not 0 < number <= len(bundle.parts)]:
        raise UsageError(f"the bundle has no part {unknown[0]}: it has {len(bundle.parts)}")
    site = site_again(open_sender(spec, bundle.name, given), bundle, path) if 1 in numbers else {}
    sources = _sources_of(bundle)
    origins = {digest: found[0] for digest, found in sources.items()}
    with closing(Spool(existing_directory(output))) as spool:
        async with open_session(given, stop, spec.registries, signers=spec.signers) as session:
            await stop.interruptible(DeltaMaker(session, spool, stop.event).again(bundle, numbers, sources))
            contents = Contents(session, origins, stop.event, stop.asleep, spool)
            writing = write_parts(
                bundle, document, absolute(output), contents, signatures=signatures, site=site, only=numbers
            )
            try:
                files = await stop.interruptible(writing)
            except ContentNotFound as error:
                raise error.with_(remedy="make a new bundle of what the far side lacks") from error
    return Bundled(Plan("", road.stamp(spec)), bundle, files)


def _sources_of(bundle: Bundle) -> Mapping[Digest, Sequence[ReadFrom]]:
    """Return where each object of a bundle was read: at the sources of the images that need it."""
    found: defaultdict[Digest, list[ReadFrom]] = defaultdict(list)
    for source in dict.fromkeys(image.source for image in bundle.images):
        at = parse_repository(source)
        pending = [image.content.digest for image in bundle.images if image.source == source]
        seen: set[Digest] = set()
        while pending:
            digest = pending.pop()
            one = bundle.by_digest.get(digest)
            if one is not None and digest not in seen:
                seen.add(digest)
                found[digest].append(ReadFrom(at, one.content))
                pending.extend(one.needs)
    return found
