"""The sender of bundles: its sequence numbers, and the documents of what it sent, in the state directory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mirrorsync.app.outputs import writable_directory
from mirrorsync.bundle.answer import read_answer
from mirrorsync.bundle.answered import Known, far_side, incomplete, known_of
from mirrorsync.bundle.held import Held, held_after, merged
from mirrorsync.bundle.model import Bundle, Image, Link, Source
from mirrorsync.bundle.reading import MAX_DOCUMENT_BYTES, is_bundle_name, parse
from mirrorsync.environment import Environment
from mirrorsync.errors import Malformed, StorageError, UsageError
from mirrorsync.files.disk import make_directory, replace_file, storage_error, translated
from mirrorsync.oci.digest import Digest
from mirrorsync.spec.model import STANDARD_INPUT, Spec
from mirrorsync.state import state_path
from mirrorsync.stores.bundle import highest_number
from mirrorsync.text import printable

_FILE: Final = "sender.json"
_ANSWER: Final = ".answer"  # of a file with a code: when it came, the bundle of that number was the last one
_WRITABLE: Final = "set STATE_DIRECTORY to a directory that can be read and written"
_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer code says. bundle: that it is about, with the digest of its document. lacking: at the far side.

    known: what the documents of all bundles of the sender tell.
    """

    bundle: Bundle
    document: Digest
    lacking: frozenset[Digest]
    known: Known

    @property
    def link(self) -> Link:
        """The bundle, as a document names it."""
        return Link(self.bundle.sequence, self.document)

    @property
    def incomplete(self) -> tuple[Image, ...]:
        """The images that the far side lacks, or of which it lacks something."""
        return incomplete(self.bundle, self.lacking, self.known)

    @property
    def held(self) -> Held:
        """What the far side has."""
        return far_side(self.bundle, self.lacking, self.known).held


