"""Begin a spec: from nothing, or from the files of other tools, of clusters, and image lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mirrorsync.app.outputs import is_standard_output, write_output
from mirrorsync.app.reading import absolute, read_file
from mirrorsync.app.specs import FROM_STDIN, read_stdin
from mirrorsync.errors import StorageError, UsageError
from mirrorsync.foreign.draft import Draft
from mirrorsync.foreign.formats import NAMES, read_foreign
from mirrorsync.foreign.write import PLACEHOLDER, scalar, spec_text
from mirrorsync.foreign.yaml_documents import MAX_BYTES
from mirrorsync.oci.reference import parse_destination
from mirrorsync.text import printable

__all__ = ["NAMES", "PLACEHOLDER", "convert", "first_spec", "write_spec"]

_SUFFIXES: Final = (".yaml", ".yml", ".json", ".txt")
_MAX_FILES: Final = 5000
_FIRST: Final = """\
# What mirrorsync mirrors, and where to: `mirrorsync validate` checks it, `plan` shows what would change, and `apply`
# does it. Every key is explained in mirror.example.yaml.
version: 1

# Hosts that need settings. For logins, `mirrorsync login HOST`; those of docker and podman are used, too.
# registries:
#   registry.example.com:
#     ca_file: /etc/ssl/corp.pem

destinations:
  mirror: {to}{edit}

mirrors:
  # One image.
  - docker.io/library/busybox:1.36.1

  # Some tags of a repository. Quote tags: without quotes, YAML reads 1.20 as the number 1.2.
  - from: docker.io/library/alpine
    tags: ["3.20", "3.21"]

  # The three newest versions of a range; glob, regex and exclude choose tags, too.
  - from: quay.io/prometheus/node-exporter
    tags: {{semver: "^1.7", newest: 3}}
"""
_EDIT: Final = " # EDIT THIS: host/prefix of your registry, or oci:DIRECTORY"


def first_spec(to: str = "") -> str:
    """Return a small commented spec. to: its destination, "" for one to be edited. Raises: GrammarError."""
    if to:
        parse_destination(to, "/")
    return _FIRST.format(to=scalar(to or PLACEHOLDER), edit="" if to else _EDIT)


def convert(sources: Sequence[str], to: str = "", form: str = "") -> str:
    """Return a spec made from files, directories, and `-` (standard input).

    to: the destination, "" for those of the files. form: the format of the files, "" = recognised. In a directory, all
    files with images are read, and the others are named in a comment. Raises: UsageError, GrammarError, StorageError.
    """
    if to:
        parse_destination(to, "/")
    draft, origins = Draft(), []
    for source in sources:
        found, titles = _read(source, form)
        draft.add(found)
        origins += titles
    return spec_text(draft, origins, to)


def write_spec(path: str, text: str, *, force: bool = False) -> None:
    """Write a new spec; `-` is standard output. force: replace what the file has. Raises: UsageError, StorageError."""
    if not force and not is_standard_output(path) and absolute(path).exists():
        raise UsageError(f"{printable(path)} exists", remedy="pass another name, or --force to replace it")
    write_output(path, [text])


def _read(source: str, form: str) -> tuple[Draft, list[str]]:
    if source == FROM_STDIN:
        draft, titles = read_foreign(read_stdin(MAX_BYTES, "text"), "standard input", form)
        return draft, [f"standard input ({', '.join(titles)})"]
    path = absolute(source)
    if path.is_dir():
        return _directory(path, source, form)
    draft, titles = read_foreign(read_file(path, MAX_BYTES, "file"), source, form)
    return draft, [f"{source} ({', '.join(titles)})"]


def _directory(path: Path, source: str, form: str) -> tuple[Draft, list[str]]:
    draft, origins = Draft(), []
    for file in _files(path):
        name = f"{source.rstrip('/')}/{file.relative_to(path)}"
        try:
            found, titles = read_foreign(read_file(file, MAX_BYTES, "file"), name, form)
        except (UsageError, StorageError) as error:
            draft.note(f"skipped: {error.message}")
            continue
        draft.add(found)
        origins.append(f"{name} ({', '.join(titles)})")
    if not origins:
        skipped = f": {'; '.join(draft.notes[:3])}" if draft.notes else ""
        wanted = ", ".join(_SUFFIXES)
        raise UsageError(
            f"no file with images in {printable(source)}{skipped}", remedy=f"files that are read: {wanted}"
        )
    return draft, origins


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of a directory and those below in order, without hidden ones. Raises: UsageError."""
    number = 0
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if not hidden and file.suffix.lower() in _SUFFIXES and file.is_file():
            number += 1
            if number > _MAX_FILES:
                raise UsageError(f"{path} has more than {_MAX_FILES} files", remedy="name the directories with images")
            yield file
