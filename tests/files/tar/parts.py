"""Make tar archives: valid ones, and malicious ones that no honest program writes."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable
from typing import Any

from mirrorsync.files.tar.scan import Grammar

GRAMMAR = Grammar("a test archive", re.compile(r"[a-z]+|d/[a-z]+|d/layer\.tar|long/x{120}"))
BLOCK = 512


def head(name: str, size: int = 0, **members: Any) -> bytes:
    """Return the 512 bytes of a member's header; the fields may be invalid."""
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in members.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def member(name: str, data: bytes = b"", **members: Any) -> bytes:
    return head(name, len(data), **members) + padded(data)


def pax(records: bytes) -> bytes:
    """Return a pax header with these bytes as its records."""
    return member("././@PaxHeader", records, type=tarfile.XHDTYPE)


def record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def archive(*members: bytes) -> io.BytesIO:
    return io.BytesIO(b"".join(members) + bytes(2 * BLOCK))


def packed(files: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return an archive made by the standard library."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
