"""The size of the project, and the names that its style forbids."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {  # what: (files, lines allowed); what the last redesign reached, or the aim
    "package": ("siglum/**/*.py", 17_475),
    "page script": ("siglum/studio/page/*.js", 2_473),
    "tests": ("tests/**/*.py", 16_177),
    "benchmarks": ("benchmarks/*.py", 1_749),
    "backbone tools": ("tools/backbone/*.py", 2_270),
    "results of studies": ("studies/*.md", 400),
    "README": ("README.md", 110),
}
MAX_FILES = 85
FORBIDDEN = {
    *("found", "said", "told", "made", "seen", "shown", "drawn", "taken", "kept", "left"),
    *("given", "known", "settled", "whereabouts", "beside", "behind", "so", "most", "least"),
    *("who", "thing", "stuff"),
}


def count_lines(pattern: str) -> int:
    return sum(len(path.read_text().splitlines()) for path in ROOT.glob(pattern))


@pytest.mark.parametrize("part", LIMITS)
def test_the_project_stays_small(part: str) -> None:
    pattern, limit = LIMITS[part]

    assert 0 < count_lines(pattern) <= limit, f"{part}: {count_lines(pattern):,} lines of {limit:,}"


def test_the_package_has_few_files() -> None:
    assert len(list(ROOT.glob("siglum/**/*.py"))) <= MAX_FILES


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the names of functions, classes, fields and parameters with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.lineno, field.target.id


@pytest.mark.parametrize("folder", ["siglum", "tools", "benchmarks", "studies", "tests"])
def test_no_forbidden_names(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in names(ast.parse(path.read_text()))
        if name.strip("_").lower() in FORBIDDEN
    ]

    assert not wrong, "\n".join(wrong)


if __name__ == "__main__":  # prints every size: python tests/test_style.py
    for part, (pattern, limit) in LIMITS.items():
        print(f"{part:<20} {count_lines(pattern):>7,} of {limit:,}")
    print(f"{'package files':<20} {len(list(ROOT.glob('siglum/**/*.py'))):>7} of {MAX_FILES}")
