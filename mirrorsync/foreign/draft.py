"""A draft: what was found in a file of another tool, in the words of our spec, with notes for what has no equal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.names import check_host, looks_like_host
from mirrorsync.oci.reference import Reference, parse_image
from mirrorsync.text import printable

# `tags:` of a mirror that takes them all.
ALL_TAGS: Final[Mapping[str, Any]] = {"all": True}
# Templates of Go, shells, Kubernetes and Zarf, which another program would have filled in.
_TEMPLATE: Final = re.compile(r"\{\{|\$\{|\$\(|###ZARF")
_USER: Final = re.compile(r"[^\s/@]+@(?!sha(?:256|512):)")
_SECRET: Final = re.compile(r"pass|secret|token|auth|cred", re.IGNORECASE)
# A login whose name is not in the file, or not readable.
UNKNOWN_USER: Final = "*"
_DAEMON: Final = "docker-daemon:"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `mirrors:`. source: its `from:`; tags: exact ones; filters: the other keys of `tags:`; options: keys
    of the entry such as platforms; notes: comments above it.
    """

    source: str
    tags: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    tag: str = ""
    name: str = ""
    to: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """An entry of `registries:`."""

    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Draft:
    """Entries in the order of the file; registries by host; destinations by name; notes: comments at the top."""

    entries: list[Entry] = field(default_factory=list)
    registries: dict[str, Registry] = field(default_factory=dict)
    destinations: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        """Add a note about something that has no equal."""
        if message not in self.notes:
            self.notes.append(message)

    def image(self, written: str, entry: Entry | None = None) -> None:
        """Add one image, as a reference says; `latest` if it has no tag. entry: what else is known of it.

        What is not a reference becomes a note.
        """
        try:
            found = reference(written)
        except GrammarError as error:
            self.note(f"not an image: {shown(written)}: {error.message}")
            return
        known = entry or Entry("")
        tag = found.tag or ""
        exact = f"{tag}@{found.digest}" if tag and found.digest else str(found.digest or tag)
        if not exact:
            exact = "latest"
            known = replace(known, notes=(*known.notes, f"{shown(written)} has no tag: latest, as docker reads it"))
        if known.tag == exact:
            known = replace(known, tag="")
        if known.tag:
            self.entries.append(
                replace(known, source=f"{found.location}{'@' if found.digest else ':'}{found.digest or exact}")
            )
        else:
            self.entries.append(replace(known, source=str(found.location), tags=(exact,)))

    def daemon(self, written: str) -> None:
        """Add an image of the daemon."""
        try:
            reference(written)
        except GrammarError as error:
            self.note(f"not an image: {shown(written)}: {error.message}")
            return
        self.entries.append(Entry(f"{_DAEMON}{written}"))

    def login(self, host: str, username: str, settings: Mapping[str, Any], notes: Iterable[str] = ()) -> None:
        """Add a host. username: in our syntax (`escaped`), UNKNOWN_USER, or "" without a login; the password becomes a
        variable in any case.
        """
        try:
            known = check_host(host)
        except GrammarError as error:
            self.note(f"not a host: {printable(host.rpartition('@')[2], 80)}: {error.message}")
            return
        login: dict[str, Any] = {}
        if username:
            name = variable(known)
            user = f"${{{name}_USERNAME}}" if username == UNKNOWN_USER else username
            login = {"username": user, "password": f"${{{name}_PASSWORD}}"}
        before = self.registries.get(known, Registry({}))
        self.registries[known] = Registry({**login, **settings, **before.settings}, (*before.notes, *notes))

    def destination(self, host: str) -> str:
        """Return the name of a destination that is a host; add it if it is new."""
        name = re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-") or "mirror"
        self.destinations.setdefault(name, host)
        return name

    def add(self, other: Draft) -> None:
        """Add all that another draft has."""
        self.entries += other.entries
        for host, registry in other.registries.items():
            self.registries.setdefault(host, registry)
        self.destinations |= {key: value for key, value in other.destinations.items() if key not in self.destinations}
        for note in other.notes:
            self.note(note)


def shown(written: str, limit: int = 200) -> str:
    """Return foreign text for a note: on one line, and without what is before an '@', which may be a password."""
    return printable(_USER.sub("...@", written), limit)


def reference(written: str) -> Reference:
    """Read an image of a registry. Raises: GrammarError."""
    if _TEMPLATE.search(written):
        raise GrammarError("it has a template that another program fills in")
    bare = written.removeprefix("docker://").removeprefix("https://").removeprefix("http://").rstrip("/")
    found = parse_image(bare)
    if not found.location.transport.is_registry:
        raise GrammarError("it is not an image of a registry")
    return found


def split_target(target: str) -> tuple[str, str, str]:
    """Split a target, `host/path[:tag]`, into host, path and tag; the host is "" if it has none."""
    bare = target.removeprefix("docker://").partition("@")[0]
    path, colon, tag = bare.rpartition(":")
    if not colon or "/" in tag:
        path, tag = bare, ""
    host, slash, rest = path.partition("/")
    if not looks_like_host(host):
        return "", path, tag
    return host, rest if slash else "", tag


def escaped(written: str) -> str:
    """Return a text in which our spec expands no variable."""
    return written.replace("${", "$${")


def variable(host: str) -> str:
    """Return the beginning of the names of a host's variables: `QUAY_IO`."""
    name = re.sub(r"[^A-Z0-9]+", "_", host.upper()).strip("_")
    return name if name[:1].isalpha() else f"HOST_{name}"


def whole_tag(expression: str) -> str:
    """Return an expression that matches whole tags, of one that other tools search for anywhere in a tag."""
    if (
        expression.startswith("^")
        and expression.endswith("$")
        and not expression.endswith("\\$")
        and "|" not in expression
    ):
        return expression[1:-1]
    return f".*(?:{expression}).*"


def any_of(expressions: Iterable[str]) -> str:
    """Return one expression that matches what any of these matches."""
    listed = list(expressions)
    return listed[0] if len(listed) == 1 else "|".join(f"(?:{expression})" for expression in listed)


def without_equal(tool: str, members: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """Return a note for each key that has no equal. Values are shown if they are short texts; these have no secrets."""
    notes = []
    for key in members.keys() - set(known):
        value = members[key]
        is_shown = isinstance(value, str) and value and not _SECRET.search(key)
        notes.append(f"{tool}'s {printable(key, 40)} has no equal here{f': {shown(value, 80)}' if is_shown else ''}")
    return sorted(notes)
