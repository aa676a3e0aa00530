"""Imports point one way, and the light half never needs torch."""

import ast
import subprocess
import sys
from pathlib import Path

import siglum

ROOT = Path(siglum.__file__).parent

LAYERS = (  # a group may import from the lines above its own, and from itself
    ("errors",),
    ("files", "stats"),
    ("config", "formatting"),
    ("images",),
    ("recogniser",),
    ("api", "sklearn", "lab"),
    ("report", "studio"),
    ("examine",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
LIGHT = [*(name for names in LAYERS[:5] for name in names), "api", "studio"]

MODULES = [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]


def group(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path) -> list[str]:
    """The dotted names that a module imports, anywhere in its text."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)} must import by full names"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def test_imports_point_down() -> None:
    """None from its own level in another group or a higher level; the light half never torch."""
    wrong = []
    for path in MODULES:
        heavy = {"torch", "torchvision"} & {name.split(".")[0] for name in imports(path)}
        if heavy and group(path) in LIGHT:
            wrong.append(f"{path.relative_to(ROOT)} imports {heavy}")
        others = {name.split(".")[1] for name in imports(path) if name.startswith("siglum.")}
        for other in others - {group(path), "__version__"}:
            if LEVEL[other] >= LEVEL[group(path)]:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_importing_the_light_half_leaves_torch_out() -> None:
    """Also by way of another package, which the text of ours would not show."""
    names = [
        f"siglum.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}"
        for path in MODULES
        if group(path) in LIGHT and path.stem not in ("__init__", "example", "notebook")
    ]
    program = f"import sys, {', '.join(names)}; print(*({{'torch', 'scipy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
