"""Who may import whom: quant -> golden_model -> tb, and within tb from the commands down; no circle anywhere."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Rooms of tb, from those that may import all to those that may import none of the others
LEVELS = (("tb.commands",), ("tb.layers", "tb.core", "tb.accelerator", "tb.modules"), ("tb.parts", "tb.simulators"))
MOST_FILES = 25


def modules() -> dict[str, Path]:
    found = {}
    for package in ("quant", "golden_model", "tb"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def imports(name: str, *, everywhere: bool) -> set[str]:
    """Modules of the project that a module imports: all, or those that are imported when it is."""
    tree = ast.parse(MODULES[name].read_text())
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                found |= {whole} if (whole := f"{node.module}.{alias.name}") in MODULES else {node.module}
    return found & set(MODULES)


def test_golden_model_imports_numpy_alone():
    for name in MODULES:
        if name.startswith("golden_model"):
            text = ast.walk(ast.parse(MODULES[name].read_text()))
            outside = {
                (node.module or "").split(".")[0] for node in text if isinstance(node, ast.ImportFrom)
            } & {"quant", "tb", "torch", "cocotb", "rich"}  # fmt: skip
            assert not outside, f"{name} imports {outside}"


def test_nothing_points_back():
    for name in MODULES:
        if name.startswith("quant"):
            assert not [other for other in imports(name, everywhere=True) if other.startswith("tb")], name
    for level, rooms in enumerate(LEVELS):
        above = [room for higher in LEVELS[:level] for room in higher]
        for name in MODULES:
            if name.startswith(rooms) and not name.rpartition(".")[2].startswith("test_"):
                wrong = [other for other in imports(name, everywhere=True) if other.startswith(tuple(above))]
                assert not wrong, f"{name} imports {wrong}"


def test_no_circle():
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in imports(name, everywhere=False):
                if other != name:
                    visit(other, (*way, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def test_commands_of_files_start_without_torch():
    """Its import takes over a second; a class of thirty cores would pay it thirty times."""
    names = ["check_core", "cosim", "calibrate", "golden_check", "golden_write"]
    modules = ", ".join([*(f"tb.commands.{name}" for name in names), "tb.grading.grade"])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print('torch' in sys.modules)"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "False\n", done.stdout + done.stderr


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()} | set((ROOT / "rtl").iterdir())))
def test_rooms_are_small(folder):
    if folder.is_dir():
        files = [path.name for path in folder.iterdir() if path.is_file() and path.name != "__init__.py"]
        assert len(files) <= MOST_FILES, f"{folder.relative_to(ROOT)} holds {len(files)} files"
