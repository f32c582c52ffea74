"""What the mirror has to remember, as plain values: the model of the memory, next to the real one."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise

Key = tuple[str, str]  # a repository and a tag, or a repository and a digest


@dataclass
class Past:
    """The memory after some runs.

    seen: when each digest was first wanted; listed: when each tag was first listed. owned: what each tag named, and
    whether it was adopted. intended: the tags that a killed run was about to set. generations: the tags of each.
    untagged: manifests whose tag was moved or deleted. backups: the tags that keep the image of another: of which tag,
    the digest, and when they were made.
    """

    seen: dict[str, int] = field(default_factory=dict)
    listed: dict[Key, int] = field(default_factory=dict)
    owned: dict[Key, tuple[str, bool]] = field(default_factory=dict)
    intended: dict[Key, str] = field(default_factory=dict)
    generations: list[dict[Key, str]] = field(default_factory=list)
    untagged: set[Key] = field(default_factory=set)
    backups: dict[Key, tuple[str, str, int]] = field(default_factory=dict)

    def copy(self) -> Past:
        """Return a copy, as of a backup."""
        return deepcopy(self)

    def needed(self, last: int) -> set[Key]:
        """Return the images of the last generations."""
        return {(key[0], digest) for one in self.generations[-last:] for key, digest in one.items()}

    def had(self, key: Key, digest: str) -> bool:
        """Return whether a tag had an image and lost it, by the generations."""
        held = [one.get(key) == digest for one in self.generations]
        return any(was and not stayed for was, stayed in pairwise(held))

    def record(self, now: dict[Key, tuple[str, bool]], gone: set[Key], dropped: set[Key]) -> None:
        """Remember a run. now: what each tag that the run knows of names, and whether the run has set it."""
        for key, (digest, was_set) in now.items():
            known = self.owned.get(key)
            ours = was_set or self.intended.get(key) == digest
            if known is not None and known[0] != digest and not known[1]:
                self.untagged.add((key[0], known[0]))
            if known is None or known[0] != digest or (known[1] and ours):
                self.owned[key] = (digest, not ours)
        last = self.generations[-1] if self.generations else {}
        after = {**last, **{key: digest for key, (digest, _) in now.items()}}
        for key in gone:
            digest, adopted = self.owned.pop(key, ("", True))
            if not adopted:
                self.untagged.add((key[0], digest))
            after.pop(key, None)
            self.backups.pop(key, None)
        if after != last:
            self.generations.append(after)
        self.untagged -= dropped
        self.intended = {}
