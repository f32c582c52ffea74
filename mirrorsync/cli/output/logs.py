"""Log lines on stderr, for cron, journald and log collectors. structlog is configured here and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from mirrorsync.cli.output.stdio import LINE_LIMIT, LogFormat
from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import (
    BlobEnded,
    BlobStarted,
    Deleted,
    Event,
    Noticed,
    Observer,
    PhaseStarted,
    ReadPlanned,
    Retrying,
    Served,
    StepFailed,
    TagSet,
    TransferPlanned,
)
from mirrorsync.plan.model import Failure, SpecStamp
from mirrorsync.text import printable

_RENDERERS: Final[Mapping[LogFormat, Callable[[Any], Any]]] = {
    "text": lambda processors: processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
    "json": lambda processors: processors.JSONRenderer(),
}


@dataclass(frozen=True, slots=True)
class _Line:
    """How an event is logged. verbosity: the lowest one that logs it (-1 is --quiet, 0 the default, 1 -v, 2 -vv)."""

    verbosity: int
    level: str
    text: str
    fields: Callable[[Any], dict[str, Any]]


# Failures are logged even with --quiet, so that cron mails them; by default, also changes, notices and retries.
_LINES: Final[Mapping[type[Any], _Line]] = {
    StepFailed: _Line(
        -1,
        "error",
        "step failed",
        lambda event: {"step": event.step, "error": str(event.error), **_remedy(event.error)},
    ),
    Noticed: _Line(0, "warning", "notice", lambda event: {"where": event.where, "message": event.message}),
    Retrying: _Line(
        0,
        "warning",
        "retrying",
        lambda event: {
            "what": event.what,
            "attempt": event.attempt,
            "seconds": round(event.delay, 1),
            "reason": event.reason,
        },
    ),
    TagSet: _Line(0, "info", "image done", lambda event: {"image": event.image, "digest": event.digest}),
    Deleted: _Line(
        0,
        "info",
        "image deleted",
        lambda event: {"image": event.image, "digest": event.digest, "by_digest": event.by_digest},
    ),
    PhaseStarted: _Line(1, "debug", "phase", lambda event: {"phase": event.phase, "items": event.total}),
    ReadPlanned: _Line(1, "debug", "reading", lambda event: {"blobs": event.blobs, "bytes": event.size}),
    TransferPlanned: _Line(1, "debug", "transfer", lambda event: {"bytes": event.size, "images": event.images}),
    Served: _Line(
        1,
        "debug",
        "request",
        lambda event: {
            "client": event.client,
            **({"user": event.user} if event.user else {}),
            "method": event.method,
            "path": event.path,
            "status": event.status,
            "received": event.received,
            "sent": event.sent,
            "seconds": round(event.seconds, 4),
        },
    ),
    BlobStarted: _Line(
        2,
        "debug",
        "blob",
        lambda event: {
            "digest": event.digest,
            "bytes": event.size,
            "source": event.source,
            **({"image": event.image} if event.image else {}),
        },
    ),
    BlobEnded: _Line(2, "debug", "blob ended", lambda event: {"digest": event.digest}),
}


def log(log_format: LogFormat, level: str, text: str, fields: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write one log line to stderr. It never raises: a full disk or a closed pipe must not end a run."""
    with suppress(OSError):
        getattr(_logger(log_format), level)(text, **fields)


def log_error(log_format: LogFormat, error: MirrorsyncError) -> None:
    """Write the log line of an error that ends a command."""
    log(log_format, "error", str(error), {**_remedy(error), "exit_code": int(error.exit_code)})


def event_logger(log_format: LogFormat, verbosity: int, *, ready: bool = False) -> Observer:
    """Return an observer that logs events. verbosity: -1 quiet, 0 normal, 1 and more.

    ready: load the logger now, since that can be impossible later, without free file descriptors.
    """
    if ready:
        _logger(log_format)
    # People get a list of the images that failed at the end of the run.
    listed_later = log_format == "text" and verbosity < 1

    def observe(event: Event) -> None:
        line = _LINES.get(type(event))
        if line is None or line.verbosity > verbosity or (isinstance(event, StepFailed) and listed_later):
            return
        log(log_format, line.level, line.text, line.fields(event))

    return observe


def log_failures(failures: Iterable[Failure], spec: SpecStamp | None) -> None:
    """Log failures as JSON lines; those of steps were logged when they occurred. spec: that of the run."""
    for failure in failures:
        if failure.error.step is None:
            line = spec.lines.get(failure.mirror) if spec is not None else None
            fields = {"subject": failure.subject, "error": str(failure.error), **_remedy(failure.error)}
            log("json", "error", "failed", {**fields, **({"line": line} if line else {})})


def log_alarms(lines: Iterable[str]) -> None:
    """Log alarms as JSON lines."""
    for line in lines:
        log("json", "warning", "alarm", {"message": line.removeprefix("alarm: ")})


@cache
def _logger(log_format: LogFormat) -> Any:
    """Return a structlog logger that writes to stderr."""
    # Imported at the first line: a run from cron that logs nothing starts 50 ms sooner.
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _printable,
            _RENDERERS[log_format](structlog.processors),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    return structlog.get_logger()


def _printable(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: printable(value, LINE_LIMIT) if isinstance(value, str) else value for key, value in line.items()}


def _remedy(error: Exception) -> dict[str, str]:
    return {"remedy": error.remedy} if isinstance(error, MirrorsyncError) and error.remedy else {}
