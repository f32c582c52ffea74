"""Remedies that name only what a verb has: keys of its spec, or its own options."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass, replace
from typing import Any, Final, TypeVar

import click

from mirrorsync.errors import MirrorsyncError, Side
from mirrorsync.remedies import ByVerb

T = TypeVar("T")

_OPTION: Final = re.compile(r"--([a-z][a-z-]*)")
_PREFIXES: Final[Mapping[Side | None, str]] = {"source": "src-", "destination": "dest-", None: "src-"}


def fitting(error: MirrorsyncError, command: click.Command | None = None) -> MirrorsyncError:
    """Return an error with the form of its remedy that fits a command; None = the one that runs."""
    remedy, context = error.remedy, click.get_current_context(silent=True)
    command = command or (context.command if context is not None else None)
    if not isinstance(remedy, ByVerb) or command is None:
        return error
    names = {parameter.name for parameter in command.params}
    if context is not None and context.command is command and context.params.get("spec", "") is None:
        names.discard("spec")  # an option that was not given
    # A verb that also takes a location has its options for that; only a spec has sides.
    if "spec" in names or ("spec_or_location" in names and error.side is not None):
        return error.with_(remedy=str(remedy.spec))
    known = {option for parameter in command.params for option in parameter.opts}
    return error.with_(remedy=_written(remedy.options, known, error.side) or str(remedy.spec))


def _written(text: str, known: Collection[str], side: Side | None) -> str:
    """Return a text with the options as a command has them, "" if it lacks one."""
    for name in _OPTION.findall(text):
        own = f"--{_PREFIXES[side]}{name}"
        if own in known:
            text = text.replace(f"--{name}", own)
        elif f"--{name}" not in known:
            return ""
    return text


def with_fitting(result: T) -> T:
    """Return the result of a run with fitting remedies in its failures: a plan, a report, or several of them."""
    context = click.get_current_context(silent=True)
    return result if context is None else _fitted(result, context.command)


def _fitted(result: T, command: click.Command) -> T:
    if not is_dataclass(result) or isinstance(result, type):
        return result
    changed: dict[str, Any] = {}
    for name in ("plan", "report"):
        if getattr(result, name, None) is not None:
            changed[name] = _fitted(getattr(result, name), command)
    if getattr(result, "failures", ()) and "report" not in changed and "plan" not in changed:
        failures: Any = getattr(result, "failures")  # noqa: B009 - of a type that is not known here
        changed["failures"] = tuple(replace(one, error=fitting(one.error, command)) for one in failures)
    return replace(result, **changed) if changed else result
