"""The exceptions of mirrorsync, each with its exit code and its remedy.

What the world does wrong (a registry, a network, a disk, an operator's file) is translated into one of these where it
enters, and rendered once, by the command line. Nothing else reaches the user.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Final, Literal, Protocol, Self, TypeVar

Side = Literal["source", "destination"]
E = TypeVar("E", bound="MirrorsyncError")

_SHOWN_LIMIT = 400  # characters of foreign text in one message; error bodies of registries can be whole HTML pages


class ExitCode(IntEnum):
    """What the process says to cron, systemd and scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    INTEGRITY = 4
    STALE = 5
    LOCKED = 6
    CHANGES = 10
    INTERRUPTED = 130
    TERMINATED = 143


def printable(text: str, limit: int = _SHOWN_LIMIT) -> str:
    """Return foreign `text` fit for a terminal or a log: at most `limit` characters, on one line, nothing active.

    Control characters (C0, C1, DEL), bidirectional overrides and line separators are shown as escapes: a registry
    chooses tags and error messages, and must not be able to repaint the operator's screen or forge log lines.
    """
    shown: list[str] = []
    length = 0
    for char in text:
        active = unicodedata.category(char)[0] in "CZ" and char != " "
        piece = char.encode("unicode_escape").decode("ascii") if active else char
        length += len(piece)
        if length > limit:
            return "".join(shown) + "..."
        shown.append(piece)
    return "".join(shown)


class Whereabouts(Protocol):
    """Where something went wrong, as far as that is known, and `str` as people write it. See `oci.reference.Where`."""

    @property
    def store(self) -> str | None:
        """The store's address."""

    @property
    def repository(self) -> str | None:
        """The repository's name in the store."""

    @property
    def ref(self) -> str | None:
        """The tag or digest (of a manifest or blob), or how an image without a name is picked."""

    def within(self, outer: Self) -> Self:
        """Return the place with what it does not say filled in from `outer`."""


class MirrorsyncError(Exception):
    """Something went wrong that the user can be told about in one line. A value: its fields cannot be set.

    message: what happened; remedy: what to do about it; exit_code: what the process exits with, given by the kind; the
    rest says where. `with_` and `at` return copies, with what an outer layer knows better or in addition.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    default_remedy: ClassVar[str] = ""
    transient: ClassVar[bool] = False  # the same thing may work a moment later, so a whole blob is tried again

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        place: Whereabouts | None = None,
        side: Side | None = None,
        step: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message: Final = message
        self.remedy: Final = remedy or self.default_remedy
        self.place: Final = place
        self.side: Final = side
        self.step: Final = step

    def __setattr__(self, name: str, value: object) -> None:
        # One error is raised in many tasks and kept by those that remember answers. Python's own `__cause__`,
        # `__traceback__` and `__notes__` stay as they are for every exception.
        if not name.startswith("__") and (name in self.__dict__ or hasattr(type(self), name)):
            raise AttributeError(f"{name} of an error cannot be set; with_() and at() return copies")
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # Python would call the class with `args` alone, which not every kind takes.
        return _rebuilt, (type(self), self.__dict__)

    def with_(
        self, *, message: str | None = None, remedy: str | None = None, exit_code: ExitCode | None = None
    ) -> Self:
        """Return a copy with other fields where they are given: of the same kind, with the same cause and traceback."""
        given = {"message": message, "remedy": remedy, "exit_code": exit_code}
        return self._copy({name: value for name, value in given.items() if value is not None})

    def at(self, place: Whereabouts | None = None, *, side: Side | None = None, step: str | None = None) -> Self:
        """Return a copy that says where it happened, and self if it says all of it already.

        What it says itself stays: the innermost layer knows best.
        """
        if place is not None and self.place is not None:
            place = self.place.within(place)
        given = {"place": place or self.place, "side": self.side or side, "step": self.step or step}
        changed = {name: value for name, value in given.items() if value != getattr(self, name)}
        return self._copy(changed) if changed else self

    def _copy(self, fields: Mapping[str, object]) -> Self:
        copy = _rebuilt(type(self), {**self.__dict__, **fields})
        copy.__cause__, copy.__context__ = self.__cause__, self.__context__
        copy.__suppress_context__ = self.__suppress_context__  # after the cause, which sets it
        return copy.with_traceback(self.__traceback__)

    @property
    def store(self) -> str | None:
        """The address of the store, None when it is not known."""
        return self.place.store if self.place else None

    @property
    def repository(self) -> str | None:
        """The name of the repository in its store, None when it is not known."""
        return self.place.repository if self.place else None

    @property
    def reference(self) -> str | None:
        """The tag, digest or pick, None when it is not known."""
        return self.place.ref if self.place else None

    @property
    def where(self) -> str:
        """The place as people write it: `store/repository:tag`, as far as it is known; empty when nothing is."""
        return "" if self.place is None else str(self.place)

    def __str__(self) -> str:
        side = f"{self.side} " if self.side and self.where else ""
        return f"{side}{self.where}: {self.message}" if self.where else self.message


def _rebuilt(kind: type[E], fields: Mapping[str, Any]) -> E:
    """Return an error of that kind with these fields, without calling its constructor."""
    error = kind.__new__(kind, fields["message"])
    error.__dict__.update(fields)
    return error


class UsageError(MirrorsyncError):
    """The command line asks for something that cannot be done."""

    exit_code = ExitCode.USAGE


class GrammarError(MirrorsyncError, ValueError):
    """A digest, tag, repository name, reference or platform is not written as its specification says."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a spec: where (line and column from 1, JSON pointer), what, and what to write instead."""

    message: str
    pointer: str = ""
    line: int | None = None
    column: int | None = None
    remedy: str = ""


