"""Values as Go writes them: JSON with an indent of four, and times."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))")
# Go's encoder writes them so, to be safe in HTML.
_HTML: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
# The time of an image that has none, in Docker's manifests.
NO_TIME: Final = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, as RFC 3339 writes it."""

    text: str

    def json(self) -> str:
        """Return it as Go's JSON has it: a fraction without zeros at its end."""
        return self._written("{date}T{time}{fraction}{zone}", "Z")

    def __str__(self) -> str:
        """Return it as Go prints it."""
        return self._written("{date} {time}{fraction} {zone}", "+0000 UTC")

    def _written(self, form: str, utc: str) -> str:
        found = _RFC_3339.fullmatch(self.text)
        if found is None:
            return self.text
        date, time, fraction, sign, hours, minutes = found.groups()
        if sign is None or (utc == "+0000 UTC" and hours == minutes == "00"):
            zone = utc
        else:
            zone = f"{sign}{hours}:{minutes}" if utc == "Z" else f"{sign}{hours}{minutes} {sign}{hours}{minutes}"
        return form.format(date=date, time=time, fraction=(fraction or "").rstrip("0").rstrip("."), zone=zone)


def indented(value: Any) -> str:
    """Return JSON as skopeo prints a document."""
    return json.dumps(value, indent=4, ensure_ascii=False, default=_json).translate(_HTML)


def compact(value: Any) -> str:
    """Return JSON as `{{json ...}}` prints a value."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_json)


def _json(value: Any) -> str:
    if isinstance(value, Moment):
        return value.json()
    raise TypeError(type(value).__name__)
