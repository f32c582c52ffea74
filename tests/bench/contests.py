"""The contests: what is measured, who takes part, and where each begins."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.bench import measure, seed, tools
from tests.bench.measure import Cost
from tests.bench.tools import Job, Tool
from tests.parts.docker_registry import DockerRegistry
from tests.parts.processes import free_port, wait_for_port

LARGE = {"bench/large": ("1",)}


@dataclass(frozen=True)
class Contest:
    """One row group of the table.

    images: `small` or `large`. places: what each destination is, `registry` or `layout`. filled: whether the one
    registry has everything before the clock starts. rtt: whether the source is far away. archive: whether the source is
    a docker archive. ours: how mirrorsync is called.
    """

    name: str
    images: str
    rivals: Sequence[Tool]
    places: Sequence[str] = ("registry",)
    filled: bool = False
    rtt: bool = False
    archive: bool = False
    ours: Tool = tools.MIRRORSYNC


CONTESTS = (
    Contest("no change", "small", (tools.REGSYNC, tools.REGSYNC_TUNED, tools.SKOPEO_SYNC), filled=True),
    Contest("no change, far source", "small", (tools.REGSYNC, tools.REGSYNC_TUNED), filled=True, rtt=True),
    Contest("first copy", "small", (tools.REGSYNC, tools.REGSYNC_TUNED, tools.SKOPEO_SYNC)),
    Contest("large, registry to registry", "large", (tools.CRANE, tools.REGCTL, tools.SKOPEO_COPY)),
    Contest("large, registry to layout", "large", (tools.SKOPEO_COPY, tools.REGCTL), places=("layout",)),
    Contest(
        "large, docker archive to registry",
        "large",
        (tools.SKOPEO_PUSH,),
        archive=True,
        ours=tools.MIRRORSYNC_PUSH,
    ),
    Contest("large, to registry and layout", "large", (), places=("registry", "layout")),
)


@dataclass(frozen=True)
class Size:
    """How much there is to do; large in bytes, rtt in milliseconds."""

    repositories: int = 50
    tags: int = 40
    large: int = 1024**3
    rtt: float = 20.0


@dataclass
class Bench:
    """A source registry with content, and fresh destinations for every run."""

    directory: Path
    size: Size
    small: Mapping[str, Sequence[str]] = field(init=False)
    source: DockerRegistry = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Bench:
        storage = seed.Storage(self.directory / "source")
        seed.small_images(storage, self.size.repositories, self.size.tags)
        seed.large_image(storage, self.size.large)
        versions = [f"v1.{tag}" for tag in range(self.size.tags)]
        self.small = {f"bench/app{number:03}": versions for number in range(self.size.repositories)}
        self.source = self._stack.enter_context(DockerRegistry(storage.root, access_log=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, contest: Contest, tool: Tool) -> Cost:
        """Run one tool once, from the beginning that the contest sets."""
        with ExitStack() as stack:
            scratch = stack.enter_context(_directory(self.directory / "run"))
            source = stack.enter_context(self._relay()) if contest.rtt else self.source.host
            source = f"docker-archive:{self._archive}" if contest.archive else source
            registries, places = self._full if contest.filled else _places(contest, scratch, stack)
            images = LARGE if contest.images == "large" else self.small
            # What an earlier run left to be written would be written on this one's time.
            subprocess.run(["sync"], check=True)
            before = self._requests(registries)
            cost = measure.run(tool.command(Job(source, images, places, scratch)), scratch / "run.log")
            return Cost(cost.wall, cost.cpu, cost.memory, self._requests(registries) - before)

    @cached_property
    def _full(self) -> tuple[list[DockerRegistry], list[str]]:
        """A registry that has all small images; one for all runs, as none of them changes it."""
        directory = self._stack.enter_context(_directory(self.directory / "full"))
        registry = self._stack.enter_context(DockerRegistry(directory / "registry", access_log=True))
        job = Job(self.source.host, self.small, [registry.host], directory)
        measure.run(tools.mirrorsync(job), directory / "fill.log")
        return [registry], [registry.host]

    @cached_property
    def _archive(self) -> Path:
        path = self.directory / "large.tar"
        seed.docker_archive(path, self.size.large)
        return path

    def _requests(self, registries: Sequence[DockerRegistry]) -> int:
        return sum(registry.answered() for registry in (self.source, *registries))

    @contextmanager
    def _relay(self) -> Iterator[str]:
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.relay", str(port), self.source.host, str(self.size.rtt)]
        process = subprocess.Popen(command)
        try:
            wait_for_port(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _places(contest: Contest, scratch: Path, stack: ExitStack) -> tuple[list[DockerRegistry], list[str]]:
    """Return the fresh destinations of one run: their registries, and how all of them are named."""
    registries, places = [], []
    for number, place in enumerate(contest.places):
        if place == "layout":
            places.append(f"oci:{scratch / f'layout{number}'}")
        else:
            registries.append(stack.enter_context(DockerRegistry(scratch / f"registry{number}", access_log=True)))
            places.append(registries[-1].host)
    return registries, places


@contextmanager
def _directory(path: Path) -> Iterator[Path]:
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)
