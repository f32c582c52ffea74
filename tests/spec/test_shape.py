"""The quick look at a spec's shape: it says yes to nothing that jsonschema refuses."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from mirrorsync.schema_files import load_schema
from mirrorsync.spec.shape import fits

SCHEMA = load_schema("mirror")
JUDGE = Draft202012Validator(SCHEMA)
EXAMPLE = yaml.safe_load((Path(__file__).parents[2] / "mirror.example.yaml").read_text())
ODD: tuple[Any, ...] = (None, True, 0, -1, 2, 3.0, "", "x", [], ["x"], ["x", "x"], [1], {}, {"x": 1}, {"exact": ["1"]})


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a document with each of its keys."""
    if isinstance(value, dict | list):
        for key, member in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from places(member)


def mutated(seed: int) -> Any:
    """Return the example with one to three members changed, added or taken away."""
    source = random.Random(seed)
    document = copy.deepcopy(EXAMPLE)
    for _ in range(source.randint(1, 3)):
        container, key = source.choice(list(places(document)))
        change = source.randrange(3)
        if change == 0:
            container[key] = copy.deepcopy(source.choice(ODD))
        elif change == 1:
            del container[key]
        elif isinstance(container, dict):
            container[source.choice(("semver", "all", "tags", "from", "to", "unknown"))] = copy.deepcopy(
                source.choice(ODD)
            )
    return document


def test_the_example_fits_by_the_quick_check() -> None:
    assert fits(SCHEMA, EXAMPLE)


def test_a_value_that_fits_is_valid_for_jsonschema() -> None:
    said = [document for document in map(mutated, range(3000)) if fits(SCHEMA, document)]
    assert len(said) > 100
    for document in said:
        assert JUDGE.is_valid(document), document


@pytest.mark.parametrize("schema", [{"maximum": 5}, {"type": "number"}, {"$ref": "other.json"}, {"oneOf": [{}]}, True])
def test_unknown_keywords_never_fit(schema: Any) -> None:
    assert not fits(schema, 1)
