"""The picture of the tree: who imports whom."""

import ast
import sys
from pathlib import Path

import pytest

from lossreg.first_party import LIBRARIES

ROOT = Path(__file__).parent.parent
PLUGINS = {
    "lossreg_segmentation": ROOT / "plugins/lossreg-segmentation/lossreg_segmentation",
    "lossreg_sam": ROOT / "plugins/lossreg-sam/lossreg_sam",
    **{f"lossreg_{name}": ROOT / f"plugins/lossreg-{name}/lossreg_{name}" for name in LIBRARIES},
}

pytestmark = pytest.mark.skipif(
    not (ROOT / "lossreg").is_dir(), reason="the sources lie in the checkout, and only the tests are here"
)

# From the ground up. A module imports from floors below its own; a new module needs a floor.
FLOORS = [
    {"errors", "docstring", "slots", "first_party"},
    {"words", "tags", "plain", "requirement", "debug", "contract", "passes", "extras", "absent_extras"},
    {"entry"},
    {"loading", "snapshot", "installed", "unknown", "switches"},
    {"builtin"},
    {"registry", "hooks"},
    {"manifest"},
    {"discovery"},
    {"annotation", "parameter_model"},
    {"parameters", "nested"},
    {"describe", "checker", "library"},
    {"config", "manifest_writer", "schema", "new_plugin"},
    {"doctor", "stubs"},
    {"read", "loss"},
    {"factory", "composite", "plot"},
    {"deep_supervision", "point_sampled", "scheduled", "uncertainty_weighting"},
    {"health", "records"},
    {"__init__"},
    {"cli", "testing", "integrations"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

# What may be imported from outside, besides the standard library. Everything that listing needs has nothing heavy.
OUTSIDE = {
    "config": {"pydantic"},
    "annotation": {"pydantic", "pydantic_core"},
    "checker": {"pydantic_core"},
    "library": {"torch"},
    "parameter_model": {"pydantic_core"},
    "factory": {"torch"},
    "requirement": {"packaging"},
    "absent_extras": {"packaging"},
    "read": {"yaml"},
    "loss": {"torch"},
    "composite": {"torch", "pydantic"},
    "deep_supervision": {"torch", "pydantic"},
    "point_sampled": {"torch", "pydantic"},
    "scheduled": {"torch", "pydantic"},
    "uncertainty_weighting": {"torch", "pydantic"},
    "builtin": {"pluggy", "torch"},
    "hooks": {"pluggy", "torch", "typer"},
    "new_plugin": {"jinja2"},
    "plot": {"torch", "matplotlib"},
    "records": {"torch", "duckdb", "numpy", "PIL", "jinja2", "ray"},
    "health": {"torch", "numpy", "PIL", "matplotlib", "duckdb"},
    "cli": {"typer", "rich"},
    "integrations": {"hydra"},
    "testing": {"torch", "pytest"},
}
# Of these, torch is imported when the module is; elsewhere inside a function, or for type checkers alone.
TORCH_AT_ONCE = {
    "testing",
    "plot",
    "loss",
    "composite",
    "deep_supervision",
    "point_sampled",
    "scheduled",
    "uncertainty_weighting",
}


def files(package, folder):
    """Every file of a package, as dotted name and syntax tree."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join([package, *parts]).removesuffix(".__init__"), ast.parse(path.read_text()), path


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(tree, *, within_functions=True):
    """Dotted names that are imported, but for type checkers alone."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif is_type_checking(node):
            waiting += node.orelse
        elif within_functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += ast.iter_child_nodes(node)


def modules(names, package="lossreg"):
    """The modules of a package among imported names: its files, whatever is imported from them."""
    folder = ROOT / package
    for name in names:
        parts = name.split(".")
        if parts[0] != package:
            continue
        if len(parts) == 1:
            yield "__init__"
        elif (folder / parts[1]).is_dir() or (folder / f"{parts[1]}.py").exists():
            yield parts[1]


FRAMEWORK = [(name, tree) for name, tree, _ in files("lossreg", ROOT / "lossreg") if name != "lossreg"]


def floor_name(name):
    return name.split(".")[1]


def test_every_module_has_a_floor_and_every_floor_its_modules():
    """The table above is complete and has no ghosts."""
    assert {floor_name(name) for name, _ in FRAMEWORK} | {"__init__"} == set(FLOOR)


def test_imports_run_downward():
    """Inside functions as well. `from lossreg import x` is an import of lossreg.x where there is such a file."""
    upward = [
        f"{name} imports lossreg.{other}"
        for name, tree in FRAMEWORK
        for other in modules(imports(tree))
        # The package itself is imported anyway; a package imports from within itself.
        if other not in ("__init__", floor_name(name)) and FLOOR[other] >= FLOOR[floor_name(name)]
    ]
    assert upward == []


def test_nothing_is_taken_from_the_package_itself():
    """Below the command line, a name comes from the file that defines it."""
    taken = [
        f"{name} takes {alias.name} from lossreg"
        for name, tree in FRAMEWORK
        if floor_name(name) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "lossreg"
        for alias in node.names
        if alias.name not in FLOOR
    ]
    assert taken == []


def test_only_some_modules_import_anything_from_outside():
    """The framework never imports a plugin; what listing needs imports the standard library alone."""
    outside = {}
    for name, tree in FRAMEWORK:
        allowed = {"lossreg", *sys.stdlib_module_names, *OUTSIDE.get(floor_name(name), ())}
        outside[name] = {imported.partition(".")[0] for imported in imports(tree)} - allowed
    assert {name: found for name, found in outside.items() if found} == {}


def test_torch_is_imported_at_once_by_the_losses_alone():
    """Everything else starts without it."""
    at_once = [
        name
        for name, tree in FRAMEWORK
        if floor_name(name) not in TORCH_AT_ONCE
        and "torch" in {imported.partition(".")[0] for imported in imports(tree, within_functions=False)}
    ]
    assert at_once == []


def test_importing_lossreg_imports_nothing_heavy():
    """What its __init__ reaches at once has neither torch nor pydantic, by the tables."""
    trees = {name.partition(".")[2] or "__init__": tree for name, tree, _ in files("lossreg", ROOT / "lossreg")}
    reached, waiting = set(), ["__init__"]
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            waiting += [m for m in modules(imports(trees[here], within_functions=False)) if m in trees]
    assert {"registry", "discovery"} <= reached
    assert reached.isdisjoint({"config", "parameters", "loss", "composite", "factory", "schema", "read", "cli"})


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_no_other_plugin(plugin):
    """But lossreg_sam, which is built on lossreg_segmentation."""
    allowed = {plugin} | ({"lossreg_segmentation"} if plugin == "lossreg_sam" else set())
    found = list(files(plugin, PLUGINS[plugin]))
    assert found
    for name, tree, _ in found:
        first = {imported.partition(".")[0] for imported in imports(tree)}
        assert {other for other in first if other in PLUGINS} <= allowed, name
        assert not any(imported.startswith("lossreg.cli") for imported in imports(tree)), name


def test_triton_is_imported_by_the_statistics_alone():
    """And by nothing at once that others import."""
    for package, folder in {"lossreg": ROOT / "lossreg", **PLUGINS}.items():
        for name, tree, path in files(package, folder):
            if "triton" in {imported.partition(".")[0] for imported in imports(tree)}:
                assert path.parent == PLUGINS["lossreg_segmentation"] / "statistics", name


@pytest.mark.parametrize(
    "source, names",
    [
        ("import torch.nn", ["torch.nn"]),
        ("from lossreg import tags as t", ["lossreg", "lossreg.tags"]),
        ("def f():\n    from pydantic import Field", ["pydantic", "pydantic.Field"]),
        ("if TYPE_CHECKING:\n    import torch\nelse:\n    import json", ["json"]),
        ("try:\n    import triton\nexcept ImportError:\n    triton = None", ["triton"]),
    ],
)
def test_the_reader_of_imports(source, names):
    """Sees what it has to see."""
    assert sorted(imports(ast.parse(source))) == names
