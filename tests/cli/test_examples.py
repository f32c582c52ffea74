"""The examples in the help of every verb: the parser accepts each, and each does what it says on real registries."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
from collections.abc import Iterator

import click
import pytest

from mirrorsync.cli.command import VerbCommand
from mirrorsync.cli.main import cli
from tests.cli.site import Site
from tests.conftest import Locked
from tests.pages.texts import commands
from tests.parts.bundles import pack
from tests.parts.cosign import legacy_by, make_key
from tests.parts.images import image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, shell_path

WIDTH = 80


COMMANDS = {name: context.command for name, _, context in commands() if isinstance(context.command, VerbCommand)}
LINES = [example.line for command in COMMANDS.values() for example in command.examples]


def calls(line: str) -> Iterator[list[str]]:
    """Yield the words of each call of mirrorsync in a line for the shell."""
    words = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in words:
        if word.startswith("$("):
            yield from calls(word[2:-1])
        if set(word) <= set("|&<>"):
            found.append([])
        else:
            found[-1].append(word)
    yield from (one[1:] for one in found if one[:1] == ["mirrorsync"])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_verb_has_two_to_four_examples_of_itself_that_fit_on_a_line(name: str) -> None:
    examples = COMMANDS[name].examples
    assert 2 <= len(examples) <= 4
    for example in examples:
        assert max(map(len, [f"  # {example.says}", *example.line.splitlines()])) <= WIDTH - 2
        assert not example.says.endswith(".")
        for words in calls(example.line):
            assert " ".join(words).startswith(f"{name} ") or [name] == words or (name, words) == ("version", ["-V"])


@pytest.mark.parametrize("line", LINES)
def test_the_parser_accepts_an_example(line: str) -> None:
    found = list(calls(line))
    assert found
    for words in found:
        if words == ["-V"]:
            continue
        name = next(name for name in COMMANDS if words[: len(name.split())] == name.split())
        with COMMANDS[name].make_context(name, words[len(name.split()) :], parent=click.Context(cli)):
            pass


# Lines for the shell that make what the examples of some verbs need.
NEEDED = {
    "apply": ["mirrorsync plan --output today.plan"],
    "lock": ["mirrorsync lock"],
    "impact": ["mirrorsync apply nightly.yaml && mirrorsync apply"],
    "acknowledge": [
        "mirrorsync apply",
        "mirrorsync delete docker.io/library/alpine:3.19 --yes",
        "mirrorsync delete quay.io/team/app:1 --yes",
        "mirrorsync apply || test $? = 3",
    ],
    "relocate": [
        "echo 'services: {a: {image: docker.io/library/alpine:3.20}} # the web' | tee app.yaml >compose.yaml",
        "mirrorsync apply && mirrorsync lock",
    ],
    "compare": ["""echo '{"images": [{"repoTags": ["docker.io/library/redis:7"]}]}' >node.json"""],
    "serve": [
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=site -keyout site.key -out site.pem 2>/dev/null",
        "htpasswd -nbB -C 4 alice secret >users",
    ],
    "bundle answer": [
        "mirrorsync bundle apply /media/usb --to harbor.corp.example/mirror",
        "mirrorsync bundle apply /media/usb --to oci:/srv/mirror",
    ],
    "bundle create": ["ssh-keygen -q -t ed25519 -N '' -f signing_key"],
    "bundle sign": [f"ssh-keygen -q -t ed25519 -N '' -f {name}_key" for name in ("signing", "second")],
    "bundle repair": [
        "mirrorsync bundle create --parity 50% --output /media/usb",
        "printf damaged | dd of=/media/usb/mirror-000001.001of001.tar bs=600 seek=1 conv=notrunc status=none",
        "cp -r /media/usb /media/dvd",
    ],
    "logout": ["cat password | mirrorsync login --authfile site.auth.json -u ci --password-stdin harbor.corp.example"],
}


class Stage:
    """A directory and a registry in which the examples can run."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.directory = site.mirrorsync.directory
        hub, quay = f"{site.prefix}/hub/library/alpine", f"{site.prefix}/quay/team/app"
        for tag in ("3.19", "3.20"):
            site.seed(f"hub/library/alpine:{tag}", multi_platform(f"alpine{tag}"))
        site.seed("quay/team/app:1", image([layer({"a": b"app"})]))
        site.seed("corp/team/app:dev", image([layer({"a": b"dev"})]))
        made, key = image([layer({"a": b"app"})]), make_key(self.directory, "site")
        signature = f"team/app:{made.digest.replace(':', '-')}.sig"
        write_layout(self.directory / "mirror", {"team/app:1": made, signature: legacy_by(key, made.digest)})
        spec = {
            "destinations": {"disk": "oci:disk", "corp": f"{site.prefix}/corp/mirror"},
            "mirrors": [{"from": one, "tags": {"all": True}, "to": ["disk", "corp"]} for one in (hub, quay)],
        }
        for name in ("mirror.yaml", "nightly.yaml"):
            site.mirrorsync.spec(spec, name)
        (self.directory / "password").write_text(site.registry.password)
        for folder in (".config/fish/completions", ".zfunc"):
            (site.mirrorsync.home / folder).mkdir(parents=True)

    def prepare(self, verb: str) -> None:
        """Make what the examples of one verb need of others."""
        if verb == "init":
            (self.directory / "mirror.yaml").unlink()
            (self.directory / "images.txt").write_text("docker.io/library/alpine:3.20\n")
        if verb == "diff":
            for name in ("before", "after"):
                self(f"mirrorsync snapshot oci:/srv/mirror --output {name}.lock")
        if verb == "serve":
            one = f"{self.site.prefix}/hub/library/alpine"
            self.site.mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [f"{one}:3.20"]})
        packed = ("bundle sign", "bundle verify", "bundle inspect", "bundle apply", "bundle answer", "bundle export")
        if verb in packed:
            pack({"library/alpine:3.20": image([layer({"a": b"alpine"})])}).write(self.directory / "media/usb")
        if verb in ("bundle create", "bundle repair", "inventory"):
            self("mirrorsync inventory oci:/srv/mirror --output far.json")
            spec = json.loads((self.directory / "mirror.yaml").read_text())
            mirrors = [{**one, "to": ["corp"]} for one in spec["mirrors"]]
            self.site.mirrorsync.spec({**spec, "mirrors": mirrors})
        if verb == "diff":
            self("mirrorsync apply")
            self.site.seed("hub/library/alpine:3.20", multi_platform("another one"))
        if verb in ("verify", "history", "rollback", "state", "serve", "diff"):
            self("mirrorsync plan --output today.plan && mirrorsync apply")
        for line in NEEDED.get(verb, ()):
            self(line)

    def __call__(self, line: str) -> str:
        """Run a line in bash, as an operator would; return what it printed."""
        text = self.site.text(line, "corp").replace("oci:/srv/mirror", f"oci:{self.directory}/mirror")
        text = text.replace("/media/", f"{self.directory}/media/")
        text = re.sub(r"serve (?!.*--listen)", "serve --listen 127.0.0.1:0 ", text)
        password = self.site.registry.password
        extra = {
            **self.site.environment,
            "PATH": shell_path(),
            "MIRRORSYNC_PASSWORD": password,
            "MIRRORSYNC_DEST_PASSWORD": password,
        }
        script = f"{{ {text}\n}}"
        if " serve " in text:  # it runs until it is told to stop, and prints one line
            script = f'(echo $BASHPID >pid; exec {text}) | {{ read -r line; echo "$line"; kill "$(cat pid)"; }}'
        terminal, stdin = pty.openpty()
        os.write(terminal, f"{self.site.registry.username}\n".encode())
        done = subprocess.run(
            ["bash", "-c", f"set -eo pipefail; {script}"],
            cwd=self.directory, env=self.site.mirrorsync.environment(extra), stdin=stdin,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        os.close(terminal)
        os.close(stdin)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout


@pytest.fixture
def stage(mirrorsync: Mirrorsync, tls_registry: Locked, unique: str) -> Stage:
    site = Site(mirrorsync, tls_registry, unique)
    site.login()
    return Stage(site)


# A word of what each verb's examples print, in their order; "" for an example that prints nothing.
PRINTED = {
    "init": ["", ""],
    "validate": ["is valid", '"problems": []', "is valid"],
    "plan": ["", "wanted by all", "", "not up to date"],
    "apply": ["", "", "", ""],
    "verify": ["", "", "", "signatures: 1 proven"],
    "lock": ["mirror.lock: 3 images", "", "mirror.lock: 3 images, no difference"],
    "snapshot": ["", "library/alpine:3.20: sha256:"],
    "diff": ["moved", "no difference", ""],
    "images": ["library/alpine:3.20", '"images"', "library/alpine:3.19", "library/alpine:3.20\n"],
    "tags": ["2 wanted", '"fates": ['],
    "history": ["ok", "library/alpine:3.20"],
    "rollback": ["nothing to do", "nothing to do"],
    "impact": ["depend on", '"tags"'],
    "acknowledge": ["acknowledged: 1 tag of", "acknowledged: 1 tag of"],
    "state": ["exported: ", "imported: "],
    "relocate": ["hub/library/alpine:3.20}} # the web", "", "alpine:3.20@sha256:"],
    "compare": ["missing", "1 missing"],
    "inventory": ["", ""],
    "bundle sign": ["signed: shop-000001.json.sig", "signed: shop-000001.json.2.sig"],
    "bundle verify": ["shop-000001 is complete", ""],
    "bundle repair": ["mirror-000001: repaired mirror-000001.001of001.tar", "repaired mirror-000001.001of001.tar"],
    "bundle inspect": ["images: 1, 1 new or moved", "new or moved library/alpine:3.20", "parts: 1"],
    "bundle apply": ["1 done", "1 done"],
    "bundle create": [
        "mirror-000001 in out: ",
        "mirror-000002 in usb: ",
        "mirror-000003 in dvd: ",
        "mirror-000001 in again: 1 part",
    ],
    "bundle export": ["wrote 1 archive to node/var/lib/rancher/k3s/agent/images", "wrote 1 archive to node/images"],
    "bundle answer": ["nothing is missing: ", '"answer": null'],
    "copy": ["done", "done", "done", "copy"],
    "inspect": ["linux/arm64", "sha256:", '"architecture": "arm64"', '"schemaVersion"'],
    "list-tags": ["3.20\n", "kept", "team/app:1"],
    "delete": ["to be deleted", "deleted", "deleted"],
    "login": ["logged in", "logged in", "logged in", "operator"],
    "logout": ["logged out", "removed"],
    "serve": ["(read-only)", "(writable)", "(generation 1, read-only)", "at https://"],
    "client-config": ["[[registry]]", "hosts.toml", "disable-default-registry-endpoint"],
    "demo": ["up to date", "up to date"],
    "completion": ["", "", ""],
    "help": ["Commands:", "Usage: mirrorsync copy"],
    "version": ["mirrorsync ", "mirrorsync "],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_does_what_it_says(stage: Stage, name: str) -> None:
    stage.prepare(name)
    examples = COMMANDS[name].examples
    for example, word in zip(examples, PRINTED[name], strict=True):
        if name == "delete":
            stage.site.seed("corp/team/app:dev", image([layer({"a": b"dev"})]))
        printed = stage(example.line)
        assert word in printed, f"{example.line}\n{printed}"
