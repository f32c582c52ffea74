"""The exceptions of mirrorsync, each with its exit code and its remedy.

Errors from outside (a registry, the network, a disk, an operator's file) are translated into one of these where they
enter, and rendered once, by the command line. No other exception reaches the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar, Final, Literal, Protocol, Self, TypeVar

Side = Literal["source", "destination"]
E = TypeVar("E", bound="MirrorsyncError")


class ExitCode(IntEnum):
    """The exit code of the process, for cron, systemd and scripts."""

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


class Whereabouts(Protocol):
    """Where an error occurred, as far as it is known; `str` writes it for people. See `oci.reference.Where`."""

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
        """Return the same with unknown fields filled in from `outer`."""


class MirrorsyncError(Exception):
    """An error that is reported to the user in one line. A value: its fields cannot be set.

    message: what happened; remedy: what to do about it; exit_code: of the process, given by the kind; place, side and
    step: where it happened. `with_` and `at` return copies, in which an outer layer replaces or adds fields.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    default_remedy: ClassVar[str] = ""
    transient: ClassVar[bool] = False  # the same may succeed a moment later, so a whole blob is retried

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
        # One error is raised in many tasks and kept in caches of answers. Python's own `__cause__`, `__traceback__`
        # and `__notes__` can be set, as for every exception.
        if not name.startswith("__") and (name in self.__dict__ or hasattr(type(self), name)):
            raise AttributeError(f"{name} of an error cannot be set; with_() and at() return copies")
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # Python would call the class with only `args`, which not every kind accepts.
        return _rebuilt, (type(self), self.__dict__)

    def with_(
        self, *, message: str | None = None, remedy: str | None = None, exit_code: ExitCode | None = None
    ) -> Self:
        """Return a copy with the given fields replaced: of the same kind, with the same cause and traceback."""
        given = {"message": message, "remedy": remedy, "exit_code": exit_code}
        return self._copy({name: value for name, value in given.items() if value is not None})

    def at(self, place: Whereabouts | None = None, *, side: Side | None = None, step: str | None = None) -> Self:
        """Return a copy with these fields where it lacks them, or self: its own stay, as the innermost knows best."""
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
        """The address of the store, None if it is not known."""
        return self.place.store if self.place else None

    @property
    def repository(self) -> str | None:
        """The name of the repository in its store, None if it is not known."""
        return self.place.repository if self.place else None

    @property
    def reference(self) -> str | None:
        """The tag, digest or pick, None if it is not known."""
        return self.place.ref if self.place else None

    @property
    def where(self) -> str:
        """The location as people write it: `store/repository:tag`, as far as it is known; "" if it is not."""
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
    """A digest, tag, repository name, reference or platform breaks the grammar of its specification."""

    exit_code = ExitCode.USAGE


class NotFound(MirrorsyncError):
    """A named repository, image or file does not exist."""


class RepositoryNotFound(NotFound):
    """The store has no repository of that name (or does not show it to these credentials)."""

    default_remedy = "check the name, and whether these credentials may read it"


class ContentNotFound(NotFound):
    """A tag, manifest or blob is not in its repository."""


class Unauthorized(MirrorsyncError):
    """The registry rejects the credentials, or requires some."""

    default_remedy = "check username and password of this host in the spec, or log in with `mirrorsync login`"


class Denied(MirrorsyncError):
    """The credentials are accepted, but do not allow this."""

    default_remedy = "give this account the right to do it"


class Unreachable(MirrorsyncError):
    """No answer from the host: name resolution, route, refused connection, timeout, or an answer that was cut off."""

    transient = True
    default_remedy = "check the host name, the port, the network and the proxy settings"


class HostUnknown(Unreachable):
    """The host name cannot be resolved, and the host has not answered before in this run: a retry would not help."""

    transient = False


class ConnectionRefused(Unreachable):
    """The host, which has not answered before in this run, accepts no connection at this port."""

    transient = False


class TlsFailed(MirrorsyncError):
    """No trusted TLS connection to the host."""

    default_remedy = "set ca_file for this host in the spec, or plain_http if it speaks no TLS"


class RateLimited(MirrorsyncError):
    """The registry limits the rate of requests, for longer than this run waits."""

    default_remedy = "log in for a higher limit, lower max_connections, set requests_per_second, or run later"


