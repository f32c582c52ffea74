"""Read what users and programs write: paths, references and locations, relative to the current directory."""

from __future__ import annotations

import os
import platform as machine
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirrorsync.errors import GrammarError, StorageError, UsageError
from mirrorsync.oci.names import looks_like_host
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Location, Reference, parse_destination, parse_image, parse_repository
from mirrorsync.oci.transports import REGISTRY_PREFIX, transport_of
from mirrorsync.text import printable

if TYPE_CHECKING:
    from mirrorsync.sync.verify.scope import Scope

HOST_PLATFORM: Final = "host"
# Names of files, although a host could have them.
_FILE_ENDS: Final = (".yaml", ".yml", ".json", ".tar", ".tar.gz", ".tgz")


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path. Raises: UsageError if it is empty, or the current directory was removed."""
    if not os.fspath(path):  # and not the current directory: that is what a variable without a value would write to
        raise UsageError("the path is empty", remedy="check the variable that it comes from; . is this directory")
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        raise UsageError("the current directory was removed", remedy="change to a directory that exists") from error


def read_file(path: Path, limit: int, what: str) -> bytes:
    """Return a file's bytes, at most `limit`. Raises: StorageError, UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise UsageError(
            f"{what} {path} does not exist", remedy="give the path of the file, or run this in its directory"
        ) from error
    except OSError as error:
        raise StorageError(f"{what} {path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise UsageError(f"{what} {path} is larger than {limit} bytes")
    return data


def read_reference(written: str | Reference) -> Reference:
    """Read the reference of an image or a repository. Raises: GrammarError, UsageError."""
    return written if isinstance(written, Reference) else parse_image(written, str(absolute(".")))


def read_platform(written: str | Platform) -> Platform:
    """Read a platform: `os/architecture[/variant]`, or `host` for this machine's. Raises: GrammarError."""
    if isinstance(written, Platform):
        return written
    if written == HOST_PLATFORM:
        return Platform.of_machine(machine.system(), machine.machine())
    return Platform.parse(written)


def read_location(written: str | Location) -> Location:
    """Read the repository, or the store on disk, whose tags are to be listed.

    Raises: GrammarError; UsageError if it is one image.
    """
    if isinstance(written, Location):
        return written
    base = str(absolute("."))
    if not transport_of(written).many:
        raise UsageError(f"{printable(written)} is one image without tags", remedy="`mirrorsync inspect` shows it")
    try:
        return parse_repository(written, base)
    except GrammarError:
        reference = parse_image(written, base)  # raises if it is neither
        if not reference.names_one:
            raise
    raise UsageError(
        f"{printable(written)} is one image; list-tags takes a repository",
        remedy=f"`mirrorsync list-tags {reference.location}` or `mirrorsync inspect {reference}`",
    )


def read_store(written: str) -> Location:
    """Read a whole store, or what is below a prefix in it: `host/prefix`, with or without a slash at its end, or
    `oci:DIR:PREFIX`. Raises: GrammarError.
    """
    if transport_of(written).is_registry:
        return parse_destination(written.rstrip("/"))
    return parse_repository(written, str(absolute(".")))


def read_scope(written: str) -> Scope | None:
    """Read what is to be verified: a store, a repository, a prefix of repositories, or one image.

    None if it is a path, as of a spec: that of a file that exists, or a text that names no host. Raises: GrammarError.
    """
    from mirrorsync.sync.verify.scope import Scope  # imported here: only `verify` needs the engine for it

    if not transport_of(written).is_registry:
        return _scope_on_this_machine(written)
    name = written.removeprefix(REGISTRY_PREFIX)
    host, slash, _ = name.partition("/")
    if name == written and (_is_path(written) or not looks_like_host(host) or not (slash or {".", ":"} & set(host))):
        return None
    whole_host = not slash and (host.startswith("[") or looks_like_host(host.partition(":")[0]))
    if whole_host or name.endswith("/"):
        return Scope(parse_destination(name.rstrip("/")), below=True)
    reference = parse_image(name)
    return Scope(reference.location, reference.asked if reference.names_one else None)


def _scope_on_this_machine(written: str) -> Scope:
    from mirrorsync.sync.verify.scope import Scope

    base = str(absolute("."))
    try:
        reference = parse_image(written, base)
    except GrammarError:
        return Scope(parse_repository(written, base))  # raises if it is neither
    return Scope(reference.location, reference.asked if reference.names_one else None)


def _is_path(text: str) -> bool:
    return text.endswith(_FILE_ENDS) or text.startswith((".", "/", "~", "-")) or Path(text).is_file()
