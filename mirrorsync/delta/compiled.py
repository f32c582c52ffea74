"""Whether the compiled part is there: it needs a C compiler when mirrorsync is installed."""

from __future__ import annotations

from dataclasses import dataclass

from mirrorsync.errors import MirrorsyncError

try:
    import mirrorsync.delta._deflate  # noqa: F401 # its presence is the question
except ImportError as error:
    _REASON = f"mirrorsync was installed without its compiled part ({error})"
else:
    _REASON = ""


class DeltasUnavailable(MirrorsyncError):
    """This installation lacks the compiled part that deltas need."""

    default_remedy = "install a C compiler and the headers of Python (gcc, python3-dev), and mirrorsync once more"


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether deltas can be made and applied here. True if they can; reason: why not, "" if they can."""

    reason: str

    def __bool__(self) -> bool:
        return not self.reason


def available() -> Availability:
    """Return whether deltas can be made and applied by this installation."""
    return Availability(_REASON)
