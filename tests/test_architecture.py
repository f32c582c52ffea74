"""The architecture: which file may import which, and how large a file may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "mirrorsync"
FILES = sorted(ROOT.rglob("*.py"))
MAX_LINES = 400
MAX_FUNCTION_LINES = 55

# The floor of every folder and of the files next to them; a file imports only from its own floor or below.
FLOORS = {
    "version": 0, "errors": 0, "problems": 0, "events": 0, "secret": 0, "schema_files": 0, "hosts": 0, "environment": 0,
    "durations": 0, "sizes": 0, "text": 0, "checked_json": 0, "oci": 0, "remedies": 0,
    "spec": 1, "plan": 1, "files": 1, "foreign": 1, "clients": 1,
    "trust": 1, "bundle": 1, "delta": 1,
    "credentials": 2, "stores": 2, "state": 2, "signing": 2,
    "sync": 3, "serve": 3,
    "documents": 4,
    "app": 5,
    "cli": 6, "__init__": 6, "__main__": 6,
}  # fmt: skip
# Neighbours that are independent: the first imports nothing from the second.
STRANGERS = {
    ("spec", "plan"), ("plan", "spec"),
    ("files", "spec"), ("files", "plan"), ("spec", "files"), ("plan", "files"),
    ("stores", "spec"), ("stores", "plan"), ("credentials", "spec"), ("credentials", "plan"), ("credentials", "stores"),
    ("state", "spec"), ("state", "plan"), ("state", "stores"), ("stores", "state"), ("state", "credentials"),
    ("sync", "serve"), ("serve", "sync"),
    ("trust", "spec"), ("trust", "plan"), ("trust", "files"), ("spec", "trust"), ("files", "trust"),
    ("stores", "trust"),
    ("bundle", "spec"), ("bundle", "plan"), ("bundle", "files"), ("bundle", "trust"), ("bundle", "foreign"),
    ("spec", "bundle"), ("plan", "bundle"), ("files", "bundle"), ("trust", "bundle"), ("state", "bundle"),
    ("signing", "spec"), ("signing", "plan"), ("signing", "trust"), ("signing", "bundle"), ("signing", "stores"),
    ("stores", "signing"), ("signing", "state"), ("state", "signing"), ("signing", "credentials"),
    ("credentials", "signing"),
    ("spec", "foreign"), ("plan", "foreign"), ("files", "foreign"), ("foreign", "plan"), ("foreign", "files"),
    ("spec", "clients"), ("plan", "clients"), ("clients", "plan"), ("clients", "files"), ("clients", "foreign"),
    ("delta", "spec"), ("delta", "plan"), ("delta", "trust"), ("delta", "files"), ("delta", "foreign"),
    ("spec", "delta"), ("plan", "delta"), ("trust", "delta"), ("files", "delta"), ("foreign", "delta"),
}  # fmt: skip
# The arrows between strangers that are allowed all the same: the spec reads what policies say of themselves.
ACQUAINTED = {
    ("spec", "plan/policies"), ("spec", "plan/prune"), ("spec", "plan/budget"), ("spec", "plan/backup"),
    ("spec", "plan/staleness"),
}  # fmt: skip
# Packages with a face: others import from the package itself, and from nothing inside it.
FACES = (
    "stores/registry", "stores/docker", "stores/layout", "credentials", "serve", "plan/policies", "state",
    "signing", "stores/bundle", "delta",
)  # fmt: skip
# What the command line imports of the floors between: values that it shows, and the pure words of a spec that its
# options take too (`--filter`, `--explain`, `--deadline`), or that sort its tables.
VALUES = {
    "plan/model", "plan/steps", "spec/model", "sync/run/report", "sync/verify/model", "sync/impact",
    "state", "signing",
    "spec/lock", "sync/explained",
    "bundle/findings", "sync/bundle/imported",
    "spec/filters", "spec/selection", "spec/tags", "spec/explain", "spec/versions",
}  # fmt: skip
# Parts of one folder that do not know each other: the facts for a plan are gathered without the code that applies it.
INDEPENDENT = {"sync/gather": ("sync/run", "sync/single"), "sync/run": ("sync/single",), "sync/single": ("sync/run",)}
# Storeys inside a package: the lower one imports nothing from the rest of it.
STOREYS = {"stores/registry/http": "stores/registry"}
# Packages and modules that are imported in one place only; other code calls that place.
HOMES = {
    "rich": {"cli"},
    "click": {"cli"},
    "structlog": {"cli/output/logs"},
    "argparse": set(),
    "cryptography": {"trust/keys", "trust/keyless", "trust/authorities", "serve/tls"},
    "sigstore": {"trust/keyless"},
    "sigstore_models": {"trust/keyless", "trust/authorities"},
    "yaml": {"spec/yaml_source", "foreign/yaml_documents"},
    "re2": {"spec/filters"},
    "tenacity": {"stores/registry/http/retry"},
    "httpx": {"stores/registry/http/streams"},
    "pycurl": {
        f"stores/registry/http/{name}" for name in ("multi", "handles", "questions", "lines", "failures", "network")
    },
    "aiohttp": {"serve"},
    "bcrypt": {"serve/logins"},
    "sqlite3": {"sync/manifest_cache", "state/file", "state/memory"},
    "subprocess": {"credentials/helpers", "signing/ssh_keygen"},
    "isal": {"files/gzip", "files/tar/reader"},
    "backports": {"files/unpack", "delta/zstd"},
    "compression": {"files/unpack", "delta/zstd"},
}
# Texts are parsed only where they are read; other code has a Ref, a Location or a transport.
READERS = {
    "transport_of": {"oci", "app/reading"},
    "parse_ref": {"oci", "documents/values"},
    "ref_type": {"oci", "app/copying", "serve/pull", "stores/registry/destination"},
}
# Modules for I/O or the event loop, which code for pure decisions does not import.
PURE = {"oci", "spec", "plan", "foreign", "trust", "bundle", "clients", "delta"}
PROCESS = {"os.environ", "os.getenv", "sys.argv", "os.getcwd", "Path.cwd"}
IMPURE = {"asyncio", "threading", "socket", "os", "pathlib", "tempfile", "subprocess", "time", "random"}


def module(path: Path) -> str:
    """Return a file's name inside the package: `stores/registry/client`."""
    return str(path.relative_to(ROOT).with_suffix(""))


