"""A namespace: the repositories of a store whose names match a shell pattern: `quay.io/prometheus/*`. Pure."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.patterns import HUB, parse_pattern
from mirrorsync.oci.reference import Location
from mirrorsync.text import printable

_GROUP: Final = re.compile(r"\[[^\]]*\]|[*?]")


@dataclass(frozen=True, slots=True)
class Namespace:
    """Which repositories of a store are meant. pattern: `*` for all of them; a `*` matches `/`, too.

    exclude: shell patterns on whole names, or on their last part. only: the names of those that are asked for, () for
    all of them.
    """

    pattern: str = "*"
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def has(self, repository: str) -> bool:
        """Return whether a repository of the store belongs to it."""
        if self.only and repository not in self.only:
            return False
        if not fnmatch.fnmatchcase(repository, self.pattern):
            return False
        names = (repository, posixpath.basename(repository))
        return not any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in self.exclude)

    def without(self, exclude: tuple[str, ...]) -> Namespace:
        """Return the namespace without the repositories that match one of the patterns."""
        return replace(self, exclude=exclude)

    @property
    def example(self) -> str:
        """A name of the form that its repositories have."""
        return _GROUP.sub("x", self.pattern)

    def in_words(self, store: str) -> str:
        """Return how a single repository of the namespace is written: `quay.io/prometheus/NAME`."""
        return f"{store}/{self.pattern.rpartition('/')[0]}/NAME".replace("//", "/")


def read_namespace(text: str, base: str = "") -> tuple[Location, Namespace] | None:
    """Read a source that names several repositories: a pattern, or a whole store on disk; None if it names one.

    The repository of the location is the pattern as written, "" for a whole store. Raises: GrammarError.
    """
    source = parse_pattern(text, base)
    if source is None:
        return None
    if source.store == HUB:
        folder = source.repository.rpartition("/")[0] or "library"
        raise GrammarError(
            f"{printable(text)!r} has a wildcard, and Docker Hub does not list its repositories",
            remedy=f"name them: from: [{HUB}/{printable(folder)}/NAME, ...]; patterns for tags are under tags:",
        )
    return source, Namespace(source.repository or "*")
