"""The house keeps its order: who may import whom, and whether its plan names what is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "layertune"
ROOMS = (
    "text",
    "redaction",
    "units",
    "errors",
    "regular_files",
    "written_files",
    "tables",
    "tensor_overrides",
    "tensor_split",
    "pooling",
    "settings",
    "config",
    "models",
    "memory",
    "engine",
    "devices",
    "vram",
    "trial",
    "results",
    "space",
    "sampler",
    "search",
    "quality",
    "prediction",
    "export",
    "compare",
    "explain",
    "report",
    "verify",
    "study",
    "cli",
    "testing",
)
ONLY_IN = {
    "tomllib": {"config"},
    "tomli_w": {"config"},
    "llama_cpp": {"engine"},
    "psutil": {"devices"},
    "pynvml": {"vram"},
    "optuna": {"sampler", "search"},
    "scipy": {"sampler"},
    "httpx": {"verify"},
    "typer": {"cli"},
    "rich": {"cli"},
}
FILES = sorted(SOURCE.rglob("*.py"))
_DOORS = ("__init__", "__main__")  # of the library and of `python -m layertune`
_MAX_CLI_LINES = 2000


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def room(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_from_rooms_above_it(path: Path) -> None:
    here = room(path)
    if here in _DOORS:
        return
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "layertune" and rest:
            assert ROOMS.index(rest.partition(".")[0]) <= ROOMS.index(here), name
        assert here in ONLY_IN.get(package, {here}), name


def test_no_file_imports_one_that_imports_it() -> None:
    names = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path for path in FILES}
    left = {name: imported(path) & names.keys() - {name} for name, path in names.items()}
    while ends := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in ends}
    assert sorted(left) == []


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere in it: `from a import b` may mean the module `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room(path) for path in FILES} - set(_DOORS) == set(ROOMS)


def test_commands_only_parse_call_and_render() -> None:
    n_lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES if room(path) == "cli")
    assert n_lines <= _MAX_CLI_LINES


@pytest.mark.parametrize("folder", ["benchmarks", "scripts"])
def test_benchmarks_and_scripts_use_the_library_and_not_the_commands(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert [name for name in imports(path) if name.startswith("layertune.cli")] == [], path


def test_files_are_short_enough_to_read_in_one_sitting() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_the_architecture_s_path_to_llama_decode_is_the_real_one() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("From the command line to")[2].partition("## ")[0]
    path = re.findall(r"^\| `(\S+\.py)` \|", section, re.MULTILINE)
    assert (path[0], path[-1]) == ("cli/main.py", "engine/context.py")
    modules = ["layertune." + file.removesuffix(".py").replace("/", ".") for file in path]
    linked = [imported(file) | started(file) for file in FILES]
    for file, here, following in zip(path, modules, modules[1:], strict=False):
        # A file imports the next one, or a third file knows both and hands one to the other.
        assert following in imported(SOURCE / file) or any({here, following} <= names for names in linked), following
    assert "llama_decode(" in (SOURCE / path[-1]).read_text(encoding="utf-8")


def started(path: Path) -> set[str]:
    """Return the modules that a file names in a command line of Python."""
    return set(re.findall(r'"-m", "(layertune\.[a-z_.]+)"', path.read_text(encoding="utf-8")))


def test_every_name_in_the_architecture_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    for name in re.findall(r"`([^`\n]+)`", text):
        if "/" in name or name.endswith(".py"):
            assert (SOURCE / name).exists() or (ROOT / name).exists(), name
        elif re.fullmatch(r"[A-Za-z_]+(\(\))?", name):
            assert name.removesuffix("()") in code, name
