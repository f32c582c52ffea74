"""What a valid spec comes to: sources, tags, destinations and settings, with every default filled in."""

from __future__ import annotations

import traceback

import pytest

from mirrorsync.hosts import Endpoint, HostSettings
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.spec.selection import Wanted
from tests.parts.mirrorsync import Mirrorsync
from tests.spec.reader import ENVIRONMENT, SECRET, mirror, read

A = f"sha256:{'a' * 64}"
TWO = "version: 1\ndestinations: {corp: harbor.example/mirror, disk: oci:m}\n"


def words(mirror: Mirror) -> str:
    """Return a mirror in one line: source, exact tags and filters, targets."""
    selection = mirror.selection
    exact = ["@".join(dict.fromkeys(filter(None, (wanted.tag, wanted.ref)))) for wanted in selection.exact]
    wanted = [*exact, *(type(chosen).__name__ for chosen in selection.includes)]
    targets = [str(mirror.target(destination, mirror.source.repository)) for destination in mirror.destinations]
    return f"{mirror.source} [{' '.join(wanted)}] {' '.join(targets)}"


SHORT = {
    "nginx:1": "docker.io/library/nginx [1] oci:/srv/mirror:library/nginx",
    "team/app:1": "docker.io/team/app [1] oci:/srv/mirror:team/app",
    "docker://quay.io/a/b:1": "quay.io/a/b [1] oci:/srv/mirror:a/b",
    f'"quay.io/a/b:1@{A}"': f"quay.io/a/b [1@{A}] oci:/srv/mirror:a/b",
    f'"quay.io/a/b@{A}"': f"quay.io/a/b [{A}] oci:/srv/mirror:a/b",
    "index.docker.io/nginx:1": "docker.io/library/nginx [1] oci:/srv/mirror:library/nginx",
    "localhost:5000/a:1": "localhost:5000/a [1] oci:/srv/mirror:a",
    '"[::1]:5000/a:1"': "[::1]:5000/a [1] oci:/srv/mirror:a",
    '"oci:in/x:a/b:1"': "oci:/base/in/x:a/b [1] oci:/srv/mirror:a/b",
    '"oci:../in:1"': "oci:/in [1] oci:/srv/mirror:in",
    '"oci:/My.Disk:1"': "oci:/My.Disk [1] oci:/srv/mirror:my.disk",
    '"${USER}/x:1"': "docker.io/robot/x [1] oci:/srv/mirror:robot/x",
}
LONG = {
    '{from: nginx, tags: ["1.20", latest]}': "docker.io/library/nginx [1.20 latest] oci:/srv/mirror:library/nginx",
    f'{{from: nginx, tags: ["1@{A}", "{A}"]}}': f"docker.io/library/nginx [1@{A} {A}] oci:/srv/mirror:library/nginx",
    "{from: nginx, tags: {all: yes}}": "docker.io/library/nginx [All] oci:/srv/mirror:library/nginx",
    '{from: nginx, tags: {exact: ["1"], glob: ["2*"], regex: "3", semver: "4", all: true, exclude: [x], newest: 1}}': (
        "docker.io/library/nginx [1 Glob Regex Semver All] oci:/srv/mirror:library/nginx"
    ),
    '{from: "${USER}.example/x", tags: [!!str 1.20]}': "robot.example/x [1.20] oci:/srv/mirror:x",
    '{from: quay.io/a/b, tags: [v1], name: "{host}/{repository}"}': "quay.io/a/b [v1] oci:/srv/mirror:quay.io/a/b",
    '{from: quay.io/a/b, tags: [v1], name: "x/{basename}"}': "quay.io/a/b [v1] oci:/srv/mirror:x/b",
    '{from: "h.test:5000/a/b", tags: [v1], name: "{host}"}': "h.test:5000/a/b [v1] oci:/srv/mirror:h.test-5000",
    '{from: "[2001:DB8::1]:5000/a/b", tags: [v1], name: "{host}/{basename}"}': (
        "[2001:db8::1]:5000/a/b [v1] oci:/srv/mirror:2001-0db8-0000-0000-0000-0000-0000-0001-5000/b"
    ),
    '{from: "[::1]/a", tags: [v1], name: "{host}"}': (
        "[::1]/a [v1] oci:/srv/mirror:0000-0000-0000-0000-0000-0000-0000-0001"
    ),
    "{from: quay.io/a/b, tags: [v1], name: base, to: disk}": "quay.io/a/b [v1] oci:/srv/mirror:base",
}


