"""Log lines on stderr, for cron, journald and log collectors. structlog is configured here and nowhere else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from mirrorsync.cli.console import LogFormat
from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import (
    BlobEnded,
    BlobStarted,
    Event,
    Noticed,
    Observer,
    PhaseStarted,
    Retrying,
    Served,
    StepFailed,
    TagSet,
    TransferPlanned,
)

# What is shown: -1 (quiet) warnings; 0 what was done; 1 phases, retries and requests; 2 blobs.
_LEVELS: Final = {-1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}
_RENDERERS: Final[Mapping[LogFormat, Callable[[], Any]]] = {
    "text": lambda: structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
    "json": structlog.processors.JSONRenderer,
}


def logger(log_format: LogFormat, level: int) -> Any:
    """Return a structlog logger that writes to stderr. level: -1 quiet, 0 normal, 1 and more verbose."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _RENDERERS[log_format](),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS.get(level, logging.DEBUG)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    return structlog.get_logger()


def event_logger(log_format: LogFormat, level: int) -> Observer:
    """Return the observer that writes a line for each event worth one."""
    log = logger(log_format, level)

    def observe(event: Event) -> None:
        write = _LINES.get(type(event))
        if write is not None and (level > 1 or not isinstance(event, BlobStarted | BlobEnded)):
            write(log, event)

    return observe


_LINES: Final[Mapping[type[Any], Callable[[Any, Any], None]]] = {
    PhaseStarted: lambda log, event: log.debug("phase", phase=event.phase, items=event.total),
    TransferPlanned: lambda log, event: log.debug("transfer", bytes=event.size),
    BlobStarted: lambda log, event: log.debug("blob", digest=event.digest, bytes=event.size, source=event.source),
    BlobEnded: lambda log, event: log.debug("blob ended", digest=event.digest),
    TagSet: lambda log, event: log.info("image done", image=event.image, digest=event.digest),
    StepFailed: lambda log, event: log.error("step failed", step=event.step, error=str(event.error), **_help(event)),
    Retrying: lambda log, event: log.warning(
        "trying again", what=event.what, attempt=event.attempt, seconds=round(event.delay, 1), reason=event.reason
    ),
    Noticed: lambda log, event: log.warning("notice", where=event.where, message=event.message),
    Served: lambda log, event: log.debug("request", method=event.method, path=event.path, status=event.status),
}


def _help(event: StepFailed) -> dict[str, str]:
    error = event.error
    return {"remedy": error.remedy} if isinstance(error, MirrorsyncError) and error.remedy else {}
