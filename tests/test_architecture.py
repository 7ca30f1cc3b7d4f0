"""The picture of the tree: who imports whom."""

import ast
import sys
from pathlib import Path

import pytest

from lossreg.discovery.first_party import LIBRARIES

ROOT = Path(__file__).parent.parent
PLUGINS = {
    "lossreg_segmentation": ROOT / "plugins/lossreg-segmentation/lossreg_segmentation",
    "lossreg_sam": ROOT / "plugins/lossreg-sam/lossreg_sam",
    **{f"lossreg_{name}": ROOT / f"plugins/lossreg-{name}/lossreg_{name}" for name in LIBRARIES},
}

pytestmark = pytest.mark.skipif(
    not (ROOT / "lossreg").is_dir(), reason="the sources lie in the checkout, and only the tests are here"
)

# From the ground up. A room imports from floors below its own; a new room needs a floor.
FLOORS = [
    {"contract", "errors"},
    {"messages", "loss"},
    {"registry"},
    {"discovery", "parameters", "records", "search"},
    {"hooks"},
    {"registries"},
    {"config", "composites", "health"},
    {"authoring", "integrations"},
    {"cli", "testing"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

# What may be imported from outside, besides the standard library, by a room or by some of its files alone.
OUTSIDE = {
    "registry.requirement": {"packaging", "importlib_metadata"},
    "discovery.copies": {"importlib_metadata"},
    "discovery.distributions": {"packaging"},
    "loss": {"torch"},
    "parameters.conversion": {"pydantic"},
    "parameters.converted": {"pydantic"},
    "parameters.from_annotation": {"pydantic", "typing_extensions"},
    "parameters.hints": {"pydantic", "typing_extensions"},
    "parameters.plain_schema": {"pydantic"},
    "parameters.kind": {"pydantic_core"},
    "parameters.record": {"pydantic_core"},
    "hooks": {"pluggy"},
    "config.validation": {"pydantic_core"},
    "config.model": {"pydantic"},
    "config.arguments": {"torch"},
    "config.files": {"yaml"},
    "config.yaml_reader": {"yaml"},
    "composites": {"torch", "pydantic"},
    "records": {"torch", "duckdb", "numpy", "PIL", "jinja2", "ray"},
    "records.evaluation.ray_sink": {"pyarrow", "ray"},
    "health": {"torch", "numpy", "PIL", "matplotlib", "duckdb", "nibabel"},
    "authoring.absent_extras": {"packaging", "importlib_metadata"},
    "authoring.library": {"torch"},
    "authoring.new_plugin": {"jinja2"},
    "authoring.plot": {"torch", "matplotlib"},
    "authoring.warm_up": {"torch"},
    "integrations": {"torch"},
    "integrations.accelerate": {"accelerate"},
    "integrations.fastai": {"fastai", "fastcore"},
    "integrations.hydra": {"hydra"},
    "integrations.ignite": {"ignite"},
    "integrations.keras": {"keras"},
    "integrations.lightning": {"lightning"},
    "integrations.mmengine": {"mmengine"},
    "integrations.monai": {"monai", "ignite"},
    "integrations.sam2.trainer": {"training"},
    "integrations.transformers": {"transformers"},
    "cli": {"typer", "rich"},
    "testing": {"torch", "pytest"},
}
# Here torch is imported when the module is; elsewhere inside a function, or for type checkers alone.
TORCH_AT_ONCE = {"loss", "composites", "testing", "authoring.plot", "integrations"}
BUT_NOT = {"lossreg.integrations", "lossreg.integrations.hydra"}  # Hydra lists the losses without torch


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
    """Yield the rooms of a package among imported names, which may name anything in them."""
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


def room(name):
    """`config` of `lossreg.config.factory`."""
    return name.split(".")[1]


def is_among(name, places):
    """Whether a module is one of these, or in a room that is."""
    return any(f"{name}.".startswith(f"lossreg.{place}.") for place in places)


def test_the_house_is_small():
    """A stranger sees files for what everybody uses, and rooms for the rest."""
    shown = [path for path in (ROOT / "lossreg").iterdir() if path.name != "__pycache__"]
    assert {path.stem for path in shown if path.is_dir() or path.suffix == ".py"} == {"__init__", *FLOOR}
    assert len([path for path in shown if path.is_file()]) <= 7
    assert len([path for path in shown if path.is_dir()]) <= 14


def test_every_room_has_a_floor_and_every_floor_its_rooms():
    """The table above is complete and has no ghosts."""
    assert {room(name) for name, _ in FRAMEWORK} == set(FLOOR)


def test_imports_run_downward():
    """Inside functions as well. `from lossreg import x` is an import of lossreg.x where there is such a file."""
    upward = [
        f"{name} imports lossreg.{other}"
        for name, tree in FRAMEWORK
        for other in modules(imports(tree))
        # The package itself is imported anyway; a room imports from within itself.
        if other not in ("__init__", room(name)) and FLOOR[other] >= FLOOR[room(name)]
    ]
    assert upward == []


@pytest.mark.parametrize("package", ["lossreg", *PLUGINS])
def test_no_imports_run_in_a_circle(package):
    """Of files; those inside functions count as well."""
    trees = {name: tree for name, tree, _ in files(package, PLUGINS.get(package, ROOT / package))}
    # `from package.room import name` is an import of the room as well: what lies in the room may do that.
    below = {name: {*imports(tree)} & trees.keys() - {name} for name, tree in trees.items()}
    below = {name: {other for other in found if not name.startswith(f"{other}.")} for name, found in below.items()}
    while leaves := [name for name, found in below.items() if not found & below.keys()]:
        for name in leaves:
            del below[name]
    assert sorted(below) == []


def test_nothing_is_taken_from_the_package_itself():
    """Below the command line, a name comes from the file that defines it."""
    taken = [
        f"{name} takes {alias.name} from lossreg"
        for name, tree in FRAMEWORK
        if room(name) != "cli"
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
        named = (packages for place, packages in OUTSIDE.items() if is_among(name, [place]))
        allowed = {"lossreg", *sys.stdlib_module_names}.union(*named)
        outside[name] = {imported.partition(".")[0] for imported in imports(tree)} - allowed
    assert {name: found for name, found in outside.items() if found} == {}


def test_torch_is_imported_at_once_by_the_losses_alone():
    """And by the files for trainers. Everything else starts without it."""
    at_once = [
        name
        for name, tree in FRAMEWORK
        if (name in BUT_NOT or not is_among(name, TORCH_AT_ONCE))
        and "torch" in {imported.partition(".")[0] for imported in imports(tree, within_functions=False)}
    ]
    assert at_once == []


def test_importing_lossreg_imports_nothing_heavy():
    """What its __init__ reaches at once is below the configs, and none of it computes."""
    trees = {name: tree for name, tree, _ in files("lossreg", ROOT / "lossreg")}
    reached, waiting = set(), ["lossreg"]
    while waiting:
        here = waiting.pop()
        if here in trees and here not in reached:
            reached.add(here)
            waiting += imports(trees[here], within_functions=False)
    rooms = {room(name) for name in reached - {"lossreg"}}
    assert rooms == {"errors", "messages", "registry", "discovery", "registries"}


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


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_public_names_alone(plugin):
    """Those of `lossreg` itself, and of the modules that are documented: the rest may change."""
    public = {"lossreg", "lossreg.authoring", "lossreg.errors", "lossreg.testing", "lossreg.health", "lossreg.records"}
    hidden = [
        f"{name} imports {node.module}"
        for name, tree, _ in files(plugin, PLUGINS[plugin])
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("lossreg.") and node.module not in public
    ]
    assert hidden == []


def test_triton_is_imported_by_files_of_kernels_alone():
    """And by nothing at once that others import."""
    segmentation = PLUGINS["lossreg_segmentation"]
    for package, folder in {"lossreg": ROOT / "lossreg", **PLUGINS}.items():
        for name, tree, path in files(package, folder):
            if "triton" in {imported.partition(".")[0] for imported in imports(tree)}:
                assert path.parent in (segmentation / "statistics", segmentation / "one_function"), name
                assert path.name.startswith("triton_"), name


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