class SpecError(MirrorsyncError):
    """The spec cannot be used; `problems` lists all that was found, in the order of the file."""

    exit_code = ExitCode.USAGE

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source: Final = source
        self.problems: Final = tuple(problems)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line for each problem: `file:line:column: pointer: what; remedy`."""
        rendered = []
        for problem in self.problems:
            place = ":".join(str(part) for part in (self.source, problem.line, problem.column) if part is not None)
            pointer = f" {printable(problem.pointer)}:" if problem.pointer else ""
            remedy = f"; {problem.remedy}" if problem.remedy else ""
            rendered.append(f"{place}:{pointer} {problem.message}{remedy}")
        return rendered


class NotFound(MirrorsyncError):
    """Something that was asked for by name is not there."""


class RepositoryNotFound(NotFound):
    """The store has no repository of that name (or does not show it to these credentials)."""

    default_remedy = "check the name, and whether these credentials may read it"


class ContentNotFound(NotFound):
    """A tag, manifest or blob is not in its repository."""


class Unauthorized(MirrorsyncError):
    """The registry does not accept the credentials, or wants some."""

    default_remedy = "check username and password of this host in the spec, or log in with `mirrorsync login`"


class Denied(MirrorsyncError):
    """The credentials are accepted, and do not allow this."""

    default_remedy = "give this account the right to do it"


class Unreachable(MirrorsyncError):
    """No answer from the host: name, route, refused connection, timeout, or an answer that broke off."""

    transient = True
    default_remedy = "check the host name, the port, the network and the proxy settings"


class TlsFailed(MirrorsyncError):
    """No trusted TLS connection to the host."""

    default_remedy = "set ca_file for this host in the spec, or plain_http if it speaks no TLS"


class RateLimited(MirrorsyncError):
    """The registry asks to be left alone for longer than this run is willing to wait."""

    default_remedy = "log in for a higher limit, lower max_connections, or run later"


class RegistryFailure(MirrorsyncError):
    """The registry answered with an error of its own, or with something the distribution spec does not allow."""


class TagsNotDeleted(RegistryFailure):
    """The registry does not take a tag away from an image; it may delete the image by its digest, with all its tags."""

    default_remedy = "delete the image by its digest, which takes all its tags away"


class RegistryUnavailable(RegistryFailure):
    """The registry keeps answering with errors that pass (500, 502, 503, 504), after its requests were retried."""

    transient = True
    default_remedy = "the registry is in trouble; run again later"


class TokenRanOut(RegistryUnavailable):
    """The registry did not take a token that was good when the request began: it took longer than the token lives."""


class BlobsUnknown(RegistryFailure):
    """The registry refuses a manifest, since it does not have what that names. named: the digests, if it says which."""

    def __init__(self, message: str, *, named: Sequence[str] = (), remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.named: Final = tuple(named)


class NotKept(RegistryFailure):
    """The registry said that it stored something, and has it not, or not all of it."""

    default_remedy = (
        "the registry's disk may have been full; if this stays so, remove the damaged file from its storage "
        "(CNCF distribution keeps the first copy of a blob that it was given, whatever became of it), and run again"
    )


class PolicyRefused(MirrorsyncError):
    """A policy of the spec forbids what the source has. What the destination has stays."""

    default_remedy = "find out why the tag was changed at its source; to take the new image, delete the tag here"


class StillUsed(MirrorsyncError):
    """To delete this would take away or break more than was asked for. Nothing was done."""


class IntegrityError(MirrorsyncError):
    """Content is not what its digest, size, media type or schema says. Nothing of it was kept."""

    exit_code = ExitCode.INTEGRITY
    default_remedy = "the content was discarded; if it happens again, the source is damaged or is being tampered with"


class StalePlan(MirrorsyncError):
    """The source or the destination changed after the plan was made."""

    exit_code = ExitCode.STALE
    default_remedy = "make a new plan"


class Locked(MirrorsyncError):
    """Another run works on the same spec or destination."""

    exit_code = ExitCode.LOCKED
    default_remedy = "wait for it to end; the lock goes away with its process"


class StorageError(MirrorsyncError):
    """A local directory cannot be used: full disk, read-only, no permission, or not an OCI layout."""


class StoreChanged(StorageError):
    """A local store was removed, replaced or damaged by somebody else while it was in use. Nothing was made again."""

    default_remedy = "put back what was there, or begin again with what is there now"


class OutOfFiles(StorageError):
    """No more files can be opened, by this process or on this machine."""

    transient = True
    default_remedy = "raise the limit of open files: ulimit -n, or LimitNOFILE of the systemd unit"


class Interrupted(MirrorsyncError):
    """The run was told to stop (SIGINT, SIGTERM) before this was done."""

    exit_code = ExitCode.INTERRUPTED


class DeadlinePassed(Interrupted):
    """The time that the run was given is over before this was done."""

    exit_code = ExitCode.FAILED
    default_remedy = "run again, or give it a longer --deadline: what is done already is not done twice"
