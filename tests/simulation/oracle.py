"""What a run has to do, found out slowly and without the planner: the rules of the documentation, one after the other.

Nothing here is shared with `mirrorsync/plan`, `mirrorsync/spec` or `mirrorsync/sync`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation import aside
from tests.simulation.past import Key, Past
from tests.simulation.pictures import Picture
from tests.simulation.rules import Entry, Pruning, Rules, narrowed
from tests.simulation.stores import Trouble, Upstream

PARTLY, FAILED, DAMAGED = 3, 1, 4


@dataclass(frozen=True)
class Present:
    """The destination before a run: its tags, and the manifests and blobs of each repository.

    tags_alone: whether it deletes single tags, and not only images with all their tags.
    """

    tags: dict[str, dict[str, str]]
    contents: dict[str, frozenset[str]]
    tags_alone: bool = True

    def named(self, key: Key) -> str | None:
        """Return what a tag names."""
        return self.tags.get(key[0], {}).get(key[1])


@dataclass
class Expected:
    """What a run has to do.

    set_: the tags that it sets. stay: the wanted tags that it leaves, with what they name. deleted: tags; dropped:
    manifests. backups: the tags of `set_` that keep the image of another, and of which. uncertain: tags that it may
    delete or leave, since another tag of their image moves in the same run, at a registry that deletes only by digest.
    errors: the exit code of each failure. landed: whether any image is as wanted, or waits. refused: whether more was
    to be deleted than is allowed.
    """

    set_: dict[Key, str] = field(default_factory=dict)
    stay: dict[Key, str] = field(default_factory=dict)
    deleted: set[Key] = field(default_factory=set)
    dropped: set[Key] = field(default_factory=set)
    backups: dict[Key, str] = field(default_factory=dict)
    intended: dict[Key, str] = field(default_factory=dict)
    uncertain: set[Key] = field(default_factory=set)
    errors: list[int] = field(default_factory=list)
    landed: bool = False
    refused: bool = False

    @property
    def code(self) -> int:
        """The exit code."""
        if not self.errors:
            return 0
        if self.refused:
            return FAILED
        if self.landed:
            return PARTLY
        return self.errors[0] if len(set(self.errors)) == 1 else FAILED


class Run:
    """One run, thought through. past: is changed as the run changes the memory before its end."""

    def __init__(self, rules: Rules, upstream: Upstream, present: Present, past: Past, now: int, trouble: Trouble):
        self.rules, self.upstream, self.present, self.past, self.now = rules, upstream, present, past, now
        self.trouble = trouble
        self.expected = Expected()
        self.wanted: set[Key] = set()
        self.roots: dict[Key, str] = {}
        self.unsure: set[str] = set()
        self.moving: list[Key] = []
        self.read: set[Key] = set()  # manifests that were read at the destination, so that no source is asked for them
        self.unread: list[tuple[Key, str | None]] = []  # tags to set to what cannot be read at their source
        self.lists: dict[str, list[str]] = {}
        self.postponed: frozenset[Key] = frozenset()  # images that wait for the next run, as its budget is used

    def think(self) -> Expected:
        """Return what the run has to do."""
        known = dict(self.past.owned)
        untagged, needed = set(self.past.untagged), set[Key]()
        chosen = [(entry, tag) for entry in self.rules.entries for tag in self.choose(entry)]
        for entry, tag in chosen:
            self.image(entry, (entry.repository, tag))
        prune = self.rules.prune
        if prune is not None and prune.keep_generations:
            needed = self.past.needed(prune.keep_generations)
            self.read |= aside.walked(self, untagged - needed, needed)
        for key, before in self.unread:
            self._set_or_fail(key, before, read=(key[0], self.roots[key]) in self.read)
        vanished = aside.vanished(self, known)
        old, going = aside.old_backups(self), set[Key]()
        if prune is not None or vanished:
            going = self._prune(prune or Pruning(), known, vanished, old)
            if prune is not None and prune.keep_generations:
                self._drop(untagged, needed, going)
        aside.backups(self, old, going)
        return self.expected

    # Choosing.

    def choose(self, entry: Entry) -> list[str]:
        repository = entry.repository
        if entry.tags.exact:
            found = list(entry.tags.exact)
        elif not self.upstream.lists(repository):
            self.unsure.add(repository)
            self.expected.errors.append(FAILED)
            return []
        else:
            listed = [tag for tag in self.upstream.tags[repository] if (repository, tag) not in self.trouble.hidden]
            self.lists[repository] = listed
            if entry.min_age or entry.tags.max_age:
                for tag in listed:
                    self.past.listed.setdefault((repository, tag), self.now)
            found = self.filtered(entry, listed)
            if not found:
                self.unsure.add(repository)
                self.expected.errors.append(PARTLY)
        self.wanted |= {(repository, tag) for tag in found}
        return found

    def filtered(self, entry: Entry, tags: list[str]) -> list[str]:
        """Return the tags that the filters want now, and those that they would want without the ones that wait.

        tags: those that are listed, and perhaps some that are not any more.
        """
        ages = {tag: self.now - self.past.listed.get((entry.repository, tag), self.now) for tag in tags}
        most = entry.tags.max_age
        young = [tag for tag in tags if not most or ages[tag] < most]
        found = narrowed(entry.tags, young)
        if entry.min_age:
            known = narrowed(entry.tags, [tag for tag in young if ages[tag] >= entry.min_age])
            found = found + [tag for tag in known if tag not in found]
        return found

    # One image.

    def image(self, entry: Entry, key: Key) -> None:
        before = None if self.trouble.target_down else self.present.named(key)
        if before is not None and key[1].startswith(entry.immutable):
            before = self._remembered(entry, key) or before
            self.found(key, before)
            self.stays(key, before)  # its source is not asked
            self.ages(entry, key, before)
            return
        picture = self.resolved(key)
        if picture is None:
            self.expected.errors.append(FAILED)
            return
        self.found(key, picture.digest)
        if self.trouble.target_down:
            self.expected.errors.append(FAILED)
        else:
            self._decide(entry, key, picture, before)

    def _decide(self, entry: Entry, key: Key, picture: Picture, before: str | None) -> None:
        answer = self._on_change(entry, key, picture, before)
        if before not in (None, picture.digest):
            self.compare_ages(key, picture, before)
        if before == picture.digest:
            self.stays(key, before)
        elif entry.verify and not picture.signed:
            self.refuse(key, before)
        elif self.waits(entry, picture) or answer == "keep":
            self.stays(key, before)
        elif answer == "fail":
            self.refuse(key, before)
        elif key in self.postponed:
            self.stays(key, before)
        else:
            self._update(key, before)
            before = picture.digest if key in self.expected.intended else None
        self.ages(entry, key, before)

    def _on_change(self, entry: Entry, key: Key, picture: Picture, before: str | None) -> str:
        """Return what happens to a tag that its source has moved."""
        older, _, answer = entry.on_change.rpartition(" ")
        return answer if before is not None and (not older or self._is_older(key, picture, before)) else ""

    def compare_ages(self, key: Key, picture: Picture, before: str) -> None:
        """Read the image that a tag has, unless the memory says which of the two is older."""
        if not self._is_older(key, picture, before):
            self.read.add((key[0], before))

    def _is_older(self, key: Key, picture: Picture, before: str) -> bool:
        """Return whether a tag had an image before that of now, or whether that was seen before this."""
        now = self.now  # what is seen only now is not known
        first, first_before = (self.past.seen.get(one, now) for one in (picture.digest, before))
        return self.past.had(key, picture.digest) or (first < first_before < now)

    def ages(self, entry: Entry, key: Key, digest: str | None) -> None:
        """Report what the destination has after the run if it is too old: images here do not say how old they are."""
        if entry.max_staleness and digest is not None and digest == self.present.named(key):
            self.read.add((key[0], digest))
        if entry.max_staleness and digest is not None and self.age(digest) > entry.max_staleness:
            self.expected.errors.append(PARTLY)

    def age(self, digest: str) -> int:
        """Return for how long an image is known."""
        return self.now - self.past.seen.get(digest, self.now)

    def _remembered(self, entry: Entry, key: Key) -> str | None:
        """Return what is remembered of an immutable tag, if it is not looked at: of several, only a list is read."""
        listed = [one for one in self.wanted if one[0] == key[0] and one[1].startswith(entry.immutable)]
        known = [one for one in listed if one in self.past.owned]
        return self.past.owned[key][0] if key in known and len(known) > 1 else None

    def waits(self, entry: Entry, picture: Picture) -> bool:
        return self.age(picture.digest) < entry.min_age

    def found(self, key: Key, root: str) -> None:
        self.roots[key] = root
        self.note(root)

    def note(self, root: str) -> None:
        """Take note that an image is known now."""
        self.past.seen.setdefault(root, self.now)

    def refuse(self, key: Key, before: str | None) -> None:
        self.expected.errors.append(FAILED)
        if before is not None:
            self.expected.stay[key] = before

    def resolved(self, key: Key) -> Picture | None:
        return self.upstream.tags.get(key[0], {}).get(key[1]) if self.upstream.answers(*key) else None

    def stays(self, key: Key, before: str | None) -> None:
        self.expected.landed = True
        if before is not None:
            self.expected.stay[key] = before

    def _update(self, key: Key, before: str | None) -> None:
        picture = self.upstream.tags[key[0]][key[1]]
        if self._spoiled(key[0], picture, manifests=True):
            # Found out while planning if the manifest is read then; otherwise when the tag is to be set.
            if picture.digest not in self.present.contents.get(key[0], ()):
                self._fail(key, before, DAMAGED, planned=False)
                return
            self.expected.intended[key] = picture.digest
            self.unread.append((key, before))
        elif self._spoiled(key[0], picture, manifests=False):
            self._fail(key, before, DAMAGED, planned=True)
        else:
            self._set_or_fail(key, before, read=True)
        if before is not None:
            self.moving.append(key)

    def _set_or_fail(self, key: Key, before: str | None, *, read: bool) -> None:
        """Set a tag. read: whether the manifest is known, or can be read."""
        if not read or key[1] in self.trouble.unset:
            self._fail(key, before, FAILED if read else DAMAGED, planned=True)
        else:
            self.expected.set_[key] = self.expected.intended[key] = self.roots[key]
            self.expected.landed = True

    def _fail(self, key: Key, before: str | None, code: int, *, planned: bool) -> None:
        self.expected.errors.append(code)
        if planned:
            self.expected.intended[key] = self.roots[key]
            if before is not None:
                self.expected.stay[key] = before

    def _spoiled(self, repository: str, picture: Picture, *, manifests: bool) -> bool:
        """Return whether what has to be read of an image arrives with other bytes."""
        there = self.present.contents.get(repository, frozenset())
        if manifests:
            read = {picture.digest}
            if picture.digest not in there:
                read |= {str(one.digest) for one in picture.manifests} - there
        elif picture.digest in there:
            read = set()
        else:
            parts = [one for one in picture.manifests if str(one.digest) not in there]
            read = {str(blob.digest) for one in parts for blob in one.blobs} - there
        return bool(read & self.trouble.spoiled)

    # Deleting.

    def _prune(self, prune: Pruning, known: dict[Key, tuple[str, bool]], vanished: set[Key], old: set[Key]) -> set[Key]:
        """Return the tags that go. vanished: those that their sources have dropped and that are to go, too.

        old: backups that go anyway.
        """
        unwanted = {
            key: digest
            for key, (digest, adopted) in known.items()
            if (self.rules.prune is not None and self._may_go(prune, key, adopted))
            or (key in vanished and self.may_drop(prune, key, adopted=adopted))
        }
        if self.rules.prune is not None:
            unwanted |= aside.left_behind(self, prune, known, unwanted.keys())
        if self.trouble.target_down:
            self.expected.errors += [FAILED] * len(unwanted)
            return set()
        going = {key for key, digest in unwanted.items() if self.present.named(key) == digest}
        owned = sum(prune.adopt or not adopted for _, adopted in known.values())
        most = prune.most if isinstance(prune.most, int) else owned * int(prune.most.rstrip("%")) // 100
        if len(going) > most:
            self.expected.errors.append(FAILED)
            self.expected.refused = True
            return set()
        for key in going:
            if not self.present.tags_alone and self.is_shared(prune, key, going | old):
                self.stays(key, known[key][0] if key in known else None)
            elif key[1] in self.trouble.undeleted:
                self.expected.errors.append(FAILED)
                if key in known:
                    self.expected.stay[key] = known[key][0]
            else:
                self.expected.deleted.add(key)
                self.expected.landed = True
        return going

    def is_shared(self, prune: Pruning, key: Key, going: set[Key]) -> bool:
        """Return whether something else needs the image of a tag, at a registry that deletes only whole images."""
        repository, digest = key[0], self.present.named(key)
        alike = {(repository, tag) for tag, one in self.present.tags[repository].items() if one == digest}
        others = alike - going
        if prune.keep_generations or (repository, digest) in {(at, one) for (at, _), one in self.roots.items()}:
            return True
        if others and others <= self.expected.set_.keys():
            self.expected.uncertain.add(key)
        return bool(others)

    def _may_go(self, prune: Pruning, key: Key, adopted: bool) -> bool:
        repository, tag = key
        dropped_by_source = repository in self.lists and tag not in self.lists[repository]
        return key not in self.wanted and not dropped_by_source and self.may_drop(prune, key, adopted=adopted)

    def may_drop(self, prune: Pruning, key: Key, *, adopted: bool) -> bool:
        repository, tag = key
        kept = any(pattern in (tag, f"{repository}:*") for pattern in prune.keep)
        return not ((adopted and not prune.adopt) or kept or repository in self.unsure)

    def _drop(self, untagged: set[Key], needed: set[Key], going: set[Key]) -> None:
        left = untagged - needed
        if self.trouble.target_down:
            self.expected.errors += [FAILED] * len({repository for repository, _ in left})
            return
        wanted = {(key[0], digest) for key, digest in self.roots.items()}
        wanted |= {(key[0], str(self.present.named(key))) for key in going}
        there = {key for key in left if key[1] in self.present.contents.get(key[0], ())}
        unknown = {repository for repository, _ in there if self._is_unreadable(repository, needed)}
        self.expected.errors += [DAMAGED] * len(unknown)
        for repository, digest in left:
            tagged = digest in self.present.tags.get(repository, {}).values()
            if tagged or digest not in self.present.contents.get(repository, ()):
                self.past.untagged.discard((repository, digest))
            elif repository in unknown or (repository, digest) in wanted:
                continue
            elif digest in self.trouble.undeleted:
                self.expected.errors.append(FAILED)
            else:
                self.expected.dropped.add((repository, digest))
                self.expected.landed = True

    def _is_unreadable(self, repository: str, needed: set[Key]) -> bool:
        """Return whether a wanted index of a repository cannot be read, so that it is unknown what it needs."""
        known = set(self.present.tags.get(repository, {}).values())
        known |= {digest for at, digest in needed if digest in self.present.contents.get(at, ())}
        images = self.upstream.images.get(repository, {})
        roots = {digest for (at, _), digest in self.roots.items() if at == repository} - known
        return any(one in self.trouble.spoiled and len(images[one].manifests) > 1 for one in roots)


def way_back(generation: dict[Key, str], rules: Rules, present: Present, upstream: Upstream) -> Expected:
    """Return what a rollback has to do: each tag names again what it named then, if that is anywhere, and proven."""
    expected = Expected()
    verifying = {entry.repository for entry in rules.entries if entry.verify}
    for key, digest in generation.items():
        at_source = upstream.images.get(key[0], {}).get(digest)
        if present.named(key) == digest:
            expected.stay[key] = digest
        elif at_source is None and digest not in present.contents.get(key[0], ()):
            expected.errors.append(FAILED)
            continue
        elif key[0] in verifying and not (at_source and at_source.signed):
            expected.errors.append(FAILED)  # signatures are not mirrored here, so that only the source has them
            continue
        else:
            expected.set_[key] = expected.intended[key] = digest
        expected.landed = True
    return expected
