"""Who has to sign: from options, the spec, or variables; and what is said about signatures."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mirrorsync.app.bundle.signers import check_signatures, required_signers, signature_lines
from mirrorsync.app.process import process_environment
from mirrorsync.app.specs import check_spec, load_spec
from mirrorsync.cli.options.signers import SignerOptions, signer_options
from mirrorsync.errors import UsageError
from mirrorsync.problems import SpecError
from mirrorsync.signing import BUNDLE, NotTrusted, Rejected, Required, Signer, Verdict
from mirrorsync.spec.model import Signers

SPEC = "version: 1\ndestinations: {disk: oci:disk}\nsigners: {allowed: allowed, threshold: 2}\nmirrors: [nginx:1]\n"
BOTH = {"MIRRORSYNC_SIGNERS": "/etc/signers", "MIRRORSYNC_THRESHOLD": "3"}
OF_SPEC = Signers("/spec/allowed", 2)


@pytest.mark.parametrize(
    ("file", "threshold", "signers", "variables", "required"),
    [
        (None, None, None, {}, None),
        ("/a", None, None, {}, Required(Path("/a"), 1)),
        ("/a", 4, OF_SPEC, BOTH, Required(Path("/a"), 4)),
        (None, None, OF_SPEC, BOTH, Required(Path("/spec/allowed"), 2)),
        (None, 3, OF_SPEC, {}, Required(Path("/spec/allowed"), 3)),
        ("/a", None, OF_SPEC, {}, Required(Path("/a"), 2)),
        (None, None, None, BOTH, Required(Path("/etc/signers"), 3)),
        (None, None, None, {"MIRRORSYNC_SIGNERS": "/etc/signers"}, Required(Path("/etc/signers"), 1)),
        ("/a", None, None, BOTH, Required(Path("/a"), 3)),
        (None, None, None, {"MIRRORSYNC_SIGNERS": ""}, None),
    ],
)
def test_signers_are_those_of_the_options_then_of_the_spec_then_of_the_variables(
    file: str | None, threshold: int | None, signers: Signers | None, variables: dict[str, str], required: Required
) -> None:
    assert required_signers(variables, file, threshold, signers=signers) == required


@pytest.mark.parametrize("written", ["0", "two", "-1", "33", "1" * 99, "²"])
def test_a_threshold_that_is_no_number_is_an_error_and_not_ignored(written: str) -> None:
    with pytest.raises(UsageError, match="MIRRORSYNC_THRESHOLD is"):
        required_signers({**BOTH, "MIRRORSYNC_THRESHOLD": written})


@pytest.mark.parametrize(("threshold", "variables"), [(2, {}), (None, {"MIRRORSYNC_THRESHOLD": "2"})])
def test_a_threshold_without_a_file_is_an_error(threshold: int | None, variables: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no file of allowed signers"):
        required_signers(variables, None, threshold)


def test_a_spec_names_its_file_from_its_directory_and_validate_reads_it(tmp_path: Path) -> None:
    spec = tmp_path / "mirror.yaml"
    spec.write_text(SPEC)
    assert load_spec(spec).signers == Signers(f"{tmp_path}/allowed", 2)
    with pytest.raises(SpecError, match=r"3:20: /signers/allowed: .*allowed does not exist"):
        check_spec(spec)
    (tmp_path / "allowed").write_text("# alice@corp ssh-ed25519 AAAA\n\n")
    with pytest.raises(SpecError, match="has no allowed signers"):
        check_spec(spec)
    (tmp_path / "allowed").write_text("alice@corp ssh-ed25519 AAAA\n")
    check_spec(spec)


def test_unsigned_is_right_without_signers_and_refused_with_them(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text("")
    environment = process_environment({"PATH": "/nowhere"})
    # Without signatures ssh-keygen has nothing to do, and need not be there.
    check_signatures("shop-000001", b"{}", [], None, BUNDLE, environment)
    required = Required(tmp_path / "allowed", 2)
    with pytest.raises(NotTrusted) as refused:
        check_signatures("shop-000001", b"{}", [], required, BUNDLE, environment)
    assert (refused.value.exit_code, refused.value.remedy) == (1, "have it signed, or use --allow-unsigned")
    check_signatures("shop-000001", b"{}", [], required, BUNDLE, environment, allow_unsigned=True)


@pytest.mark.parametrize(
    ("arguments", "required", "allow_unsigned"),
    [
        ([], None, False),
        (["--signers", "/a", "--threshold", "2"], Required(Path("/a"), 2), False),
        (["--signers", "/a", "--allow-unsigned"], Required(Path("/a"), 1), True),
    ],
)
def test_a_verb_gets_the_policy_of_its_options(
    arguments: list[str], required: Required | None, allow_unsigned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[SignerOptions] = []

    @click.command()
    @signer_options
    def command(signers: SignerOptions) -> None:
        given.append(signers)

    monkeypatch.delenv("MIRRORSYNC_SIGNERS", raising=False)
    monkeypatch.delenv("MIRRORSYNC_THRESHOLD", raising=False)
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert [(one.required, one.allow_unsigned) for one in given] == [(required, allow_unsigned)]


ALICE, BOB = Signer(1, "SHA256:a", ("alice@corp",)), Signer(2, "SHA256:b", ("bob@corp",))


@pytest.mark.parametrize(
    ("verdict", "lines"),
    [
        (Verdict((), (), 0), []),
        (
            Verdict((Signer(1, "SHA256:a"),), (), 0),
            ["signed by SHA256:a, not verified: no signers are configured (--signers FILE)"],
        ),
        (Verdict((ALICE, BOB), (), 2), ["signed by alice@corp (SHA256:a), bob@corp (SHA256:b)"]),
        (Verdict((ALICE,), (), 2), ["signed by alice@corp (SHA256:a): 1 of 2 people; accepted (--allow-unsigned)"]),
        (Verdict((), (), 2), ["not signed, and 2 people have to sign; accepted (--allow-unsigned)"]),
        (
            Verdict((ALICE,), (Rejected(2, "SHA256:c is not in allowed", broken=False),), 1),
            ["signed by alice@corp (SHA256:a)", "signature 2 does not count: SHA256:c is not in allowed"],
        ),
    ],
)
def test_what_signatures_prove_is_said_in_a_line(verdict: Verdict, lines: list[str]) -> None:
    assert list(signature_lines(verdict)) == lines
