"""Rules that hold for the package as a whole: who may import whom, who prints, how soon the command line is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mair_cli"
# From the bottom up: a folder imports from folders before it. Those of one line stand side by side.
LAYERS = (
    ("version", "errors", "host_memory", "host_process"),
    ("tasks", "compiling"),
    ("store", "images", "scan"),
    ("datasets", "networks"),
    ("weights", "runtime", "measure", "inference"),
    ("restore",),
    ("jobs", "benchmark", "training", "integrations"),
    ("serve",),
    ("cli",),
)
TIERS = {folder: tier for tier, folders in enumerate(LAYERS) for folder in folders}
# The public faces of the package, above all tiers: they pick names from everywhere.
FACES = {"mair_cli", "mair_cli.__main__"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    return {module_name(path): ast.parse(path.read_text("utf-8"), str(path)) for path in sorted(PACKAGE.rglob("*.py"))}


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules that a file imports, wherever in it; for `from a import b`, a.b where that is a module, else a.

    What stands under `if TYPE_CHECKING` counts too: a type is a dependency like any other.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else str(node.module)


def folder(name: str) -> str:
    """The folder right under the package that a module lies in, or the module's own name."""
    return name.split(".")[1]


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    finished: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join((*path[path.index(name) :], name))
        if name not in finished:
            for target in sorted(graph.get(name, ())):
                walk(target, (*path, name))
            finished.add(name)

    for name in graph:
        walk(name, ())


def tier(name: str) -> int:
    return TIERS[folder(name)]


def test_the_package_has_the_parts_this_test_knows() -> None:
    assert {name.split(".")[1] for name in modules() if name not in FACES} <= set(TIERS)


def test_imports_go_down_only() -> None:
    upward = [
        f"{name} imports {target}"
        for name, tree in modules().items()
        if name not in FACES
        for target in imported(tree)
        if target in modules() and (target in FACES or tier(target) > tier(name))
    ]
    assert upward == []


def test_no_module_imports_itself_through_others() -> None:
    """Lazy imports included: they hide a circle, they do not break it."""
    assert_no_circle(
        {
            name: {target for target in imported(tree) if target in modules() and target != name}
            for name, tree in modules().items()
            if name not in FACES
        }
    )


def test_no_folder_imports_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    for name, tree in modules().items():
        if name not in FACES:
            found = {folder(target) for target in imported(tree) if target in modules() and target not in FACES}
            graph.setdefault(folder(name), set()).update(found - {folder(name)})
    assert_no_circle(graph)


def test_tiers_that_stay_free_of_files_and_devices_do() -> None:
    wanted = ("mair_cli.networks.", "mair_cli.scan.")
    banned = ("mair_cli.images", "mair_cli.store", "mair_cli.runtime", "mair_cli.weights", "PIL")
    found = [
        f"{name} imports {target}"
        for name, tree in modules().items()
        if name.startswith(wanted)
        for target in imported(tree)
        if target.startswith(banned)
    ]
    assert found == []


def test_nothing_imports_click() -> None:
    found = [name for name, tree in modules().items() for target in imported(tree) if target.split(".")[0] == "click"]
    assert found == []


def test_only_the_console_prints() -> None:
    found = []
    for name, tree in modules().items():
        if name == "mair_cli.cli.console":
            continue
        for node in ast.walk(tree):
            prints = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            writes = isinstance(node, ast.Attribute) and node.attr == "write" and _is_standard_stream(node.value)
            if prints or writes:
                found.append(f"{name}:{getattr(node, 'lineno', '?')}")
    assert found == []


def _is_standard_stream(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
        and node.attr in ("stdout", "stderr")
    )


def test_every_exception_handler_names_what_it_catches() -> None:
    bare = [
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert bare == []


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["mair_cli", "mair_cli.cli.app", "mair_cli.weights.catalog"])
def test_light_modules_leave_torch_unloaded(module: str) -> None:
    assert python(f"import sys, {module}; print('torch' in sys.modules)") == "False"


def test_loading_every_command_leaves_torch_and_numpy_unloaded() -> None:
    """What is slow is imported when a command runs, not when its options are read."""
    code = (
        "import sys; from mair_cli.cli.app import build_app; build_app(); print({'torch', 'numpy'} & set(sys.modules))"
    )
    assert python(code) == "set()"


def test_help_answers_at_once() -> None:
    """0.4 s is the aim, doubled for slow machines; processor time, which other work on the machine hardly changes."""
    resource = pytest.importorskip("resource")
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "mair_cli", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert 0 < min(times) < 0.8


def test_nothing_below_the_command_line_knows_its_options() -> None:
    """Messages name settings in backquotes, as the Python API words them; the console turns them into options."""
    option = re.compile(r"(?<![\w`-])--[a-z][a-z-]+")
    commands = re.compile(r"`[a-z][^`\n]*`|'pip [^'\n]*'")  # what to type in a shell is quoted whole
    found = []
    for name, tree in modules().items():
        if name in FACES or folder(name) == "cli":
            continue
        found += [f"{name}:{line}" for line, text in texts(tree) if option.search(commands.sub("", text))]
    assert found == []


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text in a file with its line; what an f-string puts in is an ellipsis."""
    if isinstance(tree, ast.JoinedStr):
        parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in tree.values)
        yield tree.lineno, "".join(parts)
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.lineno, tree.value
    else:
        for child in ast.iter_child_nodes(tree):
            yield from texts(child)
