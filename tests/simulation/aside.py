"""The rules for what a mirror keeps beside what it wants: backups of tags that move, and tags that sources dropped."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from tests.simulation.past import Key
from tests.simulation.rules import Entry, Pruning

if TYPE_CHECKING:
    from tests.simulation.oracle import Run


def vanished(run: Run, known: dict[Key, tuple[str, bool]]) -> set[Key]:
    """Return the tags that go because their sources have dropped them.

    known: the tags that are remembered. Only of a repository that is still there, and has other tags.
    """
    found = set()
    for entry in run.rules.entries:
        if entry.drops and not run.trouble.target_down:
            here = sorted(key for key in known if key[0] == entry.repository)
            found |= {key for key in _exact(run, entry, here) | _filtered(run, entry, here) if run.present.named(key)}
    return found


def _exact(run: Run, entry: Entry, known: list[Key]) -> set[Key]:
    """Return the tags that the spec names: if one is not found, the others are listed, unless that fails."""
    lost = {key for key in known if key[1] in entry.tags.exact and key not in run.roots and _is_gone(run, key)}
    return lost if run.upstream.lists(entry.repository) and run.upstream.listed(entry.repository) else set()


def _filtered(run: Run, entry: Entry, known: list[Key]) -> set[Key]:
    """Return the tags that filters would choose if they were still listed, and that are not found by their names."""
    listed = run.lists.get(entry.repository)
    if not listed:
        return set()
    missing = [key for key in known if key[1] not in listed]
    wanted = run.filtered(entry, [*listed, *(tag for _, tag in missing)]) if missing else []
    lost = [key for key in missing if key[1] in wanted]
    if not lost or not _is_gone(run, lost[0]):
        return set()  # the list was not whole, or the source does not answer
    return {key for key in lost if _is_gone(run, key)}


def _is_gone(run: Run, key: Key) -> bool:
    """Return whether a source answers that it does not have a tag."""
    return run.upstream.answers(*key) and key[1] not in run.upstream.tags.get(key[0], {})


def left_behind(run: Run, prune: Pruning, known: dict[Key, tuple[str, bool]], going: Collection[Key]) -> dict[Key, str]:
    """Return the backups of tags that go now, or are gone, and that no mirror wants."""
    stay = (known.keys() | run.wanted) - set(going)
    return {
        key: digest
        for key, (of, digest, _) in run.past.backups.items()
        if (key[0], of) not in stay and key not in stay and run.may_drop(prune, key, adopted=False)
    }


def backups(run: Run, old: set[Key], going: set[Key]) -> None:
    """Give the images of tags that move other names, and delete the backups that are more than are kept.

    going: the tags that are pruned in the same run.
    """
    if run.trouble.target_down:
        return
    for key in sorted(_moving(run)):
        _back_up(run, key)
    for key in sorted(old):
        _forget(run, key, going | old)


def old_backups(run: Run) -> set[Key]:
    """Return the backups that are more than are kept."""
    found: set[Key] = set()
    for entry in run.rules.entries:
        for tag in sorted(tag for at, tag in run.roots if at == entry.repository and entry.backups):
            of = (entry.repository, tag)
            made = [key for key, (name, _, _) in run.past.backups.items() if (key[0], name) == of]
            made.sort(key=lambda key: (run.past.backups[key][2], key[1]))
            found.update(made[: max(0, len(made) - entry.backups + (of in _moving(run)))])
    return found


def _moving(run: Run) -> set[Key]:
    backed = {entry.repository for entry in run.rules.entries if entry.backups}
    return {key for key in run.moving if key[0] in backed}


def _back_up(run: Run, key: Key) -> None:
    before = run.present.named(key)
    assert before is not None, "only a tag that is there moves"
    day = datetime.fromtimestamp(run.now, UTC)
    for number in count(1):
        name = (key[0], f"{key[1]}-{day:%Y%m%d}{'' if number == 1 else f'-{number}'}")
        if run.present.named(name) in (None, before):
            break
    run.expected.landed = True
    if run.present.named(name) is None:
        run.expected.set_[name] = run.expected.intended[name] = before
        run.expected.backups[name] = key[1]
    elif run.past.intended.get(name) == before:  # a killed run has made it
        run.expected.backups[name] = key[1]


def _forget(run: Run, key: Key, going: set[Key]) -> None:
    """Delete a backup, if it still is one; what another client has done to it is its own."""
    _, digest, _ = run.past.backups[key]
    if run.present.named(key) != digest:
        del run.past.backups[key]
    elif (key[0], digest) in {(at, one) for (at, _), one in run.roots.items()}:
        pass  # a wanted tag names it, too
    elif not run.present.tags_alone and run.is_shared(run.rules.prune or Pruning(), key, going):
        run.expected.landed = True
    elif key[1] in run.trouble.undeleted:
        run.expected.errors.append(1)
    else:
        run.expected.deleted.add(key)
        run.expected.landed = True


def walked(run: Run, left: set[Key], needed: set[Key]) -> set[Key]:
    """Return the indexes that are read at the destination, before any is deleted, for what their images still need.

    left: the manifests without a tag that no kept generation needs. needed: those that one needs.
    """
    here = {repository for repository, digest in left if digest in run.present.contents.get(repository, ())}
    roots = {(at, digest) for at, digest in needed if digest in run.present.contents.get(at, ())}
    roots |= {(at, digest) for at, tags in run.present.tags.items() for digest in tags.values()}
    images = run.upstream.images
    return {
        (at, one)
        for at, one in roots
        if at in here and not run.trouble.target_down and one in images[at] and len(images[at][one].manifests) > 1
    }
