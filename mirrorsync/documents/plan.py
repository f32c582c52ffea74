"""Plans as JSON documents, to save, show, and apply exactly (schemas/plan.schema.json)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from mirrorsync.checked_json import (
    Damaged,
    Document,
    Read,
    at_least_one,
    check_names,
    count,
    inside,
    integer,
    items,
    members,
    named,
    numbered,
    one_of,
    or_null,
    some_text,
    text,
)
from mirrorsync.documents.envelope import VERSIONS, document, full_name
from mirrorsync.documents.parts import (
    amount_json,
    change_json,
    failures_json,
    location_json,
    referrers_json,
    spec_json,
    vanished_json,
)
from mirrorsync.documents.steps import StepReader, step_json
from mirrorsync.durations import timestamp
from mirrorsync.errors import ExitCode, MirrorsyncError, Side, UsageError
from mirrorsync.oci.narrowing import IndexMode
from mirrorsync.oci.reference import Location, Where, canonical_repository
from mirrorsync.plan.model import (
    Amount,
    BlobFate,
    Change,
    Failure,
    LockStamp,
    Origin,
    Plan,
    ReferrerCounts,
    Related,
    SpecStamp,
    State,
    Totals,
    Unwanted,
    Vanished,
)
from mirrorsync.plan.policies import Verdict
from mirrorsync.text import printable

KIND: Final = full_name("plan")
VERSION: Final = VERSIONS["plan"]
# These tell a plan, whole or truncated, from a spec (which is YAML, and so may be JSON).
_OBJECT = re.compile(rb"\s*\{")
_KIND = re.compile(rb'"kind"\s*:\s*"%s"' % re.escape(KIND.encode()))


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as a document."""
    return _head(plan) | {
        "images": [change_json(change) for change in plan.changes],
        "steps": [step_json(step) for step in plan.steps],
    }


def plan_text(plan: Plan) -> Iterator[str]:
    """Yield the text of the document in pieces; each image and each step has a line of its own."""
    yield _json(_head(plan)).removesuffix("}")
    yield from _lines("images", map(change_json, plan.changes))
    yield from _lines("steps", map(step_json, plan.steps))
    yield "}\n"


def read_plan(data: bytes, name: str) -> Plan | None:
    """Return the plan in a file, None if the file is not a plan (but a spec). name: the file's, for errors.

    The file may have been edited: every value is checked, including those that do not become part of the plan.
    What failed when the plan was made is read too: a run of the plan reports that it is not all of the spec.
    Raises: UsageError for a damaged plan, with the JSON pointer of the damage, and for a plan of another version.
    """
    if _OBJECT.match(data) is None or _KIND.search(data) is None:
        return None
    try:
        source = data.decode("utf-8")
        del data  # a plan of 20,000 images has 30 MB, and its text as many again
        return _Reader().plan(Document(source))
    except Damaged as error:
        if error.path[:1] in (("kind",), ("version",)):
            message = f"{printable(name)} is not a plan of version {VERSION}"
            raise UsageError(message, remedy="make one with `mirrorsync plan --output`") from error
        where, reason = printable(error.pointer), error.reason
    except json.JSONDecodeError as error:
        where, reason = f"line {error.lineno}, column {error.colno}", "not JSON"
    except (ValueError, RecursionError):  # not UTF-8, a number of thousands of digits, nested thousands deep
        where, reason = "/", "not the JSON of a plan"
    raise UsageError(f"{printable(name)} is a damaged plan (at {where}): {reason}", remedy="make a new plan")


def _head(plan: Plan) -> dict[str, Any]:
    """Return the document without its long lists, images and steps."""
    return document(
        "plan",
        {
            "created": plan.created,
            "spec": spec_json(plan.spec),
            "failures": failures_json(plan.failures, plan.spec),
            "totals": {store: _totals_json(totals) for store, totals in plan.totals.items()},
            "read_bytes": plan.read_bytes,
            "unwanted": [{"target": location_json(one.target), "tags": list(one.tags)} for one in plan.unwanted],
            "vanished": vanished_json(plan.vanished),
            "referrers": referrers_json(plan.referrers),
        },
    )


