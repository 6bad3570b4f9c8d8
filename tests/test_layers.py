"""A file imports only from rooms above it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import metamiq

PACKAGE = Path(metamiq.__file__).parent

# From the ground up. A room may use those before it and itself.
ROOMS = [
    "errors",
    "arguments",
    "tails",
    "wording",
    "progress",
    "files",
    "datasets",
    "effects",
    "pooling",
    "batch",
    "sensitivity",
    "plots",
    "gaps",
    "question",
    "verdicts",
    "protocol",
    "explaining",
    "living",
    "report",
    "cli",
]
POOLING = [
    "tables",
    "mean_fit",
    "linear_fit",
    "wls",
    "equations",
    "quadratic_form",
    "tau2",
    "heterogeneity",
    "batch",
    "bounded_likelihood",
    "bounded_search",
    "bounded_profile",
    "design",
    "intervals",
    "univariate_fit",
    "records",
    "models",
    "bounded_fit",
    "bounded",
    "batch_bounded",
    "regression_fit",
    "regression",
    "subgroups",
]


def imports_of(file: Path) -> set[str]:
    """Modules of the package that a file imports when it is loaded or run; not those for type checkers alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    checked_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in checked_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "metamiq":
            if node.module == "metamiq":
                found.update(f"metamiq.{alias.name}" for alias in node.names)
            else:
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(a.name for a in node.names if a.name.startswith("metamiq."))
    return found


def files_of(room: str) -> list[Path]:
    single = PACKAGE / f"{room}.py"
    return [single] if single.is_file() else sorted((PACKAGE / room).rglob("*.py"))


def test_every_module_has_a_room():
    parts = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert parts - {"__init__", "__main__", "_data"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_upwards(room):
    allowed = set(ROOMS[: ROOMS.index(room) + 1]) | {"_data"}
    for file in files_of(room):
        for module in imports_of(file):
            used = module.split(".")[1]
            assert used in allowed, f"{file.relative_to(PACKAGE)} imports {module}, a room below it"


@pytest.mark.parametrize("name", [n for n in POOLING if (PACKAGE / "pooling" / f"{n}.py").is_file()])
def test_the_core_of_pooling_is_in_order(name):
    for module in imports_of(PACKAGE / "pooling" / f"{name}.py"):
        parts = module.split(".")
        if parts[1] == "pooling" and len(parts) > 2 and parts[2] in POOLING:
            assert POOLING.index(parts[2]) < POOLING.index(name), f"{name} imports {parts[2]}"


def test_only_plots_and_the_report_of_them_load_matplotlib():
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name == "plots" or file.parent.parent.name == "plots":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in tree.body:  # at the top of the file; types are checked elsewhere
            names = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "") or ""]
            )
            assert not any(n.startswith("matplotlib") for n in names), file


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("matplotlib", "pandas", "scipy", "formulaic", "pydantic", "statsmodels", "jinja2", "rich", "click")
    code = f"import sys, metamiq; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_help_loads_no_numbers():
    code = (
        "import sys\nfrom metamiq.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('numpy', 'pandas', 'scipy', 'matplotlib', 'rich', 'pydantic') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip().splitlines()[-1] == "[]"


def test_type_checkers_see_the_public_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
    shown = {
        (node.module.removeprefix("metamiq.").removeprefix("metamiq"), alias.name)
        for node in block.body
        for alias in node.names
    }
    listed = {(module, name) for module, names in metamiq._EXPORTS.items() for name in names}
    assert shown == listed | {("", name) for name in metamiq._MODULES}


def test_no_module_hides_a_public_name():
    modules = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert not modules & (set(metamiq.__all__) - set(metamiq._MODULES))


def test_every_public_name_loads():
    for name in metamiq.__all__:
        assert getattr(metamiq, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = metamiq.nonsense
