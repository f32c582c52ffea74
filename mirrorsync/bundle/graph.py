"""What needs what, as documents say it. They may lie: be deep, be wide, go round in circles. Pure.

Everything here takes time in proportion to the needs that are listed, and nothing calls itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mirrorsync.oci.digest import Digest

Needs = Mapping[Digest, Sequence[Digest]]


def closure(roots: Iterable[Digest], needs: Needs) -> set[Digest]:
    """Return some content with all that it needs, as far as that is known."""
    found: set[Digest] = set()
    pending = list(roots)
    while pending:
        digest = pending.pop()
        if digest not in found:
            found.add(digest)
            pending += needs.get(digest, ())
    return found


def dependents(content: Iterable[Digest], needs: Needs) -> set[Digest]:
    """Return some content with all that needs it, directly or not."""
    users: defaultdict[Digest, list[Digest]] = defaultdict(list)
    for digest, needed in needs.items():
        for need in needed:
            users[need].append(digest)
    return closure(content, users)


def bottom_up(needs: Needs) -> Iterator[Digest]:
    """Yield each key after all keys that it needs; not those in a circle, nor those that need one of these."""
    users: defaultdict[Digest, list[Digest]] = defaultdict(list)
    missing: dict[Digest, int] = {}
    for digest, needed in needs.items():
        own = [need for need in needed if need in needs]
        missing[digest] = len(own)
        for need in own:
            users[need].append(digest)
    ready = [digest for digest, count in missing.items() if not count]
    while ready:
        digest = ready.pop()
        yield digest
        for user in users.pop(digest, ()):
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
