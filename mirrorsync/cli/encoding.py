"""Names of files as UTF-8, whatever the locale: in another one Python cannot open what the user or a spec names."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def ensure_utf8() -> None:
    """Start the process again in Python's UTF-8 mode (PEP 540) if its locale has another encoding.

    The arguments are those of the process. Without them (Python runs inside another program) nothing happens.
    """
    if sys.getfilesystemencoding() == "utf-8" or not sys.executable or len(sys.orig_argv) < 2:
        return
    # As bytes: what EUC-JP cannot decode it does not always encode to the same bytes again.
    arguments = Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]
    os.execv(sys.executable, [os.fsencode(sys.executable), b"-X", b"utf8", *arguments])  # noqa: S606 - this program
