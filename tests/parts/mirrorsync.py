"""mirrorsync as a process, with arguments, environment and exit code."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.parts.documents import valid
from tests.parts.forked import Forked, fits
from tests.parts.forkserver import ForkServer
from tests.parts.processes import Server, free_port

COMMAND = (sys.executable, "-m", "mirrorsync")


@dataclass(frozen=True)
class Done:
    """The exit code and output of a run."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the one document on stdout, which is as its schema says."""
        document = json.loads(self.out)
        # Not ours, and without a kind, is what `inspect --raw` and `--config` print.
        return valid(document) if "kind" in document else document


class Mirrorsync:
    """Runs mirrorsync in a directory of its own, with no credentials, cache or proxies of the machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(exist_ok=True)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the whole environment of a run."""
        runtime = self.directory / ".run"
        runtime.mkdir(exist_ok=True)
        own = {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(runtime), "LANG": "C.UTF-8"}
        return {"PATH": os.environ["PATH"], **own, **(extra or {})}

    def __call__(
        self, *words: str | Path, env: Mapping[str, str] | None = None, code: int | None = None, stdin: str = ""
    ) -> Done:
        """Run it to its end. code: the exit code that is asserted, None = any. stdin: what it can read there."""
        environment = self.environment(env)
        run = _forked if fits(environment) else _started
        result = run([str(word) for word in words], self.directory, environment, stdin)
        assert "Traceback" not in result.err, result.err
        assert code is None or result.code == code, f"exit code {result.code}\n{result.out}\n{result.err}"
        return result

    def start(self, *words: str, streams: Sequence[int], env: Mapping[str, str] | None = None) -> Forked:
        """Start it. streams: descriptors for its stdin, stdout and stderr."""
        return _server().start(words, self.directory, self.environment(env), streams)

    def spec(self, document: Mapping[str, Any], name: str = "mirror.yaml") -> Path:
        """Write a spec; JSON is YAML too."""
        path = self.directory / name
        path.write_text(json.dumps({"version": 1, **document}, indent=1))
        return path


def _started(words: Sequence[str], directory: Path, environment: Mapping[str, str], stdin: str) -> Done:
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, cwd=directory, env=environment, input=stdin, timeout=300
    )
    return Done(done.returncode, done.stdout, done.stderr)


def _forked(words: Sequence[str], directory: Path, environment: Mapping[str, str], stdin: str) -> Done:
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        process = _server().start(words, directory, environment, [one.fileno() for one in (given, out, err)])
        return Done(process.wait(300), _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _server() -> ForkServer:
    server = ForkServer()
    atexit.register(server.close)
    return server


class Running:
    """A running mirrorsync, whose stdout and stderr can be read meanwhile."""

    def __init__(self, mirrorsync: Mirrorsync, *words: str) -> None:
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        with Path(os.devnull).open() as none:
            self.process = mirrorsync.start(*words, streams=[none.fileno(), to_out, to_err])
        os.close(to_out)
        os.close(to_err)
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)

    def close(self) -> None:
        """Close the pipes."""
        self.stdout.close()
        self.stderr.close()

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self.process.kill()
        self.process.wait(60)
        self.close()


def program() -> str:
    """Return the path of a program that is `mirrorsync` and starts fast. SIGKILL does not reach what it has started."""
    return str(_server().bin / "mirrorsync")


def shell_path() -> str:
    """Return the PATH of a shell that starts `mirrorsync` fast."""
    return f"{_server().bin}:{Path(sys.executable).parent}:{os.environ['PATH']}"


def plain(*hosts: str, **settings: Any) -> dict[str, Any]:
    """Return the `registries` of a spec for hosts that speak plain HTTP."""
    return {host: {"plain_http": True, **settings} for host in hosts}


class Serve(Server):
    """`mirrorsync serve` over a layout. writable: whether tests may push to it. env: its variables."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        writable: bool = True,
        listen: str = "127.0.0.1",
        env: Mapping[str, str] | None = None,
    ) -> None:
        port = free_port()
        words = ["serve", f"oci:{directory}", "--listen", f"{listen}:{port}", *options]
        words += ["--writable"] if writable else []
        environment = env or {"PATH": os.environ["PATH"], "HOME": str(directory.parent), "LANG": "C.UTF-8"}

        def start(output: IO[bytes]) -> Forked:
            with Path(os.devnull).open("rb") as none:
                streams = [none.fileno(), output.fileno(), output.fileno()]
                return _server().start(words, directory.parent, environment, streams)

        super().__init__(start, port, directory.parent / f"{directory.name}.serve.log")
