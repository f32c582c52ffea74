"""The program ssh-keygen: run with the variables of the run, and its failures as errors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from mirrorsync.errors import MirrorsyncError
from mirrorsync.text import printable

PROGRAM: Final = "ssh-keygen"
_SECONDS: Final = 120  # for a verification; a signature waits for a person
_MAX_SAID: Final = 16 * 1024
# What versions say that lack `-Y`, one of its operations, or `-O verify-time`.
_TOO_OLD: Final = ("unknown option", "illegal option", "unsupported operation", "invalid option", "too many arguments")


class SshKeygenFailed(MirrorsyncError):
    """ssh-keygen is not installed, is too old, or did not make a signature."""

    default_remedy = "install OpenSSH 8.9 or newer (Debian: openssh-client, Fedora: openssh)"


@dataclass(frozen=True, slots=True)
class Said:
    """What it did. code: its exit code; out: lines of its output; lines: what it complained about."""

    code: int
    out: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def reason(self) -> str:
        """The last complaint, for people."""
        return self.lines[-1] if self.lines else f"exit code {self.code}"

    def has(self, text: str) -> bool:
        """Return whether it complained with these words."""
        return any(text in line for line in self.lines)


def ask(arguments: Sequence[str], data: Path, variables: Mapping[str, str]) -> Said:
    """Run it with a file as its input, without a person. Raises: SshKeygenFailed if it does not run, or is too old."""
    try:
        with data.open("rb") as stdin:
            done = subprocess.run(  # noqa: PLW1510 - its exit code is the answer
                [PROGRAM, *arguments],
                stdin=stdin,
                capture_output=True,
                env=_environment(variables),
                timeout=_SECONDS,
            )
    except FileNotFoundError:
        raise SshKeygenFailed(f"{PROGRAM} is not installed") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SshKeygenFailed(f"{PROGRAM} does not run: {_why(error)}", remedy=f"try `{PROGRAM} -Y`") from None
    return _checked(Said(done.returncode, _lines(done.stdout), _lines(done.stderr)))


def ask_person(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[Said, bool]:
    """Run it so that it can ask for a passphrase, or for a touch of a key, on the terminal, and wait for it.

    Return also whether there is a terminal. What it says is shown there at once, and returned, too.
    Raises: SshKeygenFailed as `ask` does.
    """
    terminal = _terminal()
    try:
        with subprocess.Popen(
            [PROGRAM, *arguments],
            # With a pipe as its input it would not ask on the terminal (readpass.c).
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(variables),
        ) as process:
            said = b"" if process.stderr is None else _relayed(process.stderr, terminal)
    except FileNotFoundError:
        raise SshKeygenFailed(f"{PROGRAM} is not installed") from None
    except OSError as error:
        raise SshKeygenFailed(f"{PROGRAM} does not run: {_why(error)}", remedy=f"try `{PROGRAM} -Y`") from None
    finally:
        if terminal is not None:
            os.close(terminal)
    return _checked(Said(process.returncode, (), _lines(said))), terminal is not None


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {**variables, "LC_ALL": "C"}


def _terminal() -> int | None:
    """Return the terminal of this process, None if it has none: the standard streams may be files all the same."""
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def _relayed(pipe: IO[bytes], terminal: int | None) -> bytes:
    said = b""
    while data := os.read(pipe.fileno(), 4096):
        said = (said + data)[-_MAX_SAID:]
        if terminal is not None:
            with suppress(OSError):
                os.write(terminal, data)
    return said


def _lines(said: bytes) -> tuple[str, ...]:
    text = said[-_MAX_SAID:].decode(errors="replace")
    return tuple(printable(line.strip()) for line in text.splitlines() if line.strip())


def _checked(said: Said) -> Said:
    if said.code != 0 and any(words in line.lower() for line in said.lines for words in _TOO_OLD):
        raise SshKeygenFailed(f"{PROGRAM} is too old to make and verify signatures: {said.lines[0]}")
    return said


def _why(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer in {_SECONDS} seconds"
    return os.strerror(error.errno or 0)
