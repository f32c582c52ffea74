"""What a mirror remembers as a JSON document (schemas/state.schema.json), and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mirrorsync.checked_json import Damaged, items, members, or_null, text
from mirrorsync.documents.envelope import VERSIONS, document, full_name
from mirrorsync.documents.parts import location_json
from mirrorsync.documents.values import Values
from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.state import Absence, Backup, Owned, Remembered, TagKey
from mirrorsync.text import printable

_REMEDY: Final = "make one with `mirrorsync state export`"


def state_document(spec: str, remembered: Remembered) -> dict[str, Any]:
    """Return what is remembered of a spec as a document. spec: its absolute path."""
    return document(
        "state",
        {
            "spec": spec,
            "seen": [{"digest": str(digest), "first": time} for digest, time in sorted(remembered.seen.items())],
            "listed": [{**_key_json(key), "first": time} for key, time in sorted(remembered.listed.items())],
            "owned": [_owned_json(key, owned) for key, owned in sorted(remembered.owned.items(), key=_by_key)],
            "absent": [_absent_json(key, one) for key, one in sorted(remembered.absent.items(), key=_by_key)],
            "backups": [_backup_json(key, one) for key, one in sorted(remembered.backups.items(), key=_by_key)],
        },
    )


def _by_key(item: tuple[TagKey, object]) -> TagKey:
    return item[0]


def _key_json(key: TagKey) -> dict[str, Any]:
    location, tag = key
    return {"target": location_json(location), "tag": str(tag)}


def _owned_json(key: TagKey, owned: Owned) -> dict[str, Any]:
    source = location_json(owned.source) if owned.source is not None else None
    return {
        **_key_json(key),
        "digest": str(owned.digest),
        "since": owned.since,
        "adopted": owned.adopted,
        "source": source,
    }


def _absent_json(key: TagKey, one: Absence) -> dict[str, Any]:
    location, tag = key
    return {
        "source": location_json(location),
        "tag": str(tag),
        "since": one.since,
        "acknowledged": one.acknowledged,
        "by": one.by,
        "why": one.why,
        "refused": one.refused,
    }


def _backup_json(key: TagKey, one: Backup) -> dict[str, Any]:
    return {**_key_json(key), "backup_of": one.backup_of, "digest": str(one.digest), "made": one.made}


def read_state(data: bytes, name: str) -> Remembered:
    """Read an exported state. name: the file's, for errors. Raises: UsageError if it is damaged, or not one."""
    try:
        value = json.loads(data)
        return _Reader().state(value)
    except Damaged as error:
        raise UsageError(
            f"{printable(name)} is a damaged state (at {printable(error.pointer)}): {error.reason}", remedy=_REMEDY
        ) from error
    except (ValueError, RecursionError, GrammarError) as error:
        raise UsageError(f"{printable(name)} is not an exported state", remedy=_REMEDY) from error


class _Reader(Values):
    def state(self, value: Any) -> Remembered:
        """Return the state in a document. Raises: Damaged."""
        read = members(
            value,
            {
                "kind": self._kind,
                "version": self._version,
                "spec": text,
                "seen": lambda found: dict(items(found, self._seen)),
                "listed": lambda found: dict(items(found, self._listed)),
                "owned": lambda found: dict(items(found, self._owned)),
                "absent": lambda found: dict(items(found, self._absent)),
                "backups": lambda found: dict(items(found, self._backup)),
            },
            optional=("absent", "backups"),  # exports of before have none
        )
        return Remembered(read["seen"], read["listed"], read["owned"], read.get("absent", {}), read.get("backups", {}))

    @staticmethod
    def _kind(value: Any) -> str:
        if value != full_name("state"):
            raise Damaged("another kind")
        return str(value)

    @staticmethod
    def _version(value: Any) -> int:
        if type(value) is not int or value != VERSIONS["state"]:
            raise Damaged("another version")
        return value

    def _seen(self, value: Any) -> tuple[Any, str]:
        read = members(value, {"digest": self.digest, "first": self.time})
        return read["digest"], read["first"]

    def _key(self, read: Mapping[str, Any]) -> TagKey:
        return read["target"], read["tag"]

    def _listed(self, value: Any) -> tuple[TagKey, str]:
        read = members(value, {"target": self.location, "tag": self.tag, "first": self.time})
        return self._key(read), read["first"]

    def _owned(self, value: Any) -> tuple[TagKey, Owned]:
        read = members(
            value,
            {
                "target": self.location,
                "tag": self.tag,
                "digest": self.digest,
                "since": self.time,
                "adopted": self.truth,
                "source": lambda found: None if found is None else self.location(found),
            },
        )
        return self._key(read), Owned(read["digest"], read["since"], read["adopted"], read["source"])

    def _absent(self, value: Any) -> tuple[TagKey, Absence]:
        read = members(
            value,
            {
                "source": self.location,
                "tag": self.tag,
                "since": self.time,
                "acknowledged": or_null(self.time),
                "by": text,
                "why": text,
                "refused": self.truth,
            },
            optional=("refused",),  # exports of before have none
        )
        return (read.pop("source"), read.pop("tag")), Absence(**read)

    def _backup(self, value: Any) -> tuple[TagKey, Backup]:
        reads = {
            "target": self.location, "tag": self.tag, "backup_of": self.tag, "digest": self.digest, "made": self.time
        }  # fmt: skip
        read = members(value, reads)
        return self._key(read), Backup(read["backup_of"], read["digest"], read["made"])
