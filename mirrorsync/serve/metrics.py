"""What a server counts, in the text format that Prometheus reads (version 0.0.4 of its exposition format).

The client library of Prometheus would be a dependency for what are two loops here: there are only counters and gauges,
and every value of a label is one of a few words of ours. Repositories and users are never labels: their number has no
limit.
"""

from __future__ import annotations

import os
import re
import resource
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from mirrorsync.events import Event, Observer, Served

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "mirrorsync_serve_"
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
_OTHER: Final = "other"
_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second
_KINDS: Final[tuple[tuple[str, str], ...]] = (
    ("blob", r"/v2/.+/blobs/(?!uploads/)[^/]+"),
    ("manifest", r"/v2/.+/manifests/[^/]+"),
    ("upload", r"/v2/.+/blobs/uploads/[^/]*"),
    ("version", r"/v2/"),
    ("tags", r"/v2/.+/tags/list"),
    ("referrers", r"/v2/.+/referrers/[^/]+"),
    ("catalog", r"/v2/_catalog"),
    ("page", r"/"),
    ("health", r"/healthz"),
    ("metrics", r"/metrics"),
)
_KIND: Final = re.compile("|".join(f"(?P<{kind}>{path})" for kind, path in _KINDS), re.DOTALL)

Value = int | float
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Values of one name. values: by the labels, which are of a few words."""

    name: str
    help: str
    values: Mapping[Labels, Value]
    type: Literal["counter", "gauge"] = "gauge"

    def lines(self) -> Iterable[str]:
        """Yield the lines of the text format."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.type}"
        for labels, value in self.values.items():
            inside = ",".join(f'{label}="{word}"' for label, word in labels)
            yield f"{self.name}{{{inside}}} {value}" if inside else f"{self.name} {value}"


def one(name: str, text: str, value: Value, kind: Literal["counter", "gauge"] = "gauge") -> Family:
    """Return a family of one value without labels. name: without the prefix that ours have."""
    return Family(_PREFIX + name, text, {(): value}, kind)


def exposition(families: Iterable[Family]) -> str:
    """Return values in the text format."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def kind_of(path: str) -> str:
    """Return what a path is that of, in one of a few words."""
    found = _KIND.fullmatch(path)
    return (found.lastgroup if found else None) or _OTHER


@dataclass(slots=True)
class Traffic:
    """The requests that were answered since the start."""

    requests: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    rejected_logins: int = 0
    written_at: float = 0.0

    def counting(self, observer: Observer) -> Observer:
        """Return the observer that counts, and hands on to another one."""

        def count(event: Event) -> None:
            if isinstance(event, Served):
                self._count(event)
            observer(event)

        return count

    def reject(self) -> None:
        """Count a wrong login."""
        self.rejected_logins += 1

    def _count(self, event: Served) -> None:
        kind = kind_of(event.path)
        method = event.method if event.method in _METHODS else _OTHER
        self.requests[method, event.status, kind] += 1
        self.received[kind] += event.received
        self.sent[kind] += event.sent
        self.seconds[kind] += event.seconds  # type: ignore[assignment] # a Counter also counts fractions
        if kind == "manifest" and method in ("PUT", "DELETE") and event.status < 300:
            self.written_at = time.time()

    def families(self) -> list[Family]:
        """Return what was counted."""
        by_kind = (
            ("received_bytes_total", "Bytes of the bodies of requests.", self.received),
            ("sent_bytes_total", "Bytes of the bodies of answers.", self.sent),
            ("request_seconds_total", "Seconds from the heads of requests to the ends of their answers.", self.seconds),
        )
        requests: dict[Labels, Value] = {
            (("method", method), ("status", str(status)), ("kind", kind)): count
            for (method, status, kind), count in sorted(self.requests.items())
        }
        found = [Family(f"{_PREFIX}requests_total", "Requests that were answered.", requests, "counter")]
        for name, text, counts in by_kind:
            values: dict[Labels, Value] = {(("kind", kind),): count for kind, count in sorted(counts.items())}
            found.append(Family(_PREFIX + name, text, values, "counter"))
        found.append(one("rejected_logins_total", "Wrong usernames or passwords.", self.rejected_logins, "counter"))
        text = "When a manifest was last pushed or deleted here, in Unix time; 0 if that has not happened."
        found.append(one("last_write_timestamp_seconds", text, self.written_at))
        return found


def of_process() -> list[Family]:
    """Return what Prometheus expects of every process ("Process metrics"), as far as Linux says it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = resource.getrusage(resource.RUSAGE_SELF)
    values: list[tuple[str, str, Value, Literal["counter", "gauge"]]] = [
        ("cpu_seconds_total", "CPU time of the process.", used.ru_utime + used.ru_stime, "counter"),
        ("max_fds", "File descriptors that it may open.", soft, "gauge"),
    ]
    with suppress(OSError):
        values.append(("open_fds", "File descriptors that it has open.", len(os.listdir("/proc/self/fd")), "gauge"))  # noqa: PTH208
        # proc(5): the name, in parentheses, can contain anything. The 20th field behind it is the start in ticks since
        # the boot, then come bytes of virtual memory and pages of resident memory.
        fields = Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        values += [
            ("start_time_seconds", "When it started, in Unix time.", booted + int(fields[19]) / _TICKS, "gauge"),
            ("virtual_memory_bytes", "Virtual memory.", int(fields[20]), "gauge"),
            ("resident_memory_bytes", "Resident memory.", int(fields[21]) * resource.getpagesize(), "gauge"),
        ]
    return [Family(f"process_{name}", text, {(): value}, kind) for name, text, value, kind in values]