@dataclass(frozen=True, slots=True)
class Sender:
    """What is remembered of one spec's bundles of one name. directory: None = nothing is remembered.

    sequence: of the last bundle, 0 before the first.
    """

    name: str
    directory: Path | None
    identity: str
    sequence: int

    @property
    def chain(self) -> str:
        """What all bundles of this sender have in common: 64 hex digits."""
        return hashlib.sha256(f"{self.name}\n{self.identity}".encode()).hexdigest()

    def check(self, output: Path | None) -> None:
        """Reject what would fail after all the work of making the next bundle. Blocking. output: None = no directory.

        A directory with the bundle of the next number, or a later one, is of another sender, or this one has lost its
        memory: the new bundle would replace their files, or not be the newest there. Raises: UsageError, StorageError.
        """
        if self.directory is not None:
            writable_directory(self.directory, _WRITABLE)
        highest = highest_number(output, self.name) if output is not None else 0
        if output is None or highest <= self.sequence:
            return
        memory = self.directory or "nowhere: there is no state directory"
        raise UsageError(
            f"{printable(os.fspath(output))} has bundle {highest} of {self.name} already, and this one would be "
            f"{self.sequence + 1}: its number is remembered in {printable(str(memory))}",
            remedy="bring that directory back if it was lost, or write to another directory, or under another --name",
        )

    def reserve(self) -> Sender:
        """Take the next sequence number, durably, so that no other bundle gets it. Raises: StorageError."""
        taken = replace(self, sequence=self.sequence + 1)
        if self.directory is not None:
            with translated(f"writing {self.directory}"):
                make_directory(self.directory)
                text = json.dumps({"id": taken.identity, "sequence": taken.sequence})
                replace_file(self.directory / _FILE, [text.encode()])
        return taken

    def remember(self, document: bytes, site: Mapping[str, bytes]) -> None:
        """Remember the document of a bundle that was sent, and its files of the site. Raises: StorageError."""
        if self.directory is not None:
            texts = {name: data.decode() for name, data in site.items()}
            with translated(f"writing {self.directory}"):
                replace_file(self._site_path(self.directory, self.sequence), [json.dumps(texts).encode()])
                replace_file(self.directory / f"{self.sequence:06d}.json", [document])

    def site(self, sequence: int) -> Mapping[str, bytes]:
        """Return the files of the site of a bundle that was sent, by name; {} if they are not remembered."""
        try:
            value = json.loads(self._site_path(self.directory or Path(), sequence).read_bytes())
            return {name: text.encode() for name, text in value.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    @staticmethod
    def _site_path(directory: Path, sequence: int) -> Path:
        return directory / f"{sequence:06d}.site"

    def sent(self) -> list[tuple[Digest, Bundle]]:
        """Return the bundles that were sent, oldest first, with the digests of their documents. Raises: Malformed."""
        if self.directory is None or not self.directory.is_dir():
            return []
        paths = [path for path in self.directory.glob("*.json") if path.stem.isdigit()]
        read = [(path, _read(path)) for path in sorted(paths, key=lambda path: int(path.stem))]
        return [(Digest.of(raw), _remembered(path, raw)) for path, raw in read]

    def made(self, document: bytes) -> bool:
        """Return whether a document is of a bundle that this sender remembers to have made. Raises: StorageError."""
        paths = self.directory.glob("*.json") if self.directory is not None else ()
        return any(path.stem.isdigit() and _read(path) == document for path in paths)

    def doubt(self, applied: Mapping[str, Link]) -> str:
        """Return why an inventory may be of another site with the same address, "" if nothing speaks for it.

        applied: the last bundle of each sender there, by its chain. Raises: StorageError.
        """
        if self.directory is None or not self.sequence or not applied:
            return ""
        last = applied.get(self.chain)
        if last is None:
            return f"bundles of other senders were applied there, and none of the {self.sequence} of this one"
        path = self.directory / f"{last.sequence:06d}.json"
        known = path.exists()
        if (known and Digest.of(_read(path)) != last.digest) or last.sequence > self.sequence:
            return f"the bundle {last.sequence} of {self.name} that was applied there was not made here"
        return ""  # it was made here, or its document was removed

    def answered(self, code: str) -> Answered:
        """Read an answer code about one of the bundles. Raises: GrammarError; UsageError if that is not remembered."""
        answer = read_answer(code)
        if not self.chain.startswith(answer.chain):
            raise UsageError(
                f"the code is not about bundles {printable(self.name)!r} of this spec",
                remedy="name the spec that they were made of, and their --name; on the machine that made them",
            )
        sent = self.sent()
        for document, bundle in sent:
            if bundle.sequence == answer.sequence:
                known = known_of(one for _, one in sent)
                return Answered(bundle, document, answer.lacking(bundle, document), known)
        raise UsageError(
            f"the code is about bundle {answer.sequence}, which is not remembered here any more",
            remedy="carry an inventory back: `mirrorsync inventory` there, and --have FILE here",
        )

    def remember_answer(self, code: str) -> None:
        """Remember an answer: only it, and bundles after it, tell from now on what the far side has.

        Raises: StorageError.
        """
        if self.directory is not None:
            with translated(f"writing {self.directory}"):
                replace_file(self.directory / f"{self.sequence:06d}{_ANSWER}", [code.encode()])

    def held(self) -> tuple[Held, Source]:
        """Return what the far side has if it imported all that was sent, but for what it said that it lacks.

        Raises: UsageError if nothing was sent.
        """
        found = self.sent()
        if not found:
            raise UsageError(
                "no bundle of this spec was sent, as far as it is remembered",
                remedy="make a full one first, without --have sent",
            )
        digest, last = found[-1]
        source = Source("sent", digest, last.created)
        answers = [path for path in (self.directory or Path()).glob(f"*{_ANSWER}") if path.stem.isdigit()]
        if not answers:
            return merged((f"{one.sequence:012d}", held_after(one)) for _, one in found), source
        newest = max(answers, key=lambda path: int(path.stem))
        answer = self.answered(_read(newest).decode(errors="replace"))
        side = far_side(answer.bundle, answer.lacking, answer.known)
        for _, one in found:
            if one.sequence > int(newest.stem):
                side.add(one)
        return side.held, source

    def previous(self) -> Link | None:
        """Return the last bundle that was sent, None before the first."""
        found = self.sent()
        return Link(found[-1][1].sequence, found[-1][0]) if found else None


def open_sender(spec: Spec, name: str | None, environment: Environment) -> Sender:
    """Return the sender of a spec. name: of its bundles, None = after the file of the spec.

    Raises: UsageError for a name that is not valid; StorageError.
    """
    name = name or _default_name(spec)
    if not is_bundle_name(name):
        raise UsageError(
            f"{printable(name)!r} is not the name of a bundle",
            remedy="use lower-case letters, digits, '.', '_' and '-', with a letter or digit first",
        )
    directory = environment.state_directory
    if directory is None or spec.source == STANDARD_INPUT:
        return Sender(name, None, secrets.token_hex(16), 0)
    own = directory / "bundles" / f"{state_path(directory, Path(spec.source)).stem}-{name}"
    file = own / _FILE
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        return Sender(name, own, secrets.token_hex(16), 0)
    except OSError as error:
        raise storage_error(error, f"reading {file}").with_(remedy=_WRITABLE) from error
    except ValueError:
        value = None
    known = value if isinstance(value, dict) else {}
    identity, sequence = known.get("id"), known.get("sequence")
    if not isinstance(identity, str) or _ID.fullmatch(identity) is None or type(sequence) is not int or sequence < 0:
        raise StorageError(f"{file} is damaged", remedy="restore it, or remove the directory to begin anew")
    return Sender(name, own, identity, sequence)


def _default_name(spec: Spec) -> str:
    if spec.source == STANDARD_INPUT:
        raise UsageError("a spec from standard input has no name for its bundles", remedy="name them: --name NAME")
    return re.sub(r"[^a-z0-9._-]+", "-", Path(spec.source).stem.lower()).lstrip("._-") or "bundle"


def _remembered(path: Path, raw: bytes) -> Bundle:
    try:
        return parse(raw, str(path))
    except Malformed as error:
        raise error.with_(remedy="restore it, or remove it: what only it tells then counts as not sent") from error


def _read(path: Path) -> bytes:
    with translated(f"reading {path}"), path.open("rb") as file:
        return file.read(MAX_DOCUMENT_BYTES + 1)
