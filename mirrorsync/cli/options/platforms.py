"""`--platform`: a platform as people write it, or the machine's own."""

from __future__ import annotations

import platform as machine
from typing import Final

from mirrorsync.oci.platform import Platform

HOST: Final = "host"


def read_platform(text: str) -> Platform:
    """Return the platform `os/architecture[/variant]`, or this machine's for `host`. Raises: GrammarError."""
    return Platform.of_machine(machine.system(), machine.machine()) if text == HOST else Platform.parse(text)
