"""A one-way link that loses bundles: `python -m tests.simulation.oneway --rounds 100 --seed 1`.

Each round upstream changes, the sender carries what is new (`--have sent`), and the link loses all of it or some parts.
A code is all that comes back; the sender answers with what is lacking, and the link may lose that, too. Whenever that
bundle arrives, or the newest one and no code was needed, the destination must have exactly what upstream has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from mirrorsync.app.bundle.applying import answer_bundle, apply_bundle
from mirrorsync.app.bundle.creating import Bundled, Wanted, create_bundle
from mirrorsync.app.specs import load_spec
from mirrorsync.bundle.model import Bundle
from mirrorsync.environment import Environment
from mirrorsync.oci.digest import Digest
from tests.parts.images import Image, artifact, image, index, layer, noise, write_layout

_NAMES = ("app", "team/web", "db")
_PART_BYTES = 150_000


@dataclass
class Figures:
    """What has happened. repaired: rounds with a loss after which the destination had everything."""

    rounds: int = 0
    bundles: int = 0
    lost_bundles: int = 0
    lost_parts: int = 0
    lost_answers: int = 0
    repaired: int = 0
    unnoticed: int = 0
    silent: int = 0
    longest_code: int = 0
    sent_bytes: int = 0
    again_bytes: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in vars(self).items())


@dataclass
class Link:
    """Both sides, and what is between them. loss: how likely a bundle, or else each of its parts, is lost."""

    directory: Path
    seed: int
    loss: float = 0.4
    wanted: dict[str, Image] = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._made = 0
        self._pool: list[bytes] = []
        self._past: list[Image] = []
        self._received: Path | None = None

    def round(self) -> None:
        """Let upstream change, send, lose, answer and repair. Raises: AssertionError if that does not converge."""
        self.figures.rounds += 1
        self._change()
        sent = self._create(*(["sent"] if self.figures.bundles else []))
        arrived = sent is None or self._travel(sent)
        if self._received is None:
            self.figures.silent += 1  # not one document has arrived: the far side cannot know that it should wait
            return
        code = self._code()
        if not code:
            if arrived:
                assert sent is None or self.state() == self._goal()
            # Nothing tells the far side about a newest bundle that is lost.
            self.figures.unnoticed += self.state() != self._goal()
            return
        self.figures.longest_code = max(self.figures.longest_code, len(code))
        again = self._create(answer=code)
        assert again is not None, "the sender has nothing for a code that names what is lacking"
        assert again.answers is not None
        self.figures.again_bytes += sum(part.body for part in again.parts)
        if self._random.random() < self.loss / 2:
            self.figures.lost_answers += 1
            return
        self._deliver(again, set(range(1, len(again.parts) + 1)))
        assert not self._code()
        assert self.state() == self._goal()
        self.figures.repaired += 1

    def finish(self) -> None:
        """Send one bundle more, without a loss; then an answer if it is needed."""
        self.loss = 0
        self.round()
        assert self.state() == self._goal()

    def state(self) -> dict[str, str]:
        """Return the tags of the destination that are wanted, after all their content was hashed."""
        where = self.directory / "far"
        entries = json.loads((where / "index.json").read_text())["manifests"] if where.exists() else []
        found = {}
        for entry in entries:
            name = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
            if name in self.wanted:
                self._read(entry["digest"])
                found[name] = entry["digest"]
        return found

    def _read(self, digest: str) -> None:
        data = (self.directory / "far/blobs/sha256" / digest[7:]).read_bytes()
        assert Digest.of(data) == digest
        if data.startswith(b'{"schemaVersion"') or b'"manifests"' in data[:200]:
            value = json.loads(data)
            parts = [
                *value.get("manifests", ()),
                *value.get("layers", ()),
                *([value["config"]] if "config" in value else []),
            ]
            for one in parts:
                self._read(one["digest"])

    def _goal(self) -> dict[str, str]:
        return {name: made.digest for name, made in self.wanted.items()}

    def _code(self) -> str:
        assert self._received is not None
        environment = Environment(state_directory=self.directory / "far-state")
        return asyncio.run(answer_bundle(self._received, self._far, environment=environment)).code

    @property
    def _far(self) -> str:
        return f"oci:{self.directory / 'far'}"

    def _change(self) -> None:
        """Let tags appear, move, move back and vanish."""
        for _ in range(self._random.randint(1, 3)):
            names = sorted(self.wanted)
            what = self._random.random()
            if what < 0.15 and len(names) > 6:
                del self.wanted[self._random.choice(names)]
            elif what < 0.35 and names:
                self.wanted[self._random.choice(names)] = self._random.choice(self._past)
            else:
                number = self._random.randint(1, 5)
                self.wanted[f"{self._random.choice(_NAMES)}:{number}"] = self._image()
        # Every repository keeps one tag, or its list of tags is an error.
        for name in _NAMES:
            self.wanted.setdefault(f"{name}:0", self._image())
        shutil.rmtree(self.directory / "source", ignore_errors=True)
        write_layout(self.directory / "source", self.wanted)

    def _image(self) -> Image:
        self._made += 1
        self._pool.append(
            layer({f"f{self._made}": noise(f"{self.seed} {self._made}", self._random.choice((300, 60_000, 100_000)))})
        )
        one = image([self._random.choice(self._pool[-5:]), self._pool[-1]])
        if self._random.random() < 0.3:
            one = index([one, image([self._random.choice(self._pool[-5:])])])
        elif self._random.random() < 0.1:
            one = artifact(one, b"sbom")
        self._past.append(one)
        return one

    def _create(self, *have: str, answer: str | None = None) -> Bundle | None:
        path = self.directory / "shop.yaml"
        mirrors = [{"from": f"oci:source:{name}", "tags": {"all": True}, "to": ["far"]} for name in _NAMES]
        path.write_text(json.dumps({"version": 1, "destinations": {"far": "far.invalid"}, "mirrors": mirrors}))
        wanted = Wanted(load_spec(path), have, part_size=_PART_BYTES, answer=answer)
        environment = Environment(state_directory=self.directory / "state")
        done: Bundled = asyncio.run(create_bundle(wanted, str(self.directory / "out"), environment=environment))
        assert not any("not have" not in one.error.message for one in done.plan.failures), done.plan.failures
        if done.bundle is not None:
            self.figures.bundles += 1
            self.figures.sent_bytes += sum(part.body for part in done.bundle.parts)
        return done.bundle

    def _travel(self, bundle: Bundle) -> bool:
        """Lose a bundle, or some of its parts; apply what arrives. Return whether its document has arrived."""
        parts = set(range(1, len(bundle.parts) + 1))
        if self._random.random() < self.loss:
            if len(parts) == 1 or self._random.random() < 0.5:
                self.figures.lost_bundles += 1
                return False
            kept = {one for one in parts if self._random.random() > 0.4}
            lost = len(parts - kept)
            self.figures.lost_parts += lost
            parts = kept
        self._deliver(bundle, parts)
        return True

    def _deliver(self, bundle: Bundle, parts: set[int]) -> None:
        medium = self.directory / f"medium-{bundle.sequence}"
        medium.mkdir()
        for number in parts:
            name = bundle.parts[number - 1].name
            (self.directory / "out" / name).rename(medium / name)
        document = medium / f"{bundle.stem}.json"
        (self.directory / "out" / document.name).rename(document)
        environment = Environment(state_directory=self.directory / "far-state")
        done = asyncio.run(apply_bundle(medium, [self._far], environment=environment))
        assert bool(done.answer) == bool(done.waiting)
        for path in medium.glob("*.tar"):
            path.unlink()  # the document alone is enough for an answer
        self._received = document


def simulate(seed: int, rounds: int) -> Figures:
    """Simulate a link, in memory; return what has happened. Raises: AssertionError if a loss is not repaired."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory:
        link = Link(Path(directory), seed)
        for _ in range(rounds):
            link.round()
        link.finish()
        return link.figures


def main() -> int:
    """Simulate, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    started = time.monotonic()
    figures = simulate(given.seed, given.rounds)
    print(f"{figures}, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