@pytest.mark.parametrize(("entry", "expected"), [*SHORT.items(), *LONG.items()])
def test_a_mirror_is_read_as(entry: str, expected: str) -> None:
    (found,) = read(mirror(entry)).mirrors
    assert words(found) == expected
    assert found.pointer == "/mirrors/0"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (
            "defaults: {to: [corp, disk]}\nmirrors: [nginx:1]\n",
            "docker.io/library/nginx [1] harbor.example/mirror/library/nginx oci:/base/m:library/nginx",
        ),
        (
            'defaults: {to: corp, name: "x/{basename}"}\nmirrors: [nginx:1]\n',
            "docker.io/library/nginx [1] harbor.example/mirror/x/nginx",
        ),
        (
            (
                'defaults: {to: corp, name: "{host}/x"}\nmirrors:\n'
                '- {from: nginx, tags: ["1"], to: [disk, corp], name: y}\n'
            ),
            "docker.io/library/nginx [1] oci:/base/m:y harbor.example/mirror/y",
        ),
    ],
)
def test_defaults_are_used_if_a_mirror_has_no_value(rest: str, expected: str) -> None:
    (found,) = read(TWO + rest).mirrors
    assert words(found) == expected


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("harbor.example", Location("harbor.example", "")),
        ("harbor.example/", Location("harbor.example", "")),
        ("docker://Harbor.Example:443/a/b", Location("harbor.example:443", "a/b")),
        ("registry-1.docker.io/team", Location("docker.io", "team")),
        ('"[::1]:5000"', Location("[::1]:5000", "")),
        ("oci:/srv/./a/../m", Location("oci:/srv/m", "")),
        ("oci:m:team/x", Location("oci:/base/m", "team/x")),
        ("oci:../m", Location("oci:/m", "")),
        ('"oci:/srv/${USER}"', Location("oci:/srv/robot", "")),
        ('"oci:/srv/ä b"', Location("oci:/srv/ä b", "")),
    ],
)
def test_a_destination_is_read_as(text: str, location: Location) -> None:
    spec = read(f"version: 1\ndestinations: {{d: {text}}}\nmirrors: [nginx:1]\n")
    assert spec.destinations["d"].location == location


def test_all_of_a_layout_can_be_a_source() -> None:
    (found,) = read(mirror('{from: oci:in, tags: {all: true}, name: "usb/{repository}"}')).mirrors
    assert found.namespace is not None
    assert found.source == Location("oci:/base/in", "")
    (disk,) = found.destinations
    assert found.target(disk, "a/b") == Location("oci:/srv/mirror", "usb/a/b")
    assert found.target(disk, "") == Location("oci:/srv/mirror", "usb/in")


def test_the_same_tag_may_go_to_two_destinations() -> None:
    spec = read(TWO + 'mirrors:\n- {from: nginx, tags: ["1"], to: corp}\n- {from: nginx, tags: ["1"], to: disk}\n')
    assert len(spec.mirrors) == 2


def test_host_settings_have_canonical_hosts_and_absolute_paths() -> None:
    settings = """\
  Index.Docker.io:
    username: ${USER}
    password: ${TOKEN}
    ca_file: pki/ca.pem
    client_cert: ./c.pem
    client_key: /etc/../k.pem
    max_connections: 16
    answer_seconds: 1200
    stall_seconds: 120
    min_bytes_per_second: 500
    realm_hosts: [Auth.example, "auth.example:8443"]
    create_repository: true
    requests_per_second: 10
    bandwidth: 1.5MiB
    endpoints: [Cache.example/hub, {location: "c.example:5000"}, {location: docker.io/x, tags: true}]
  h.example: {username: u, password_file: "${USER}/p"}
  l.example:5000: {plain_http: true}
  s.example: {insecure_skip_verify: true}
  off.example: {plain_http: false, ca_file: ca.pem}
  H.example/team/app: {username: team, password_file: team}
"""
    found = dict(read(mirror("nginx:1") + "registries:\n" + settings).registries)
    hub = found.pop("docker.io")
    assert hub.password is not None
    assert hub.password.reveal() == SECRET
    assert hub == HostSettings(
        username="robot",
        password=hub.password,
        ca_file="/base/pki/ca.pem",
        client_cert="/base/c.pem",
        client_key="/k.pem",
        max_connections=16,
        answer_seconds=1200,
        stall_seconds=120,
        min_bytes_per_second=500,
        realm_hosts=("auth.example", "auth.example:8443"),
        create_repository=True,
        requests_per_second=10,
        bandwidth=1_572_864,
        endpoints=(
            Endpoint("cache.example", "hub"),
            Endpoint("c.example:5000"),
            Endpoint("docker.io", "x", tags=True),
        ),
    )
    assert found == {
        "h.example": HostSettings(username="u", password_file="/base/robot/p"),
        "l.example:5000": HostSettings(plain_http=True),
        "s.example": HostSettings(insecure_skip_verify=True),
        "off.example": HostSettings(ca_file="/base/ca.pem"),
        "h.example/team/app": HostSettings(username="team", password_file="/base/team"),
    }


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("${TOKEN}", SECRET),
        ("x${TOKEN}y", f"x{SECRET}y"),
        ("$${TOKEN}", "${TOKEN}"),
        ("$TOKEN", "$TOKEN"),
        ("a$$b", "a$$b"),
        ("{TOKEN}", "{TOKEN}"),
        ("${USER}${TOKEN}", f"robot{SECRET}"),
    ],
)
def test_variables_are_expanded_once(written: str, password: str) -> None:
    spec = read(mirror("nginx:1") + f"registries: {{h.example: {{username: u, password: '{written}'}}}}\n")
    found = spec.registries["h.example"].password
    assert found is not None
    assert found.reveal() == password