def _lines(key: str, values: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield f",\n{_json(key)}:["
    separator = "\n"
    for value in values:
        yield separator + _json(value)
        separator = ",\n"
    yield "\n]"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _totals_json(totals: Totals) -> dict[str, Any]:
    return {
        "images": {state.value: number for state, number in totals.states.items() if number},
        "blobs": {fate: amount_json(amount.blobs, amount.size) for fate, amount in totals.blobs.items()},
    }


# The member of a plan for a member of its document, if it has another name; and members that are not of the plan.
_PARTS: Final = {"images": "changes"}
_NOT_OF_PLANS: Final = frozenset({"kind", "version", "read_bytes"})
_INDEXES: Final = {mode: mode for mode in get_args(IndexMode) if mode}
_STATES: Final = {state.value: state for state in State}
_VERDICTS: Final[Mapping[str, Verdict]] = {verdict: verdict for verdict in get_args(Verdict)}
# Members of images and failures that plans of earlier versions of the program do not have, or only explained ones.
_ADDED: Final = frozenset({"decision", "filters", "policy"})
_ADDED_TO_IMAGES: Final = _ADDED | {"index", "subject", "whole"}


def _exit_code(value: Any) -> ExitCode:
    code = integer(value)
    if code not in set(ExitCode):
        raise Damaged("not an exit code")
    return ExitCode(code)


_ERROR: Final[Mapping[str, Read[Any]]] = {
    "message": text, "remedy": text, "exit_code": _exit_code, "side": one_of({side: side for side in get_args(Side)}),
    "store": text, "repository": text, "reference": text, "step": text,
}  # fmt: skip
_RELATED: Final[Mapping[str, Read[str]]] = {"kind": some_text, "name": some_text}
_COUNTS: Final[Mapping[str, Read[int]]] = {"found": count, "wanted": count, "behind": count}
_AMOUNT: Final[Mapping[str, Read[int]]] = {"blobs": count, "bytes": count}
_TOTALS: Final[Mapping[str, Read[Any]]] = {
    "images": lambda value: _by(_STATES, members(value, dict.fromkeys(_STATES, at_least_one), optional=_STATES)),
    "blobs": lambda value: members(value, dict.fromkeys(get_args(BlobFate), _amount), optional=get_args(BlobFate)),
}


def _amount(value: Any) -> Amount:
    read = members(value, _AMOUNT)
    return Amount(read["blobs"], read["bytes"])


def _totals(value: Any) -> Totals:
    read = members(value, _TOTALS)
    return Totals(read["images"], read["blobs"])


def _related(value: Any) -> Related:
    return Related(**members(value, _RELATED))


def _referrers(value: Any) -> ReferrerCounts:
    return ReferrerCounts(**members(value, _COUNTS))


def _by(names: Mapping[str, Any], read: Mapping[str, int]) -> dict[Any, int]:
    return {names[name]: value for name, value in read.items()}


class _Reader(StepReader):
    """Reads one plan."""

    def __init__(self) -> None:
        super().__init__()
        self._members: Mapping[str, Read[Any]] = {
            "kind": one_of({KIND: KIND}),
            "version": self._version,
            "created": self.time,
            "spec": self._stamp,
            "failures": lambda value: items(value, self._failure),
            "totals": self._all_totals,
            "read_bytes": count,
            "unwanted": lambda value: items(value, self._unwanted),
            "vanished": lambda value: items(value, self._vanished),
            "referrers": or_null(_referrers),
        }
        self._lists: Mapping[str, Read[Any]] = {"images": self._change, "steps": self.step}
        self._spec: Mapping[str, Read[Any]] = {
            "path": self.path, "digest": self.digest, "only": lambda value: items(value, text),
            "destinations": lambda value: named(value, self._destination),
            "lines": lambda value: named(value, at_least_one), "lock": or_null(self._lock),
        }  # fmt: skip
        self._failures: Mapping[str, Read[Any]] = {
            "subject": text, "error": self._read_error, "mirror": self.shared, "line": or_null(at_least_one),
            "source": or_null(self.location), "followed": or_null(self.followed),
            "targets": lambda value: items(value, self.location),
            "policy": or_null(self.shared), "filters": lambda value: items(value, text),
        }  # fmt: skip
        self._image: Mapping[str, Read[Any]] = {
            "mirror": self.shared, "state": one_of(_STATES), "reason": self.shared, "target": self.location,
            "tag": or_null(self.tag), "before": or_null(self.content), "after": or_null(self.content),
            "source": or_null(self.location), "followed": or_null(self.followed), "platforms": self.platforms,
            "step": self.shared, "stays": lambda value: items(value, _related), "backup_of": or_null(self.tag),
            "decision": or_null(self._decision), "filters": lambda value: items(value, text),
            "older": self.shared,
            "index": or_null(one_of(_INDEXES)), "subject": or_null(self.digest), "whole": or_null(self.digest),
        }  # fmt: skip
        self._error = {**_ERROR, "reference": self.followed}

    def plan(self, found: Document) -> Plan:
        """Return the plan in a document. Raises: Damaged, json.JSONDecodeError."""
        read: dict[str, Any] = {}
        for key in found.members():
            with inside(key):
                if key in self._lists:
                    read[key] = tuple(numbered(found.elements(), self._lists[key]))
                elif key in self._members:
                    read[key] = self._members[key](found.value())
                else:
                    raise Damaged("unknown member")
        check_names(read, (*self._members, *self._lists), optional=("referrers",))
        plan = Plan(**{_PARTS.get(name, name): value for name, value in read.items() if name not in _NOT_OF_PLANS})
        for number, change in enumerate(plan.changes):
            if change.step and change.step not in self.done:
                raise Damaged("not the id of a step", "images", number, "step")
        if read["read_bytes"] != plan.read_bytes:
            raise Damaged("not the sum of the steps", "read_bytes")
        return plan

    def _unwanted(self, value: Any) -> Unwanted:
        return Unwanted(**members(value, {"target": self.location, "tags": self.tags}))

    def _vanished(self, value: Any) -> Vanished:
        reads: Mapping[str, Read[Any]] = {
            "source": self.location, "tags": self.tags, "whole": self.truth, "since": or_null(self.time),
            "acknowledged": self.truth, "refused": self.truth,
        }  # fmt: skip
        read = members(value, reads, optional=("refused",))  # plans of before have none
        return Vanished(since=read.pop("since") or "", **read)

    def _failure(self, value: Any) -> Failure:
        read = members(value, self._failures, optional=_ADDED)
        del read["line"]  # it is that of the mirror, in the stamp of the spec
        return Failure(ref=read.pop("followed"), policy=read.pop("policy", None) or "", **read)

    def _read_error(self, value: Any) -> MirrorsyncError:
        read = members(value, self._error, optional=self._error.keys() - {"message", "exit_code"})
        place = Where(*(read.pop(name, None) for name in ("store", "repository", "reference")))
        code = read.pop("exit_code")
        return MirrorsyncError(**read, place=place if place.store is not None else None).with_(exit_code=code)

    def _destination(self, value: Any) -> Location:
        read = members(value, {"store": self.store, "repository": text})
        with inside("repository"):
            if read["repository"]:  # a prefix: below docker.io, one alone is not a repository of library/
                canonical_repository(read["store"], read["repository"])
        return Location(**read)

    def _change(self, value: Any) -> Change:
        read = members(value, self._image, optional=_ADDED_TO_IMAGES)
        source = read.pop("source")
        origin = {name: read.pop(name, None) for name in ("followed", "platforms", "index", "subject")}
        origin["index"] = origin["index"] or ""
        if source is None and any(origin.values()):
            raise Damaged("missing, but followed, platforms or subject are set", "source")
        if read["before"] is None and read["after"] is None:
            raise Damaged("before and after are both null", "after")
        decided = read.pop("decision", None) or {}
        return Change(origin=Origin(source, **origin) if source is not None else None, **read, **decided)

    def _decision(self, value: Any) -> dict[str, Any]:
        until = or_null(lambda time: timestamp(self.time(time)))
        return members(value, {"policy": some_text, "verdict": one_of(_VERDICTS), "until": until})

    def _lock(self, value: Any) -> LockStamp:
        return LockStamp(**members(value, {"path": self.path, "digest": self.digest}))

    def _stamp(self, value: Any) -> SpecStamp:
        return SpecStamp(**members(value, self._spec))

    def _all_totals(self, value: Any) -> dict[str, Totals]:
        return {self.store(store): totals for store, totals in named(value, _totals).items()}

    def _version(self, value: Any) -> int:
        if type(value) is not int or value != VERSION:
            raise Damaged("another version")
        return value