def home(path: Path) -> str:
    """Return the folder (or the file beside the folders) that a file belongs to."""
    return module(path).partition("/")[0]


# Rules are held room by room: one test for each file and rule was a fifth of all tests, and took as long.
ROOMS = sorted({home(path) for path in FILES})


def files_of(room: str) -> list[Path]:
    """Return the files of a room."""
    return [path for path in FILES if home(path) == room]


@cache
def statements(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """Return the import statements of a file, at whatever depth they are."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names of everything a file imports."""
    for node in statements(path):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        else:
            assert node.level == 0, f"{path}: a relative import hides the floor that it goes to"
            yield str(node.module)
            # `from mirrorsync.files import locks` names a module too.
            if node.module == "mirrorsync":
                yield from (f"mirrorsync.{name.name}" for name in node.names)


def test_every_package_has_a_floor() -> None:
    assert {home(path) for path in FILES} == set(FLOORS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_file_imports_only_from_its_floor_or_below(room: str) -> None:
    for path in files_of(room):
        for name in imports(path):
            package, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if package != "mirrorsync" or not target:
                continue
            assert FLOORS[target] <= FLOORS[home(path)], f"{module(path)} reaches up to {name}"
            known = any(home(path) == who and rest.replace(".", "/").startswith(whom) for who, whom in ACQUAINTED)
            assert known or (home(path), target) not in STRANGERS, f"{module(path)} knows {name}, and should not"


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_with_a_face_is_imported_only_through_it(room: str) -> None:
    for path in files_of(room):
        for name in imports(path):
            target = name.removeprefix("mirrorsync.").replace(".", "/")
            for face in FACES:
                inside = (module(path) + "/").startswith(f"{face}/")
                assert inside or not target.startswith(f"{face}/"), f"{module(path)} imports {name}; the face is {face}"


def test_the_command_line_imports_only_the_face_and_values() -> None:
    for path in files_of("cli"):
        for name in imports(path):
            if name.startswith("mirrorsync."):
                target = name.removeprefix("mirrorsync.").replace(".", "/")
                room = target.partition("/")[0]
                known = FLOORS[room] == 0 or room in {"cli", "app", "documents"} or target in VALUES
                assert known, f"{module(path)} imports {name}, which is below the face"


@pytest.mark.parametrize("storey", STOREYS)
def test_a_lower_storey_does_not_import_the_upper_one(storey: str) -> None:
    whole = f"mirrorsync.{STOREYS[storey].replace('/', '.')}"
    own = f"mirrorsync.{storey.replace('/', '.')}"
    for path in FILES:
        if module(path).startswith(f"{storey}/"):
            for name in imports(path):
                assert not f"{name}.".startswith(f"{whole}.") or f"{name}.".startswith(f"{own}."), (
                    f"{module(path)}: {name}"
                )


@pytest.mark.parametrize("part", INDEPENDENT)
def test_a_part_imports_nothing_from_the_parts_that_it_is_independent_of(part: str) -> None:
    for path in FILES:
        if module(path).startswith(f"{part}/"):
            for name in imports(path):
                target = name.removeprefix("mirrorsync.").replace(".", "/")
                assert not f"{target}/".startswith(tuple(f"{other}/" for other in INDEPENDENT[part])), (
                    f"{module(path)} imports {name}"
                )


def test_there_are_no_import_cycles() -> None:
    names = {f"mirrorsync.{module(path).replace('/', '.')}".removesuffix(".__init__"): path for path in FILES}
    arrows = {name: {other for other in imports(path) if other in names} - {name} for name, path in names.items()}
    # What imports nothing that is left is taken away, until nothing is left but circles.
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert not arrows, f"these import each other: {sorted(arrows)}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_dependency_is_imported_only_in_its_home(room: str) -> None:
    for path in files_of(room):
        for name in imports(path):
            homes = HOMES.get(name.partition(".")[0])
            if homes is not None:
                assert {module(path), home(path)} & homes, f"{module(path)} imports {name}; its home is {homes}"


@pytest.mark.parametrize("name", READERS)
def test_texts_are_parsed_only_where_they_are_read(name: str) -> None:
    readers = {
        module(path)
        for path in FILES
        for node in statements(path)
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}
    }
    assert {reader if reader in READERS[name] else reader.partition("/")[0] for reader in readers} <= READERS[name]


@pytest.mark.parametrize("room", sorted(PURE))
def test_decisions_are_pure(room: str) -> None:
    for path in files_of(room):
        found = {name.partition(".")[0] for name in imports(path)} & IMPURE
        assert not found, f"{module(path)} imports {found}"


@pytest.mark.parametrize("room", ROOMS)
def test_only_cli_and_app_read_the_environment(room: str) -> None:
    for path in files_of(room):
        if FLOORS[room] >= FLOORS["app"]:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert f"{node.value.id}.{node.attr}" not in PROCESS, module(path)


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_and_no_function_is_too_long(room: str) -> None:
    for path in files_of(room):
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= MAX_LINES, module(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= MAX_FUNCTION_LINES, f"{module(path)}.{node.name} has {length} lines"
