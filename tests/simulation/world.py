"""What happens in three years: at the upstream, at the destination, to the memory, and to the spec."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mirrorsync.spec.model import Spec
from mirrorsync.sync import clock
from tests.simulation.layout import LayoutTarget
from tests.simulation.past import Past
from tests.simulation.pictures import Picture, picture, write_key
from tests.simulation.registry import RegistryTarget
from tests.simulation.rules import CHANGES, HOUR, KEY, Rules, first_rules
from tests.simulation.stores import NO_TROUBLE, TargetStore, Trouble, Upstream

REPOSITORIES: Final = ("app", "tool", "base")
Target = TargetStore | RegistryTarget | LayoutTarget


@dataclass
class World:
    """All that there is. now: seconds. published: when each image first had a tag. pending: ends of compromises."""

    random: random.Random
    state: Path
    now: int
    rules: Rules
    upstream: Upstream = field(default_factory=Upstream)
    target: Target = field(default_factory=TargetStore)
    past: Past = field(default_factory=Past)
    backup: tuple[bytes, Past] | None = None
    lock: dict[tuple[str, str], str] | None = None
    published: dict[str, int] = field(default_factory=dict)
    attic: dict[str, dict[str, Picture]] = field(default_factory=dict)
    compromised: list[tuple[str, str, Picture]] = field(default_factory=list)
    made: int = 0

    @classmethod
    def begin(cls, seed: int, directory: Path, target: Target | None = None) -> World:
        """Return the world on the first day: each repository has some versions. target: None = a store in memory."""
        chance = random.Random(seed)
        world = cls(chance, directory / f"{seed}.sqlite", 1_767_225_600, first_rules(chance))
        world.target = target or world.target
        write_key(directory / KEY)
        for repository in REPOSITORIES:
            for _ in range(chance.randint(1, 4)):
                _new_version(world, repository)
            world.publish(repository, "latest", world.new_picture(repository))
        return world

    @property
    def spec(self) -> Spec:
        """The spec of today."""
        return self.rules.spec(self.state.parent, self.target.address)

    def clock(self) -> str:
        """Return the time, as the engine takes it."""
        return clock.at(self.now)

    def new_picture(self, repository: str) -> Picture:
        self.made += 1
        return picture(f"{repository} {self.made}")

    def publish(self, repository: str, tag: str, image: Picture) -> None:
        self.published.setdefault(image.digest, self.now)
        self.upstream.publish(repository, tag, image)

    def some_tag(self) -> tuple[str, str] | None:
        """Return a tag of the upstream."""
        tags = [(repository, tag) for repository, found in self.upstream.tags.items() for tag in found]
        return self.random.choice(tags) if tags else None

    def some_target_tag(self) -> tuple[str, str] | None:
        """Return a tag of the destination."""
        tags = [(name, tag) for name in REPOSITORIES for tag in self.target.named(name)]
        return self.random.choice(tags) if tags else None


def _new_version(world: World, repository: str) -> None:
    found = [tuple(map(int, tag.split("."))) for tag in world.upstream.tags.get(repository, {}) if tag[0].isdigit()]
    numbers = list(max(found, default=(1, 0, -1)))
    part = world.random.choice([0, 1, 1, 2, 2, 2])
    numbers = [*numbers[:part], numbers[part] + 1, *[0] * (2 - part)]
    world.publish(repository, ".".join(map(str, numbers)), world.new_picture(repository))


def _release(world: World) -> None:
    repository = world.random.choice(REPOSITORIES)
    if repository in world.upstream.tags:
        _new_version(world, repository)
        if world.random.random() < 0.5:
            world.publish(repository, "latest", world.new_picture(repository))


def _move(world: World) -> None:
    key = world.some_tag()
    if key is not None:
        world.publish(*key, world.new_picture(key[0]))


def _move_back(world: World) -> None:
    key = world.some_tag()
    if key is not None:
        images = [one for one in world.upstream.images[key[0]].values() if not one.evil]
        world.publish(*key, world.random.choice(images))


def _vanish(world: World) -> None:
    key = world.some_tag()
    if key is not None and len(world.upstream.tags[key[0]]) > 1:
        gone = world.upstream.tags[key[0]].pop(key[1])
        world.attic.setdefault(key[0], {})[key[1]] = gone


def _return(world: World) -> None:
    for repository in REPOSITORIES:
        for tag, image in world.attic.pop(repository, {}).items():
            world.publish(repository, tag, image)


def _vanish_whole(world: World) -> None:
    repository = world.random.choice(REPOSITORIES)
    if world.random.random() < 0.3 and repository in world.upstream.tags:
        world.attic.setdefault(repository, {}).update(world.upstream.tags.pop(repository))


def _empty(world: World) -> None:
    repository = world.random.choice(REPOSITORIES)
    if world.random.random() < 0.3 and repository in world.upstream.tags:
        world.attic.setdefault(repository, {}).update(world.upstream.tags[repository])
        world.upstream.tags[repository] = {}


def _purge(world: World) -> None:
    """Let the upstream collect what has no tag."""
    for repository, images in world.upstream.images.items():
        tagged = {one.digest for one in world.upstream.tags.get(repository, {}).values()}
        tagged |= {one.digest for one in world.attic.get(repository, {}).values()}
        for digest in images.keys() - tagged:
            del images[digest]


def _compromise(world: World) -> None:
    """Let a tag name an evil image for two hours, of which one has passed."""
    key = world.some_tag()
    if key is not None:
        world.made += 1
        world.compromised.append((*key, world.upstream.tags[key[0]][key[1]]))
        evil = picture(f"evil {world.made}")
        world.published[evil.digest] = world.now - HOUR
        world.upstream.publish(*key, evil)


def end_compromises(world: World) -> None:
    """Let tags name again what they named before they were compromised."""
    for repository, tag, image in world.compromised:
        if tag in world.upstream.tags.get(repository, {}):
            world.publish(repository, tag, image)
    world.compromised.clear()
    for tags in world.attic.values():
        for tag in [tag for tag, image in tags.items() if image.evil]:
            del tags[tag]


def _foreign_push(world: World) -> None:
    tag = f"own-{world.random.randint(1, 5)}"
    world.target.push(world.random.choice(REPOSITORIES), tag, picture(f"own {world.made}"))


def _foreign_move(world: World) -> None:
    key = world.some_target_tag()
    if key is not None:
        world.target.push(*key, picture(f"own {world.made}"))


def _foreign_alias(world: World) -> None:
    """Let another client give a tag of its own to an image that is there."""
    key = world.some_target_tag()
    if key is not None:
        world.target.alias(key[0], "alias", world.target.named(key[0])[key[1]])


def _foreign_delete(world: World) -> None:
    key = world.some_target_tag()
    if key is not None:
        world.target.untag(*key)


def _back_up(world: World) -> None:
    if world.state.exists():
        world.backup = world.state.read_bytes(), world.past.copy()


def _restore(world: World) -> None:
    if world.backup is not None:
        world.state.write_bytes(world.backup[0])
        world.past = world.backup[1].copy()


def _lose(world: World) -> None:
    world.state.unlink(missing_ok=True)
    world.past = Past()


def _damage(world: World) -> None:
    if world.state.exists():
        data = world.state.read_bytes()
        world.state.write_bytes(b"no database" * (len(data) // 11))
        world.past = Past()


def _change_rules(world: World) -> None:
    world.rules = world.random.choice(list(CHANGES.values()))(world.random, world.rules)


# What happens, and how often compared with the others.
EVENTS: Final[dict[Callable[[World], None], int]] = {
    _release: 30, _move: 12, _move_back: 5, _vanish: 5, _return: 3, _vanish_whole: 2, _empty: 2, _purge: 1,
    _compromise: 6, _foreign_push: 3, _foreign_move: 3, _foreign_alias: 2, _foreign_delete: 3, _back_up: 3,
    _restore: 1, _lose: 1, _damage: 1, _change_rules: 20,
}  # fmt: skip


def some_trouble(world: World) -> Trouble:
    """Return what goes wrong in a run: mostly nothing."""
    chance = world.random
    if chance.random() < 0.7:
        return NO_TROUBLE
    repository, tags = chance.choice(REPOSITORIES), world.upstream.tags
    every = [(name, tag) for name, found in tags.items() for tag in found]
    some = frozenset(key for key in every if chance.random() < 0.4)
    contents = [one for found in tags.values() for image in found.values() for one in _contents(image)]
    names = frozenset(tag for _, tag in some)
    upstream = [
        Trouble(down=True),
        Trouble(unlisted=frozenset({repository})),
        Trouble(refused=frozenset({repository})),
        Trouble(hidden=some),
        Trouble(hidden=frozenset(key for key in every if key[0] == repository)),
        Trouble(silent=some),
    ]
    if not world.target.tags_alone:  # a real registry, which does what it does
        return chance.choice(upstream)
    spoiled = Trouble(spoiled=frozenset(one for one in contents if chance.random() < 0.4))
    if isinstance(world.target, LayoutTarget):
        return chance.choice([*upstream, spoiled, *[Trouble(killed_after=chance.randint(0, 5))] * 6])
    target = [
        spoiled,
        Trouble(target_down=True),
        Trouble(unset=names),
        Trouble(undeleted=names | {one for _, one in (*world.past.untagged, *world.past.backups)}),
        *[Trouble(killed_after=chance.randint(0, 6))] * 4,
    ]
    return chance.choice(upstream + target)


def _contents(image: Picture) -> list[str]:
    return [*(str(one.digest) for one in image.manifests), *image.blobs]
