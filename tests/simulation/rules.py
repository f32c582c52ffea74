"""The spec of a simulation as plain values, and the changes that its operator makes over the years."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from mirrorsync.spec.load import load
from mirrorsync.spec.model import Spec
from tests.simulation.stores import SOURCE

HOUR = 3600
DAY = 24 * HOUR
KEY = "cosign.pub"  # in the directory of the simulation


@dataclass(frozen=True)
class Tags:
    """Which tags are wanted.

    exact: these, without a list. prefix: those that begin with it, "" = all. versions: only versions: the newest of
    them, of each `per` ("", "major" or "minor"). max_age: seconds.
    """

    exact: tuple[str, ...] = ()
    prefix: str = ""
    newest: int = 0
    per: str = ""
    max_age: int = 0

    def document(self) -> Any:
        if self.exact:
            return list(self.exact)
        found: dict[str, Any] = {"glob": [f"{self.prefix}*"]}
        if self.newest:
            found = {"semver": ">=0", "newest": self.newest}
        if self.newest and self.per:
            found["per"] = self.per
        if self.max_age:
            found["max_age"] = f"{self.max_age // DAY}d"
        return found


@dataclass(frozen=True)
class Entry:
    """One mirror.

    min_age, max_staleness: seconds. immutable: prefixes of tags. on_change: "" without the key, `older keep` for a tag
    that moves back. verify: by KEY. drops: `on_vanish: delete`. backups: how many are kept, 0 without `backup:`.
    """

    repository: str
    tags: Tags = Tags()
    min_age: int = 0
    immutable: tuple[str, ...] = ()
    on_change: str = ""
    verify: bool = False
    drops: bool = False
    backups: int = 0
    max_staleness: int = 0

    def document(self) -> dict[str, Any]:
        older, _, answer = self.on_change.partition(" ")
        keys = {
            "min_age": f"{self.min_age // HOUR}h" if self.min_age else None,
            "immutable": [f"{prefix}*" for prefix in self.immutable],
            "on_change": {older: answer} if answer else self.on_change,
            "on_vanish": "delete" if self.drops else None,
            "backup": "{tag}-{date}" if self.backups else None,
            "keep_backups": self.backups,
            "max_staleness": f"{self.max_staleness // DAY}d" if self.max_staleness else None,
            "verify": {"cosign": {"key": KEY}} if self.verify else None,
        }
        given = {key: value for key, value in keys.items() if value}
        return {"from": f"{SOURCE}/{self.repository}", "tags": self.tags.document(), **given}


@dataclass(frozen=True)
class Pruning:
    """The key `prune:`. most: a number, or a part with `%`."""

    most: int | str = 10
    keep: tuple[str, ...] = ()
    adopt: bool = False
    keep_generations: int = 0

    def document(self) -> dict[str, Any]:
        keys = {"keep": list(self.keep), "adopt": self.adopt, "keep_generations": self.keep_generations}
        return {"max_deletes": self.most, **{key: value for key, value in keys.items() if value}}


@dataclass(frozen=True)
class Rules:
    """A whole spec: at most one mirror for each repository. budget: bytes, 0 = any number."""

    entries: tuple[Entry, ...]
    prune: Pruning | None = None
    budget: int = 0

    def spec(self, directory: Path, target: str) -> Spec:
        """Return the spec, as the product reads it. directory: in which it is. target: the host of the destination."""
        return _spec(self, directory, target)


@cache
def _spec(rules: Rules, directory: Path, target: str) -> Spec:
    document = {
        "version": 1,
        "destinations": {"there": target},
        "defaults": {"to": ["there"], "name": "{repository}"},
        "mirrors": [entry.document() for entry in rules.entries],
        **({"prune": rules.prune.document()} if rules.prune else {}),
        **({"budget": {"bytes": f"{rules.budget}B"}} if rules.budget else {}),
    }
    return load(json.dumps(document).encode(), source=f"{directory}/mirror.yaml", environment={}, base=str(directory))


Change = Callable[[random.Random, Rules], Rules]


def _entry(random_: random.Random, rules: Rules, **keys: Any) -> Rules:
    """Change one entry."""
    number = random_.randrange(len(rules.entries))
    entries = list(rules.entries)
    entries[number] = replace(entries[number], **keys)
    return replace(rules, entries=tuple(entries))


def _prune(rules: Rules, **keys: Any) -> Rules:
    return replace(rules, prune=replace(rules.prune or Pruning(), **keys))


def _tags(random_: random.Random) -> Tags:
    """Return one way to want tags."""
    ways = [
        Tags(),
        Tags(prefix=random_.choice(["1", "1", "2", "l", "none"])),
        Tags(newest=random_.randint(1, 4)),
        Tags(newest=random_.randint(1, 2), per=random_.choice(["major", "minor"])),
        Tags(max_age=random_.choice([30, 200]) * DAY),
        Tags(newest=3, max_age=100 * DAY),
        Tags(exact=("1.0.0", "latest")),
    ]
    return random_.choice(ways)


def _added(random_: random.Random, rules: Rules) -> Rules:
    absent = sorted({"app", "tool", "base"} - {entry.repository for entry in rules.entries})
    return replace(rules, entries=(*rules.entries, Entry(absent[0], _tags(random_)))) if absent else rules


def _removed(random_: random.Random, rules: Rules) -> Rules:
    if len(rules.entries) == 1:
        return rules
    gone = random_.choice(rules.entries)
    return replace(rules, entries=tuple(entry for entry in rules.entries if entry != gone))


# What an operator changes in a spec. A new key of the spec that decides what is mirrored is an entry here, a field
# above, and its rule in oracle.py.
CHANGES: dict[str, Change] = {
    "tags": lambda random_, rules: _entry(random_, rules, tags=_tags(random_)),
    "min_age": lambda random_, rules: _entry(random_, rules, min_age=random_.choice([0, 3, 24, 72]) * HOUR),
    "immutable": lambda random_, rules: _entry(random_, rules, immutable=random_.choice([(), ("1",), ("1", "2")])),
    "on_change": lambda random_, rules: _entry(
        random_, rules, on_change=random_.choice(["", "update", "keep", "fail", "older keep", "older fail"])
    ),
    "verify": lambda random_, rules: _entry(random_, rules, verify=random_.random() < 0.5),
    "on_vanish": lambda random_, rules: _entry(random_, rules, drops=random_.random() < 0.5),
    "backups": lambda random_, rules: _entry(random_, rules, backups=random_.choice([0, 1, 2, 5])),
    "max_staleness": lambda random_, rules: _entry(random_, rules, max_staleness=random_.choice([0, 0, 20, 300]) * DAY),
    "budget": lambda random_, rules: replace(rules, budget=random_.choice([0, 0, 500, 1000, 2000])),
    "added": _added,
    "removed": _removed,
    "prune": lambda random_, rules: replace(rules, prune=None if rules.prune else Pruning()),
    "max_deletes": lambda random_, rules: _prune(rules, most=random_.choice([1, 3, 10, "20%", "100%"])),
    "keep": lambda random_, rules: _prune(rules, keep=random_.choice([(), ("latest",), ("tool:*",)])),
    "adopt": lambda random_, rules: _prune(rules, adopt=random_.random() < 0.3),
    "keep_generations": lambda random_, rules: _prune(rules, keep_generations=random_.choice([0, 1, 3, 10])),
}


def first_rules(random_: random.Random) -> Rules:
    """Return the spec of the first day."""
    entries = (Entry("app", _tags(random_), min_age=3 * HOUR), Entry("tool", Tags(), min_age=24 * HOUR))
    return Rules(entries, Pruning() if random_.random() < 0.7 else None)


def narrowed(tags: Tags, listed: list[str]) -> list[str]:
    """Return the tags that filters want of those of the right age."""
    if not tags.newest:
        return [tag for tag in listed if tag.startswith(tags.prefix)]
    lines: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    numbers = {tag: tuple(map(int, tag.split("."))) for tag in listed if tag.replace(".", "").isdigit()}
    equal = {"": 0, "major": 1, "minor": 2}[tags.per]
    for version in numbers.values():
        lines.setdefault(version[:equal], []).append(version)
    newest = {version for found in lines.values() for version in sorted(found, reverse=True)[: tags.newest]}
    return [tag for tag, version in numbers.items() if version in newest]