def test_a_value_cannot_become_yaml_or_another_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    value = "a, plain_http: true}\n${USER}: *x"
    monkeypatch.setitem(ENVIRONMENT, "TOKEN", value)
    spec = read(mirror("nginx:1") + "registries: {h.example: {username: u, password: '${TOKEN}'}}\n")
    found = spec.registries["h.example"]
    assert found.password is not None
    assert found.password.reveal() == value
    assert not found.plain_http


def test_a_spec_never_shows_its_secrets() -> None:
    spec = read(mirror("nginx:1") + "registries: {h.example: {username: u, password: '${TOKEN}'}}\n")
    settings = spec.registries["h.example"]
    shown = f"{spec} {spec!r} {settings} {settings.password} {settings.password!r} {vars_of(spec)}"
    try:
        raise ValueError(settings)
    except ValueError as error:
        shown += "".join(traceback.format_exception(error))
    assert SECRET not in shown
    assert "********" in shown


def vars_of(spec: Spec) -> str:
    return " ".join(str(getattr(spec, name)) for name in spec.__slots__)


@pytest.mark.parametrize("text", ["---\n{}", "{}...\n", "\ufeff{}", "# first\n{}# last\n"])
def test_markers_byte_order_mark_and_comments_are_ignored(text: str) -> None:
    assert len(read(text.replace("{}", mirror("nginx:1"))).mirrors) == 1


def test_a_spec_has_its_source_and_the_digest_of_its_bytes() -> None:
    text = mirror("nginx:1")
    assert read(text).source == "mirror.yaml"
    assert read(text).digest == Digest.of(text.encode())
    assert read(text).mirrors == read(text + "# changed\n").mirrors
    assert read(text).digest != read(text + "# changed\n").digest


def test_a_tag_of_128_characters_in_any_case_is_valid() -> None:
    tag = "_" + "Aa.9-_" * 21 + "z"
    (found,) = read(mirror(f'{{from: nginx, tags: ["{tag}"]}}')).mirrors
    assert found.selection.exact == (Wanted(Tag(tag), Tag(tag)),)


def test_relative_paths_start_from_the_directory_of_the_spec(mirrorsync: Mirrorsync) -> None:
    elsewhere = mirrorsync.directory / "etc"
    elsewhere.mkdir()
    (elsewhere / "m.yaml").write_text(
        "version: 1\ndestinations: {d: oci:out}\nmirrors:\n  - {from: oci:./out, tags: {all: true}}\n"
    )
    done = mirrorsync("validate", "etc/m.yaml", code=2)
    assert f"oci:{elsewhere}/out would be mirrored into itself" in done.err


def test_each_source_of_an_entry_is_a_mirror_with_its_own_pointer_and_line() -> None:
    spec = read(
        f"{TWO}mirrors:\n  - from:\n      - nginx\n      - ${{USER}}.example/x\n"
        "    name: 'm/{basename}'\n    to: disk\n    tags: {all: true}\n    immutable: ['v*']\n    min_age: 3d\n"
    )
    assert [(one.pointer, one.line, words(one)) for one in spec.mirrors] == [
        ("/mirrors/0/from/0", 5, "docker.io/library/nginx [All] oci:/base/m:m/nginx"),
        ("/mirrors/0/from/1", 6, "robot.example/x [All] oci:/base/m:m/x"),
    ]
    assert len({one.policies for one in spec.mirrors}) == 1
    assert len(spec.mirrors[0].policies) == 2
    assert all(one.selection.min_age is not None for one in spec.mirrors)


@pytest.mark.parametrize(
    ("name", "written", "others"),
    [
        ("{repository}", ["mirror/team/a", "mirror/x"], ["other/team/a", "mirror"]),
        ("q/{basename}", ["mirror/q/a"], ["mirror/team/a", "q/a", "mirror/q/a/b"]),
        ("{host}/{repository}", ["mirror/quay.io/team/a"], ["mirror/ghcr.io/team/a", "mirror/quayxio/team/a"]),
    ],
)
def test_a_namespace_may_write_to_all_names_that_its_template_gives(
    name: str, written: list[str], others: list[str]
) -> None:
    spec = read(f"{TWO}mirrors:\n  - {{from: quay.io/team/*, tags: {{all: true}}, name: '{name}', to: corp}}\n")
    (found,) = spec.mirrors
    assert [one for one in (*written, *others) if found.may_write(Location("harbor.example", one))] == written
    assert not found.may_write(Location("elsewhere.example", written[0]))
    assert found.covers(Location("quay.io", "team/a/b"))
    assert not found.covers(Location("ghcr.io", "team/a"))
