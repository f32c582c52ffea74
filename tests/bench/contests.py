"""The contests: what is measured, who takes part, and where each begins."""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import mirrorsync
from tests.bench import measure, seed, tools
from tests.bench.measure import Cost
from tests.bench.tools import Job, Tool
from tests.parts.certificates import Authority, Certificate
from tests.parts.docker_registry import DockerRegistry
from tests.parts.processes import free_port, wait_for_port

LARGE = {"bench/large": ("1",)}


@dataclass(frozen=True)
class Contest:
    """One row group of the table.

    images: `small` or `large`. places: what each destination is, `registry` or `layout`. filled: whether the one
    registry has everything before the clock starts. rtt: whether the source is far away. tls: whether the registries
    speak TLS, which docker-registry offers HTTP/2 over. source: what is read: `registry`, `archive` (of docker),
    `layout`, or `bundle` (with what other tools wrote of the same image). ours: how mirrorsync is called.
    """

    name: str
    images: str
    rivals: Sequence[Tool]
    places: Sequence[str] = ("registry",)
    filled: bool = False
    rtt: bool = False
    tls: bool = False
    source: str = "registry"
    ours: Tool = tools.MIRRORSYNC


CONTESTS = (
    Contest("no change", "small", (tools.REGSYNC, tools.REGSYNC_TUNED, tools.SKOPEO_SYNC), filled=True),
    Contest("no change, far source", "small", (tools.REGSYNC, tools.REGSYNC_TUNED), filled=True, rtt=True),
    Contest(
        "no change, far source, TLS",
        "small",
        (tools.REGSYNC, tools.REGSYNC_TUNED, tools.SKOPEO_SYNC),
        filled=True,
        rtt=True,
        tls=True,
    ),
    Contest("first copy", "small", (tools.REGSYNC, tools.REGSYNC_TUNED, tools.SKOPEO_SYNC)),
    Contest("first copy, far source", "small", (tools.REGSYNC_TUNED,), rtt=True),
    Contest("first copy, far source, TLS", "small", (tools.REGSYNC_TUNED,), rtt=True, tls=True),
    Contest("large, registry to registry", "large", (tools.CRANE, tools.REGCTL, tools.SKOPEO_COPY)),
    Contest("large, registry to layout", "large", (tools.SKOPEO_COPY, tools.REGCTL), places=("layout",)),
    Contest(
        "large, docker archive to registry",
        "large",
        (tools.SKOPEO_PUSH,),
        source="archive",
        ours=tools.MIRRORSYNC_PUSH,
    ),
    Contest("large, to registry and layout", "large", (), places=("registry", "layout")),
    Contest(
        "bundle, create from layout",
        "large",
        (tools.CP,),
        places=("nowhere",),
        source="layout",
        ours=tools.MIRRORSYNC_BUNDLE,
    ),
    Contest(
        "bundle, create from registry",
        "large",
        (tools.CP, tools.ORAS_BACKUP, tools.HAULER_SAVE, tools.OC_MIRROR_TO_DISK),
        places=("nowhere",),
        ours=tools.MIRRORSYNC_BUNDLE,
    ),
    Contest(
        "bundle, import into layout",
        "large",
        (tools.CP, tools.MIRRORSYNC_IN_PASSING),
        places=("layout",),
        source="bundle",
        ours=tools.MIRRORSYNC_IMPORT,
    ),
    Contest(
        "bundle, import into registry",
        "large",
        (
            tools.CP,
            tools.CURL,
            tools.MIRRORSYNC_IN_PASSING,
            tools.ORAS_RESTORE,
            tools.HAULER_LOAD,
            tools.OC_MIRROR_FROM_DISK,
        ),
        source="bundle",
        ours=tools.MIRRORSYNC_IMPORT,
    ),
    Contest(
        "bundle of small images, create",
        "small",
        (),
        places=("nowhere",),
        ours=tools.MIRRORSYNC_BUNDLE,
    ),
)
_NOWHERE = "registry.example.com/mirror"
"""A destination that is only named: a bundle is made for it, and it is not asked."""


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
        # As pip does when it installs: a checkout under PYTHONDONTWRITEBYTECODE would be compiled at every start.
        compileall.compile_dir(Path(mirrorsync.__file__).parent, quiet=1)
        storage = seed.Storage(self.directory / "source")
        seed.small_images(storage, self.size.repositories, self.size.tags)
        seed.large_image(storage, self.size.large)
        versions = [f"v1.{tag}" for tag in range(self.size.tags)]
        self.small = {f"bench/app{number:03}": versions for number in range(self.size.repositories)}
        self.source = self._stack.enter_context(DockerRegistry(storage.root))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, contest: Contest, tool: Tool) -> Cost:
        """Run one tool once, from the beginning that the contest sets."""
        with ExitStack() as stack:
            scratch = stack.enter_context(_directory(self.directory / "run"))
            source = self.source_over_tls if contest.tls else self.source
            host = stack.enter_context(self._relay(source)) if contest.rtt else source.host
            host, content = self._read(contest, host)
            registries, places = self._filled(contest) if contest.filled else self._empty(contest, scratch, stack)
            images = LARGE if contest.images == "large" else self.small
            job = Job(host, images, places, scratch, self._authority.path if contest.tls else None, content)
            # What an earlier run left to be written would be written on this one's time.
            subprocess.run(["sync"], check=True)
            before = _answered(source, *registries)
            cost = measure.run(tool.command(job), scratch / "run.log")
            return Cost(cost.wall, cost.cpu, cost.memory, _answered(source, *registries) - before)

    def _read(self, contest: Contest, host: str) -> tuple[str, Sequence[Path]]:
        """Return the source of a contest, and the files with its content."""
        if contest.source == "archive":
            return f"docker-archive:{self._archive}", [self._archive]
        if contest.source == "layout":
            return f"oci:{self._layout}", [self._layout]
        if contest.source == "bundle":
            return f"bundle:{self._bundle}", sorted(self._bundle.glob("*.tar"))
        return host, [seed.Storage(self.source.storage).largest()]

    def _filled(self, contest: Contest) -> tuple[list[DockerRegistry], list[str]]:
        """Return the one destination that has everything, and how it is named."""
        registry = self.full_over_tls if contest.tls else self._full
        return [registry], [registry.host]

    def _empty(self, contest: Contest, scratch: Path, stack: ExitStack) -> tuple[list[DockerRegistry], list[str]]:
        """Return the fresh destinations of one run: their registries, and how all of them are named."""
        registries, places = [], []
        for number, place in enumerate(contest.places):
            if place == "layout":
                places.append(f"oci:{scratch / f'layout{number}'}")
            elif place == "nowhere":
                places.append(_NOWHERE)
            else:
                registries.append(stack.enter_context(self._registry(scratch / f"registry{number}", contest.tls)))
                places.append(registries[-1].host)
        return registries, places

    def _registry(self, storage: Path, tls: bool) -> DockerRegistry:
        if not tls:
            return DockerRegistry(storage)
        return DockerRegistry(storage, certificate=self._certificate.path, key=self._certificate.key)

    def _over_tls(self, registry: DockerRegistry) -> DockerRegistry:
        """Start a second registry over the storage of one, for contests that only read it."""
        storage = registry.storage.with_name(f"{registry.storage.name}-tls")
        storage.symlink_to(registry.storage)
        return self._stack.enter_context(self._registry(storage, tls=True))

    @cached_property
    def _authority(self) -> Authority:
        return Authority(self.directory)

    @cached_property
    def _certificate(self) -> Certificate:
        return self._authority.issue("registry")

    @cached_property
    def source_over_tls(self) -> DockerRegistry:
        """The source again, for contests over TLS."""
        return self._over_tls(self.source)

    @cached_property
    def full_over_tls(self) -> DockerRegistry:
        """The registry that has all small images again, for contests over TLS."""
        return self._over_tls(self._full)

    @cached_property
    def _full(self) -> DockerRegistry:
        """A registry that has all small images; one for all runs, as none of them changes it."""
        directory = self._stack.enter_context(_directory(self.directory / "full"))
        registry = self._stack.enter_context(DockerRegistry(directory / "registry"))
        job = Job(self.source.host, self.small, [registry.host], directory)
        measure.run(tools.mirrorsync(job), directory / "fill.log")
        return registry

    @cached_property
    def _archive(self) -> Path:
        path = self.directory / "large.tar"
        seed.docker_archive(path, self.size.large)
        return path

    @cached_property
    def _layout(self) -> Path:
        """A layout with the large image."""
        path = self.directory / "layout"
        self._fill(tools.mirrorsync, f"oci:{path}")
        return path

    @cached_property
    def _bundle(self) -> Path:
        """A bundle with the large image; what other tools wrote of it is next to it, as far as they are present."""
        self._fill(tools.mirrorsync_bundle, _NOWHERE, self.directory)
        for tool in (tools.ORAS_BACKUP, tools.HAULER_SAVE, tools.OC_MIRROR_TO_DISK):
            if tool.present:
                self._fill(tool.command, _NOWHERE, self.directory)
        return self.directory / "bundle"

    def _fill(self, command: Callable[[Job], list[str]], place: str, scratch: Path | None = None) -> None:
        with _directory(self.directory / "filling") as directory:
            job = Job(self.source.host, LARGE, [place], scratch or directory)
            measure.run(command(job), directory / "fill.log")

    @contextmanager
    def _relay(self, source: DockerRegistry) -> Iterator[str]:
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.relay", str(port), source.host, str(self.size.rtt)]
        process = subprocess.Popen(command)
        try:
            wait_for_port(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _answered(*registries: DockerRegistry) -> int:
    return sum(registry.answered() for registry in registries)


@contextmanager
def _directory(path: Path) -> Iterator[Path]:
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)
