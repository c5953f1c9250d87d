"""A default takes the place of what is missing, never of a zero: `x or default` is for texts and lists."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])

_UNITS = ("_bytes", "_s", "_ns", "_mhz", "_percent")


def test_no_default_takes_the_place_of_a_zero() -> None:
    numbers = known_numbers()
    assert {"n_cpus", "processes", "n_generated", "excess_bytes"} <= numbers
    found = {str(path.relative_to(ROOT)): hidden_zeros(path.read_text(encoding="utf-8"), numbers) for path in FILES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "is_hidden"),
    [
        ("x = config.host.n_cpus or n_cores", True),
        ("x = vram_bytes or device.vram_bytes or 0", True),
        ("x = plan.device_bytes() or 1", True),
        ("x = vram_bytes or 0", False),
        ("if vram_bytes or n_cpus: pass", False),
        ("x = name or 'none'", False),
    ],
)
def test_the_check_finds_it(source: str, is_hidden: bool) -> None:
    assert bool(hidden_zeros(source, frozenset({"n_cpus"}))) is is_hidden


def known_numbers() -> frozenset[str]:
    """Return the names that are annotated as numbers, and nowhere as anything else."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES]
    aliases = {name for tree in trees for name in _aliases(tree)}
    annotated = [pair for tree in trees for pair in _annotations(tree)]
    others = {name for name, annotation in annotated if not _is_number(annotation, aliases)}
    return frozenset(name for name, _ in annotated) - others


def hidden_zeros(source: str, numbers: frozenset[str]) -> list[str]:
    """Return each `number or default` whose default is not zero; in a condition there is no default."""
    tree = ast.parse(source)
    conditional = [node.test for node in ast.walk(tree) if isinstance(node, (ast.If, ast.While, ast.IfExp, ast.Assert))]
    conditions = {id(part) for test in conditional for part in ast.walk(test)}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.BoolOp) or not isinstance(node.op, ast.Or) or id(node) in conditions:
            continue
        *tried, default = node.values
        names = [name for each in tried if (name := _name(each)) is not None]
        is_zero = len(tried) == 1 and isinstance(default, ast.Constant) and default.value == 0
        if not is_zero and any(name in numbers or name.endswith(_UNITS) for name in names):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def _aliases(tree: ast.Module) -> Iterator[str]:
    """Yield the names of number types of our own, like `Size = Annotated[int, …]`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and _is_number(node.value, set()):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _annotations(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield each field, variable, parameter and function with its annotation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation
        elif isinstance(node, ast.arg) and node.annotation is not None:
            yield node.arg, node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield node.name, node.returns


def _is_number(annotation: ast.expr, aliases: set[str]) -> bool:
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return _is_number(parts[0], aliases)
    words = {each.strip() for each in ast.unparse(annotation).split("|")} - {"None"}
    return bool(words) and words <= {"int", "float"} | aliases


def _name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None
