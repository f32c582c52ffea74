"""Completion in shells: the scripts of `mirrorsync completion`, and the answers that these scripts ask for.

A script calls mirrorsync with the command line up to the cursor in COMP_LINE. click's own scripts are not used: in
bash, they take `oci:DIR` for three words, and every shell adds a space behind `oci:` and `DIR/`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from mirrorsync.cli.command import COMPLETION_VARIABLE

_PROGRAM: Final = "mirrorsync"

_BASH: Final = """\
_mirrorsync() {
    local type value
    COMPREPLY=()
    while IFS=$'\\t' read -r type value _; do
        case $type in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            open) COMPREPLY+=("$value"); compopt -o nospace ;;
            *) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        _MIRRORSYNC_COMPLETE=bash "$1" 2>/dev/null)
}
complete -F _mirrorsync mirrorsync
"""

_ZSH: Final = """\
#compdef mirrorsync
_mirrorsync() {
    local type value help
    local -a closed open
    while IFS=$'\\t' read -r type value help; do
        case $type in
            file) _files ;;
            dir) _files -/ ;;
            open) open+=("$value") ;;
            *) closed+=("${value//:/\\\\:}:$help") ;;
        esac
    done < <(COMP_LINE="${(j: :)words[1,CURRENT]}" _MIRRORSYNC_COMPLETE=zsh "$words[1]" 2>/dev/null)
    (( $#closed )) && _describe '' closed
    (( $#open )) && compadd -Q -S '' -a open
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _mirrorsync "$@"
else
    compdef _mirrorsync mirrorsync
fi
"""

_FISH: Final = """\
function _mirrorsync
    env COMP_LINE=(commandline -cp) _MIRRORSYNC_COMPLETE=fish mirrorsync 2>/dev/null | while read -d \\t type value help
        switch $type
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case '*'
                printf '%s\\t%s\\n' $value $help
        end
    end
end
complete --no-files --command mirrorsync --arguments '(_mirrorsync)'
"""

SCRIPTS: Final[Mapping[str, str]] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

# Characters that mean something to a shell, if they are not quoted.
_SPECIAL = re.compile(r"([^\w@%+=:,./~-])")


def answers(cli: click.Command, variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of an answer to a script: type, value and help of each completion, with tabs between them.

    variables: the environment; _MIRRORSYNC_COMPLETE and COMP_LINE are the script's. Types: `file` and `dir` (the shell
    completes the word itself), `open` (no space goes behind the value), `plain`.
    """
    # bash completes only what is behind the last of these, and takes what it gets for the whole of that.
    breaks = variables.get("COMP_WORDBREAKS", "") if variables[COMPLETION_VARIABLE] == "bash" else ""
    shell = _Completer(cli, {}, _PROGRAM, COMPLETION_VARIABLE)
    arguments, incomplete = shell.get_completion_args()
    start = max((incomplete.rfind(mark) + 1 for mark in ":=" if mark in breaks), default=0)
    # click completes the value of `--option=value` alone.
    offset = incomplete.find("=") + 1 if incomplete.startswith("--") else 0
    escaped = variables[COMPLETION_VARIABLE] != "fish"
    for item in shell.get_completions(arguments, incomplete):
        value = item.value[max(start - offset, 0) :]
        if not breaks and offset:
            value = incomplete[:offset] + value
        kind = "open" if item.type == "plain" and item.value.endswith((":", "/", "=")) else item.type
        shown = _SPECIAL.sub(r"\\\1", value) if escaped else value
        yield f"{kind}\t{shown}\t{item.help or ''}"


class _Completer(ShellComplete):
    """click's search for completions, on the line up to the cursor."""

    name = _PROGRAM
    source_template = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)[1:]
        if not words or line[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return str(item.value)
