"""The house: which room may import what, and that every room says what it is for."""

import ast
import importlib
from pathlib import Path

import grokrfm
import pytest

ROOT = Path(grokrfm.__file__).parent

# From the ground up: a room imports only from those before it, and through their doors, the names
# that their __init__ offers. What stands beside the rooms is open to all (the ground: checks,
# arrays, executors, files, signals) or opens them to users (the rest).
ROOMS = (
    "tasks",
    "operations",
    "analysis",
    "training",
    "rfm",
    "network",
    "experiments",
    "figures",
    "cli",
)
GROUND = ("_version", "arrays", "checks", "executors", "files", "signals", "_cpu", "_cuda")
FACADE = ("__init__", "__main__", "citations", "features", "fourier", "groups", "torch")
MOST_FLOORS = 10


def _name(path):
    """Dotted name below grokrfm; of a room's __init__ the room's."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path):
    """(module imported from, names) of every import of the package in a file."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            yield (
                ".".join([*base, *(node.module or "").split(".")]).strip("."),
                [alias.name for alias in node.names],
            )
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names]
            assert not any(name.split(".")[0] == "grokrfm" for name in names), path


FILES = {_name(path): path for path in sorted(ROOT.rglob("*.py"))}
IMPORTS = {name: list(_imports(path)) for name, path in FILES.items()}


def _modules(name):
    """The modules that a module imports: `from . import a` names modules itself."""
    found = []
    for module, names in IMPORTS[name]:
        inner = [f"{module}.{each}".strip(".") for each in names]
        modules = [each for each in inner if each in FILES or each in GROUND]
        found += modules or [module]
        found += [module] if modules and len(modules) < len(names) else []
    return found


def _room(module):
    first = module.split(".")[0]
    return first if first in ROOMS else None


def test_everything_stands_in_a_room_or_beside_them():
    beside = {name for name in FILES if _room(name) is None}
    assert beside == {*GROUND[:6], *FACADE}
    assert {_room(name) for name in FILES} == {*ROOMS, None}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_those_before_it_through_their_doors(room):
    below = ROOMS[: ROOMS.index(room)]
    for name in (name for name in FILES if _room(name) == room):
        for module, names in IMPORTS[name]:
            if module.split(".")[0] == room:
                continue
            if _room(module) is None:
                inner = [module, *names] if not module else [module]
                assert set(filter(None, inner)) <= set(GROUND), f"{name} imports {inner}"
                continue
            assert _room(module) in below, f"{name} imports {module}, which stands above it"
            offered = importlib.import_module(f"grokrfm.{_room(module)}").__all__
            inside = module.split(".")[1:]
            assert not inside or (inside == inside[:1] and inside[0] in offered), (
                f"{name} reaches into {module}"
            )
            if not inside:
                assert set(names) <= set(offered), f"{name} takes {names} from {module}"
            assert not any(each.startswith("_") for each in names)


def test_no_circle_of_modules():
    done, path = set(), []

    def visit(name):
        assert name not in path, f"a circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done or name not in FILES or name in ROOMS:
            return
        path.append(name)
        for module in _modules(name):
            visit(module)
        done.add(path.pop())

    for name in FILES:
        visit(name)


def test_floors():
    """A room stands one floor above the highest of those it imports from."""
    floors = {}
    for room in ROOMS:
        used = {
            _room(module)
            for name in FILES
            if _room(name) == room
            for module, _ in IMPORTS[name]
            if _room(module) not in (room, None)
        }
        floors[room] = max((floors[other] for other in used), default=1) + 1
    assert max(floors.values()) + 1 <= MOST_FLOORS  # the facade is the top floor


def test_every_room_says_what_it_is_for():
    for room in ROOMS:
        module = importlib.import_module(f"grokrfm.{room}")
        assert module.__doc__ and len(module.__doc__.splitlines()[0]) > 30
        assert len(set(module.__all__)) == len(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", ["features", "fourier", "figures"])
def test_public_modules_are_importable_as_such(name):
    module = importlib.import_module(f"grokrfm.{name}")
    assert getattr(grokrfm, name) is module
    for public in module.__all__ if name == "figures" else dir(module):
        getattr(module, public)
