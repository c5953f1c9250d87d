"""How the programs that read our exports take them apart, as far as the exports go: what each test compares with."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SHELL = shutil.which("sh")

_PRINTS_ITS_WORDS = '#!/bin/sh\nprintf "%s\\0" "$@"\n'


def shell_words(script: str, *more: str) -> list[str]:
    """Run a script whose llama-server prints its arguments, with `more` behind it."""
    with TemporaryDirectory() as folder:
        server = Path(folder) / "llama-server"
        server.write_text(_PRINTS_ITS_WORDS)
        server.chmod(0o700)
        command = [SHELL or "sh", "-c", script, "script", *more]
        environment = {"PATH": f"{folder}{os.pathsep}{os.defpath}"}
        printed = subprocess.run(command, cwd=folder, capture_output=True, check=True, env=environment)
        assert [file.name for file in Path(folder).iterdir()] == ["llama-server"]
    return printed.stdout.decode().split("\0")[:-1]


def shell_variables(text: str, names: list[str]) -> dict[str, str]:
    """Source the text as a file and let a child process print what it inherited."""
    with TemporaryDirectory() as folder:
        (Path(folder) / ".env").write_text(text, encoding="utf-8", newline="\n")
        command = [SHELL or "sh", "-c", "set -eua; . ./.env; exec env -0"]
        printed = subprocess.run(command, cwd=folder, capture_output=True, check=True, env={"PATH": os.defpath})
        assert [file.name for file in Path(folder).iterdir()] == [".env"]
    pairs = dict(line.split("=", 1) for line in printed.stdout.decode().split("\0") if line)
    return {name: pairs[name] for name in names}


def compose_variables(text: str) -> dict[str, str]:
    """The rules of compose-go's dotenv/parser.go, as far as this format goes: nothing may be left to expand."""
    variables: dict[str, str] = {}
    rest = text
    while rest := rest.lstrip():
        if rest.startswith("#"):
            rest = rest.partition("\n")[2]
            continue
        key, _, rest = rest.partition("=")
        assert re.fullmatch(r"[A-Z0-9_]+", key)
        if rest.startswith("'"):
            end = re.compile(r"(?<!\\)'").search(rest, 1)
            assert end is not None
            variables[key], rest = rest[1 : end.start()], rest[end.end() :]
            assert rest.startswith("\n")
        else:
            value, _, rest = rest.partition("\n")
            assert "$" not in value
            variables[key] = value.partition("#")[0].rstrip()
    return variables


def interpolated(value: str, variables: dict[str, str]) -> str:
    """compose-go's template/template.go: `$$` is a dollar, `${NAME:-default}` a variable; nothing else may be there."""

    def replacement(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        return variables.get(match["name"]) or match["default"]

    pattern = re.compile(r"\$(?:\$|\{(?P<name>[A-Z0-9_]+):-(?P<default>[^{}$]*)\})")
    assert "$" not in pattern.sub("", value)
    return pattern.sub(replacement, value)


def preset_sections(text: str) -> dict[str, dict[str, str]]:
    """The rules of llama.cpp's common/preset.cpp, and configparser's, which must read the same."""
    sections: dict[str, dict[str, str]] = {"default": {}}
    current = "default"
    for line in re.split(r"\r\n|\n|\r", text):
        if match := re.fullmatch(r"\[[ \t]*([^\]]+?)[ \t]*\][ \t]*", line):
            sections[current := match[1]] = {}
        elif match := re.fullmatch(r"([a-zA-Z_][a-zA-Z0-9_.-]*)[ \t]*=[ \t]*(.*?)[ \t]*(?:[;#].*)?", line):
            sections[current][match[1]] = match[2]
        else:
            assert re.fullmatch(r"[ \t]*([;#].*)?", line)
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"), default_section="none")
    parser.optionxform = str
    parser.read_string(text.replace("version = 1", "[default]\nversion = 1"))
    assert {name: dict(parser[name]) for name in parser.sections()} == sections
    return sections


def llama_swap_words(config: dict[str, Any], name: str) -> list[str]:
    """internal/config of llama-swap: macros, lines of comment, then the words of a POSIX shell, expanding nothing."""
    command = config["models"][name]["cmd"]
    assert "\n" not in command
    assert set(re.findall(r"\$\{([a-zA-Z0-9_.-]+)\}", command)) <= {"PORT"}
    return shlex.split(command)


def modelfile_commands(text: str) -> dict[str, str]:
    """ollama's parser/parser.go: a line is a command, what is not printable is dropped, quotes around a value go."""
    commands: dict[str, str] = {}
    for line in re.split(r"[\r\n]", text):
        line = "".join(char for char in line if char.isprintable())
        if not line or line.startswith("#"):
            continue
        command, _, value = line.partition(" ")
        if command == "PARAMETER":
            command, _, value = value.partition(" ")
        value = value.strip()
        commands[command] = value[1:-1] if value.startswith('"') and value.endswith('"') else value
    return commands


def unit_words(unit: str) -> list[str]:
    """systemd.syntax(7) and systemd.service(5): continued lines, C's escapes between quotes, `%%` and `$$`."""
    lines = [line for line in unit.split("\n") if not line.startswith(("#", ";"))]
    text = "\n".join(lines).replace("\\\n", " ")
    (start,) = [line for line in text.split("\n") if line.startswith("ExecStart=")]
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', start.removeprefix("ExecStart="))
    assert not re.search(r"(?<!%)%(?:%%)*(?!%)", start)
    return [_unescaped(quoted or plain).replace("%%", "%").replace("$$", "$") for quoted, plain in words]


def _unescaped(word: str) -> str:
    parts = re.findall(r"\\x([0-9a-f]{2})|\\(.)|([^\\]+)", word, re.DOTALL)
    return b"".join(bytes([int(byte, 16)]) if byte else (char or text).encode() for byte, char, text in parts).decode()
