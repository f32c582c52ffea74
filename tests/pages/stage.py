"""A small machine, on which the commands of the pages run: their paths are below one directory, their hosts are one."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.cli.site import Site
from tests.pages.markdown import ROOT
from tests.parts.images import image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import shell_path

# Absolute paths of the pages that are directories of the stage.
_PATHS = ("/etc/mirrorsync", "/srv/mirror", "/media/usb", "/var/lib/mirrorsync")
# What must not run on the machine of the tests.
_SYSTEM = re.compile(r"\b(sudo|apt-get|systemctl|podman|docker|kubectl|pip|venv)\s|(^|\s)/(opt|usr|var)/", re.MULTILINE)


def calls(text: str, verbs: Collection[str]) -> Iterator[list[str]]:
    """Yield the verb and the other words of each call of mirrorsync in a text for the shell.

    verbs: the known ones; behind another program (podman run ... mirrorsync apply), only they make a call.
    """
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in (*words, ";"):
            if not set(word) <= set("|&<>();"):
                command.append(word)
                continue
            called = [one for one in command if not re.match(r"\w+=", one)]
            ours = [number for number, one in enumerate(called[:-1]) if Path(one).name == "mirrorsync"]
            yield from (called[at + 1 :] for at in ours[:1] if at == 0 or called[at + 1] in verbs)
            command = []


class Stage:
    """Runs blocks of the pages in bash. site: a registry with a password in place of those that the pages name."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.directory = site.mirrorsync.directory
        site.login()
        for tag in ("3.18", "3.19", "3.20"):
            site.seed(f"hub/library/alpine:{tag}", multi_platform(f"alpine{tag}"))
        site.seed("hub/library/busybox:1.36.1", image([layer({"a": b"busybox"})]))
        site.seed("quay/team/app:1", image([layer({"a": b"app"})]))
        site.seed("site/app:dev", image([layer({"a": b"dev"})]))
        site.seed("site/base/alpine:3.20", multi_platform("alpine3.20"))
        write_layout(self.directory / "srv/mirror", {"library/alpine:3.20": multi_platform("alpine3.20")})
        for folder in ("etc/mirrorsync", "media/usb"):
            (self.directory / folder).mkdir(parents=True)
        mirrors = [f"{site.prefix}/hub/library/{name}" for name in ("alpine:3.20", "busybox:1.36.1")]
        self._spec = {"destinations": {"corp": f"{site.prefix}/site/mirror"}, "mirrors": mirrors}
        site.mirrorsync.spec(self._spec, "etc/mirrorsync/site.yaml")
        (self.directory / "etc/mirrorsync/site.auth.json").write_bytes(site.auth_file.read_bytes())
        # What the service has done at night.
        service = {**site.environment, "STATE_DIRECTORY": f"{self.directory}/var/lib/mirrorsync"}
        site.mirrorsync("apply", "etc/mirrorsync/site.yaml", env=service, code=0)

        (self.directory / "images.txt").write_text("docker.io/library/alpine:3.20\n")
        (self.directory / "extra-images.txt").write_text("docker.io/library/busybox:1.36.1\n")
        (self.directory / "regsync.yml").write_text(
            "version: 1\nsync: [{source: alpine, target: 'registry.example.com/alpine', type: repository}]\n"
        )
        shutil.copytree(ROOT / "deploy", self.directory / "deploy")

    def prepare(self, *, has_spec: bool) -> None:
        """Make ready for a block. has_spec: whether there is a mirror.yaml."""
        if has_spec:
            self._site.mirrorsync("apply", self._site.mirrorsync.spec(self._spec), code=0, env=self._site.environment)
        else:
            (self.directory / "mirror.yaml").unlink(missing_ok=True)

    def text(self, block: str) -> str:
        """Return a block with the paths and hosts of this stage."""
        for path in _PATHS:
            block = block.replace(path, f"{self.directory}{path}")
        for host, folder in (("docker.io", "hub"), ("quay.io", "quay"), ("harbor.corp.example", "site")):
            block = block.replace(f"{host}/", f"{self._site.prefix}/{folder}/")
        block = block.replace("harbor.corp.example", self._site.registry.host)
        return re.sub(r"--listen 127.0.0.1:\d+", "--listen 127.0.0.1:0", block)

    def __call__(self, block: str) -> str:
        """Run a block to its end, as an operator would, at a terminal; return what it printed."""
        script = self.text(block)
        assert not _SYSTEM.search(script), f"this would change the machine:\n{script}"
        *before, last = script.strip().splitlines()
        if "mirrorsync serve" in last:  # it runs until it is told to stop, and prints one line
            last = f'(echo $BASHPID >pid; exec {last}) | {{ read -r line; echo "$line"; kill "$(cat pid)"; }}'
        variables = {
            **self._site.environment,
            "PATH": shell_path(),
            "MIRRORSYNC_PASSWORD": self._site.registry.password,
        }
        terminal, stdin = pty.openpty()
        os.write(terminal, f"{self._site.registry.username}\n".encode() * 2)
        done = subprocess.run(
            ["bash", "-c", "\n".join(["set -eo pipefail", *before, last])],
            cwd=self.directory, env=self._site.mirrorsync.environment(variables), stdin=stdin,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        os.close(terminal)
        os.close(stdin)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout
