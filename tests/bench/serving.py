"""`python -m tests.bench.serving [--rounds N] [--size MIB] [--clients N]`: our own server beside docker-registry.

curl pushes blobs to both and pulls them from both, in turn, on loopback; the time is curl's own, without its start. Of
several at once the slowest counts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from tests.parts.docker_registry import DockerRegistry
from tests.parts.mirrorsync import Serve
from tests.parts.processes import Server
from tests.parts.wire import ask

_CURL = ("curl", "--silent", "--fail", "--output", "/dev/null", "--write-out", "%{time_total}")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Runs:
    """What the runs of one kind at one server took: seconds of wall time, and of the server's CPU."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main() -> None:
    """Read the options, run both in turn, and print a line for each way and server."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--size", type=int, default=64, metavar="MIB", help="of a blob")
    parser.add_argument("--clients", type=int, default=1, help="how many curls at once, each with a blob of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mirrorsync-bench-") as directory:
        path = Path(directory)
        with DockerRegistry(path / "registry", access_log=False) as theirs, Serve(path / "layout") as ours:
            servers = {"docker-registry": theirs, "mirrorsync": ours}
            runs = {(way, name): Runs() for way in ("push", "pull") for name in servers}
            for number in range(options.rounds):
                blobs = [_blob(path / f"blob{client}", options.size) for client in range(options.clients)]
                order = list(servers) if number % 2 else list(reversed(servers))
                for name in order:
                    subprocess.run(["sync"], check=True)
                    _measure(runs["push", name], servers[name], [_push(servers[name], blob) for blob in blobs])
                for name in order:
                    _measure(runs["pull", name], servers[name], [_pull(servers[name], blob) for blob in blobs])
    _print(runs, options.size * options.clients)


def _blob(path: Path, size: int) -> tuple[Path, str]:
    piece, hasher = os.urandom(1024 * 1024), hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size):
            file.write(piece)
            hasher.update(piece)
    return path, f"sha256:{hasher.hexdigest()}"


def _push(server: Server, blob: tuple[Path, str]) -> list[str]:
    url = f"http://{server.host}/v2/bench/blobs/uploads/"
    location = urljoin(url, str(ask("POST", url, b"").headers["Location"]))
    target = f"{location}{'&' if '?' in location else '?'}digest={blob[1]}"
    return [*_CURL, "--header", "Expect:", "--upload-file", str(blob[0]), target]


def _pull(server: Server, blob: tuple[Path, str]) -> list[str]:
    return [*_CURL, f"http://{server.host}/v2/bench/blobs/{blob[1]}"]


def _measure(runs: Runs, server: Server, commands: Sequence[list[str]]) -> None:
    before = _cpu(server.process.pid)
    curls = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    seconds = [float(curl.communicate()[0]) for curl in curls]
    if any(curl.returncode for curl in curls):
        raise SystemExit(f"curl failed at {server.host}:\n{server.log.read_text()[-2000:]}")
    runs.wall.append(max(seconds))
    runs.cpu.append(_cpu(server.process.pid) - before)


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _print(runs: Mapping[tuple[str, str], Runs], size: int) -> None:
    print(
        f"{'way':5} {'server':16} {'best MiB/s':>10} {'median':>8} {'CPU s':>7} {'ours/theirs best':>17} {'median':>7}"
    )
    for (way, name), one in runs.items():
        best, middle = size / min(one.wall), size / statistics.median(one.wall)
        line = f"{way:5} {name:16} {best:10.0f} {middle:8.0f} {statistics.mean(one.cpu):7.3f}"
        if name == "mirrorsync":
            other = runs[way, "docker-registry"]
            ratios = min(other.wall) / min(one.wall), statistics.median(other.wall) / statistics.median(one.wall)
            line += f" {ratios[0]:17.2f} {ratios[1]:7.2f}"
        print(line)


if __name__ == "__main__":
    main()
