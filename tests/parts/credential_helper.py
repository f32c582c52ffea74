"""A credential helper by docker's protocol that stores logins in files, which tests can read."""

from __future__ import annotations

import json
import os
from pathlib import Path

# The request comes over stdin; arguments are logged, since no secret may be among them.
_PROGRAM = """#!/bin/sh
set -e
cd "$(dirname "$0")"
echo "$@" >> arguments
message=$(cat)
file() { echo "stored-$(printf %s "$1" | tr / _)"; }
case "$1" in
store)
    server=$(printf %s "$message" | sed 's/.*"ServerURL": *"\\([^"]*\\)".*/\\1/')
    printf %s "$message" > "$(file "$server")" ;;
get) cat "$(file "$message")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$(file "$message")" ;;
esac
"""


class CredentialHelper:
    """`docker-credential-box` in a directory of its own; `environment` has that directory on PATH."""

    name = "box"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.program = directory / f"docker-credential-{self.name}"
        self.become(_PROGRAM)
        self.environment = {"PATH": f"{directory}:{os.environ['PATH']}"}

    def become(self, script: str) -> None:
        """Replace the helper's program."""
        self.program.write_text(script)
        self.program.chmod(0o755)

    def stored(self) -> dict[str, tuple[str, str]]:
        """Return the stored logins: server -> (username, secret)."""
        documents = [json.loads(path.read_text()) for path in self.directory.glob("stored-*")]
        return {one["ServerURL"]: (one["Username"], one["Secret"]) for one in documents}

    def arguments(self) -> set[str]:
        """Return all arguments that it was ever started with."""
        return set((self.directory / "arguments").read_text().split())
