# SPDX-License-Identifier: MIT
"""Completions for three shells, from the table of commands."""

from __future__ import annotations

from commands import Command, Flag

LEVELS = "none debug info warn error fatal"
PROTOCOLS = "tcp udp tcp,udp"
FORMATS = "paqet paqetn"


def kind(flag: Flag) -> str:
    """What the value of an option is: file, folder, interface, a list of words, or nothing known;
    "-" where there is none to be given."""
    if not flag.value or flag.value.startswith("["):
        return "-"
    if flag.value == "FILE" or flag.value == "PATH":
        return "file"
    if flag.value == "DIR":
        return "folder"
    if flag.long == "--interface":
        return "interface"
    return {"--level": LEVELS, "--protocol": PROTOCOLS, "--format": FORMATS}.get(flag.long, "")


def names(flags: list[Flag]) -> list[str]:
    return [name for flag in flags for name in (flag.short, flag.long) if name] + ["--help"]


# ---- bash

BASH = """\
# bash completion for paqet

_paqet() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command=${{COMP_WORDS[1]}} second=${{COMP_WORDS[2]}} words= values=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W '{commands} help --help --version' -- "$word")
        return
    fi
    case $command:$before in
{values}    esac
    case $values in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    interface) values=$(cd /sys/class/net 2>/dev/null && echo *) ;;
    esac
    if [ -n "$values" ]; then
        [ "$values" = any ] || mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
        return
    fi
    case $command:$second in
{words}    esac
    [ "$COMP_CWORD" -ne 2 ] || case $command in
{second}    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    # a link may be in a file
    case $command:$second:$word in
    init:client:[!-]* | init:bridge:[!-]* | init:client: | init:bridge:)
        compopt -o filenames 2>/dev/null
        mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$word")
        ;;
    esac
}}
complete -F _paqet paqet
"""


def bash_values(command: Command) -> str:
    rows = ""
    for flag in command.flags():
        if kind(flag) != "-":
            pattern = " | ".join(f"{command.name}:{name}" for name in (flag.short, flag.long) if name)
            rows += f"    {pattern}) values='{kind(flag) or 'any'}' ;;\n"
    return rows


def bash_words(command: Command) -> str:
    rows = "".join(f"    {command.name}:{word}) words='{' '.join(names(command.flags(word)))}' ;;\n" for word in command.words)
    return rows + f"    {command.name}:*) words='{' '.join(names(command.flags()))}' ;;\n"


def bash(table: list[Command]) -> str:
    all_names = " ".join(command.name for command in table)
    return BASH.format(
        commands=all_names,
        values="".join(map(bash_values, table)),
        words="".join(map(bash_words, table)),
        second="".join(f"    {c.name}) words+=' {' '.join(c.words)}' ;;\n" for c in table if c.words)
        + f"    help) words='{all_names}' ;;\n",
    )


# ---- zsh

ZSH = """\
#compdef paqet
# zsh completion for paqet

_paqet() {{
    local -a commands
    commands=(
{commands}    )
    if (( CURRENT == 2 )); then
        _describe -t commands command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
    help) _describe -t commands command commands ;;
{cases}    esac
}}

_paqet "$@"
"""

ZSH_VALUES = {"file": "_files", "folder": "_files -/", "interface": "_net_interfaces"}


def zsh_text(text: str) -> str:
    """In single quotes, within [] of an option."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:").replace("'", "'\\''")


def zsh_option(flag: Flag, again: str) -> str:
    value = kind(flag)
    action = ZSH_VALUES.get(value) or (f"({value})" if value else " ")
    argument = "" if value == "-" else f":{flag.value.lower().replace(':', ' ')}:{action}"
    described = f"[{zsh_text(flag.text)}]{argument}"
    if not flag.short:
        return f"'{again}{flag.long}{described}'"
    return f"'({flag.short} {flag.long})'{{{flag.short},{flag.long}}}'{described}'"


def zsh_case(command: Command) -> str:
    rows = [zsh_option(flag, "*" if flag.long in ("--user", "--address") else "") for flag in command.flags()]
    if command.words:
        rows.append(f"'1:what:({' '.join(command.words)})'")
    if "client" in command.words:
        rows.append("'2:link or file:_files'")
    rows.append("'--help[tell its options]'")
    return f"    {command.name})\n        _arguments -s \\\n" + " \\\n".join(f"            {row}" for row in rows) + "\n        ;;\n"


def zsh(table: list[Command]) -> str:
    return ZSH.format(
        commands="".join(f"        '{c.name}:{zsh_text(c.about)}'\n" for c in table),
        cases="".join(map(zsh_case, table)),
    )


# ---- fish

FISH_VALUES = {"file": " -F", "folder": " -x -a '(__fish_complete_directories)'", "interface": " -x -a '(__fish_print_interfaces)'"}


def fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_option(command: Command, flag: Flag) -> str:
    value = kind(flag)
    action = "" if value == "-" else FISH_VALUES.get(value) or (f" -x -a {fish_text(value)}" if value else " -x")
    short = f" -s {flag.short[1:]}" if flag.short else ""
    condition = f"__fish_seen_subcommand_from {command.name}"
    return f"complete -c paqet -n '{condition}'{short} -l {flag.long[2:]}{action} -d {fish_text(flag.text)}\n"


def fish(table: list[Command]) -> str:
    out = "# fish completion for paqet\n\ncomplete -c paqet -f\ncomplete -c paqet -l help -d 'tell the options'\n"
    all_names = " ".join(command.name for command in table)
    for command in table:
        out += f"\ncomplete -c paqet -n __fish_use_subcommand -a {command.name} -d {fish_text(command.about)}\n"
        if command.words:
            words = " ".join(command.words)
            condition = f"__fish_seen_subcommand_from {command.name}; and not __fish_seen_subcommand_from {words}"
            out += f"complete -c paqet -n '{condition}' -a '{words}'\n"
        if "client" in command.words:  # a link may be in a file
            out += f"complete -c paqet -n '__fish_seen_subcommand_from {command.name}; and __fish_seen_subcommand_from client bridge' -F\n"
        out += "".join(fish_option(command, flag) for flag in command.flags())
    return out + f"\ncomplete -c paqet -n '__fish_seen_subcommand_from help' -a '{all_names}'\n"