class RegistryFailure(MirrorsyncError):
    """The registry answered with an error of its own, or with an answer that the distribution spec does not allow."""


class TagsNotDeleted(RegistryFailure):
    """The registry does not delete single tags; it may delete the image by its digest, with all its tags."""

    default_remedy = "delete the image by its digest, which deletes all its tags"


class RegistryUnavailable(RegistryFailure):
    """The registry keeps answering with transient errors (500, 502, 503, 504), after its requests were retried."""

    transient = True
    default_remedy = "check the registry, or run again later"


class TokenRanOut(RegistryUnavailable):
    """The registry rejected a token that expired during the request: the request took longer than that."""


class BlobsUnknown(RegistryFailure):
    """The registry rejects a manifest, since blobs or children of it are missing. named: their digests, if reported."""

    def __init__(self, message: str, *, named: Sequence[str] = (), remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.named: Final = tuple(named)


class NotKept(RegistryFailure):
    """The registry confirmed an upload, but lacks the content or a part of it."""

    default_remedy = (
        "the registry's disk may have been full; if this happens again, remove the damaged file from its storage "
        "(CNCF distribution keeps the first copy of a blob, even if it is damaged), and run again"
    )


class TooFewTags(MirrorsyncError):
    """The filters of a mirror match no tags of its source, or fewer than `min_tags`. A mistyped filter looks so."""

    exit_code = ExitCode.PARTLY


class Stale(MirrorsyncError):
    """What a destination has is older than `max_staleness` allows. It is there, and complete."""

    exit_code = ExitCode.PARTLY


class NotLocked(MirrorsyncError):
    """The spec wants an image that its lock lacks."""

    exit_code = ExitCode.PARTLY


class LeftOut(MirrorsyncError):
    """An image that the filters of a mirror cover is not mirrored, because it has no tag that it could be given."""

    exit_code = ExitCode.PARTLY


class PolicyRefused(MirrorsyncError):
    """A policy of the spec forbids the image at the source. The destination is not changed."""

    default_remedy = "find out why the tag was changed at its source; to take the new image, delete the tag here"


class PruneRefused(MirrorsyncError):
    """More tags would be deleted than `prune: {max_deletes: ...}` allows. Nothing was deleted."""


class StillUsed(MirrorsyncError):
    """Deleting this would delete or break more than requested. Nothing was deleted."""


class Malformed(MirrorsyncError):
    """Content is not of the form that it must have, such as an archive or a manifest; it may be as it was published."""

    default_remedy = "create it again with the tool that it is from, or fetch it again"


class IntegrityError(MirrorsyncError):
    """Bytes do not match their digest or size: they were damaged or changed on the way. They were discarded."""

    exit_code = ExitCode.INTEGRITY
    default_remedy = "the content was discarded; if it happens again, the source is damaged or is being tampered with"


class Mismatch(IntegrityError):
    """The bytes are not those that their digest and size name. size, digest: those of the bytes; None if not known."""

    def __init__(self, message: str, *, size: int | None = None, digest: str | None = None) -> None:
        super().__init__(message)
        self.size: Final = size
        self.digest: Final = digest


class StalePlan(MirrorsyncError):
    """The source or the destination changed after the plan was made."""

    exit_code = ExitCode.STALE
    default_remedy = "make a new plan"


class Locked(MirrorsyncError):
    """Another run works on the same spec or destination."""

    exit_code = ExitCode.LOCKED
    default_remedy = "wait for it to end; the lock is released with its process"


class StorageError(MirrorsyncError):
    """A local directory cannot be used: full disk, read-only, no permission, or not an OCI layout."""


class StoreChanged(StorageError):
    """Another process removed, replaced or damaged a local store while it was in use. Nothing was created anew."""

    default_remedy = "restore the store, or run again with it as it is now"


class OutOfFiles(StorageError):
    """No more files can be opened, by this process or on this machine."""

    transient = True
    default_remedy = "raise the limit of open files: ulimit -n, or LimitNOFILE of the systemd unit"


class Interrupted(MirrorsyncError):
    """The run was stopped by a signal (SIGINT, SIGTERM) before this was done."""

    exit_code = ExitCode.INTERRUPTED


class DeadlinePassed(Interrupted):
    """The deadline of the run passed before this was done."""

    exit_code = ExitCode.FAILED
    default_remedy = "run again, or set a longer --deadline: finished steps are not repeated"
