"""Who imports whom, held to the table of docs/explanation/architecture.md."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import ROOT

PACKAGE = ROOT / 'casvit_mm'
TASKS = {'detection', 'segmentation', 'classification'}
MAX_MODULES_AT_THE_TOP = 12
# What a program is meant to set.
SETTINGS = ('sys.argv', 'torch.backends.')


class Edge(NamedTuple):
    """One import; both names below ``casvit_mm``, ``''`` for ``casvit_mm/__init__.py`` itself."""

    importer: str
    imported: str
    line: int


def read_order() -> list[str]:
    """Return the packages in the order of the page, the lowest first."""
    section = (
        (ROOT / 'docs/explanation/architecture.md').read_text().split('## Who may import whom')[1]
    )
    return re.findall(r'^\| `(\w+)` \|', section.split('\n## ')[0], re.MULTILINE)


def list_modules() -> dict[str, Path]:
    """Return the files of the package by the name of the module, below ``casvit_mm``."""
    modules = {}
    for path in PACKAGE.rglob('*.py'):
        parts = path.relative_to(PACKAGE).with_suffix('').parts
        modules['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return modules


def read_edges(modules: dict[str, Path]) -> list[Edge]:
    """Return every import of ours, also those inside functions and for types alone."""
    edges = []
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            for imported in _names(node):
                edges.append(Edge(name, _module_of(imported, modules), node.lineno))
    return edges


def _names(node: ast.AST) -> Iterator[str]:
    """Yield what a node imports of ours, without ``casvit_mm.``."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, 'imports are absolute'
        names = [f'{node.module}.{alias.name}' for alias in node.names]
    else:
        return
    for name in names:
        if name.partition('.')[0] == 'casvit_mm':
            yield name.partition('.')[2]


def _module_of(name: str, modules: dict[str, Path]) -> str:
    """Return the module that ``name`` is, or is in."""
    while name not in modules:
        name = name.rpartition('.')[0]
    return name


def find_errors(edges: Iterable[Edge], order: list[str]) -> list[str]:
    """Return a line for every import that the page does not allow."""
    edges = list(edges)
    errors = []
    for importer, imported, line in edges:
        above, below = (name.partition('.')[0] for name in (importer, imported))
        place = f'{importer}:{line} imports {imported or "casvit_mm"}'
        if below in ('', '__main__'):
            errors.append(f'{place}, which nothing may import')
        elif above in ('', '__main__'):
            continue
        elif above not in order or below not in order:
            errors.append(f'{place}, and docs/explanation/architecture.md does not list both')
        elif order.index(below) > order.index(above):
            errors.append(f'{place}, which stands behind it')
        elif {above, below} <= TASKS and above != below:
            errors.append(f'{place}, another task')
        elif above == 'deploy' and below not in ('deploy', 'errors', 'io'):
            errors.append(f'{place}, which deploy does without')
    return errors + [f'a circle: {" -> ".join(circle)}' for circle in find_circles(edges)]


def find_circles(edges: Iterable[Edge]) -> list[list[str]]:
    """Return one circle of imports for each module that begins one, none if there is none."""
    after: dict[str, set[str]] = {}
    for importer, imported, _ in edges:
        if importer != imported:
            after.setdefault(importer, set()).add(imported)
    circles, done = [], set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            circles.append([*path[path.index(module) :], module])
        elif module not in done:
            for imported in sorted(after.get(module, ())):
                walk(imported, [*path, module])
            done.add(module)

    for module in sorted(after):
        walk(module, [])
    return circles


def find_patches(tree: ast.AST) -> list[str]:
    """Return the code that changes another package's objects while it runs."""
    others = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            others |= {alias.asname or alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not f'{node.module}.'.startswith('casvit_mm.'):
            others |= {alias.asname or alias.name for alias in node.names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            changed = [target for target in node.targets if isinstance(target, ast.Attribute)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == 'setattr':
            changed = node.args[:1]
        elif (isinstance(node, ast.Call) and any(key.arg == 'force' for key in node.keywords)) or (
            isinstance(node, ast.Call) and 'meta_path' in ast.unparse(node.func)
        ):
            changed = [node.func]
        else:
            continue
        names = [ast.unparse(target) for target in changed]
        found += [name for name in names if name.partition('.')[0] in others - {'casvit_mm'}]
    return [name for name in found if not name.startswith(SETTINGS)]


@pytest.fixture(scope='module')
def edges() -> list[Edge]:
    return read_edges(list_modules())


def test_the_page_lists_every_package_and_module_at_the_top():
    tops = {name.partition('.')[0] for name in list_modules()} - {'', '__main__'}
    assert sorted(read_order()) == sorted(tops)


def test_every_import_is_one_that_the_page_allows(edges):
    assert len(edges) > 500
    assert find_errors(edges, read_order()) == []


def test_every_module_that_the_page_names_is_there():
    tops, known = '|'.join(read_order()), list_modules()
    found = re.findall(
        rf'`((?:{tops}|<task>)(?:\.\w+)+)`', (ROOT / 'docs/explanation/architecture.md').read_text()
    )
    names = {name.replace('<task>', task) for name in found for task in TASKS}
    assert len(names) > 20
    assert names <= set(known)


def test_few_modules_lie_at_the_top():
    assert len(list(PACKAGE.glob('*.py'))) <= MAX_MODULES_AT_THE_TOP


def test_the_page_lists_every_module_that_patches_a_framework():
    section = (
        (ROOT / 'docs/explanation/architecture.md')
        .read_text()
        .split('## Where frameworks are patched')[1]
    )
    listed = set(re.findall(r'^\| `casvit_mm\.([\w.]+)` \|', section, re.MULTILINE))
    patching = {
        name for name, path in list_modules().items() if find_patches(ast.parse(path.read_text()))
    }
    assert len(patching) > 5
    assert patching <= listed


@pytest.mark.parametrize(
    'code',
    [
        'from PIL import Image\nImage.MAX_IMAGE_PIXELS = 1',
        'import torch.nn as nn\nnn.Conv2d.forward = None',
        'import sys\nsys.meta_path.append(1)',
        'from mmengine.registry import HOOKS\nHOOKS.register_module(force=True)',
        'import numpy as np\nsetattr(np, "bool", bool)',
    ],
)
def test_a_patch_is_found(code):
    assert find_patches(ast.parse(code))


@pytest.mark.parametrize(
    ('forbidden', 'error'),
    [
        ([Edge('datasets.images', 'engine.training', 1)], 'stands behind it'),
        ([Edge('segmentation.task', 'detection.task', 1)], 'another task'),
        ([Edge('deploy.images', 'ops', 1)], 'deploy does without'),
        ([Edge('models.casvit', '', 1)], 'nothing may import'),
        ([Edge('doctor', 'toolbox', 1)], 'does not list both'),
        ([Edge('io', 'io', 1), Edge('models.a', 'models.b', 1), Edge('models.b', 'models.a', 1)],
         'a circle: models.a -> models.b -> models.a'),
    ],
)  # fmt: skip
def test_an_import_that_the_page_forbids_is_found(forbidden, error):
    (found,) = find_errors(forbidden, read_order())
    assert error in found


def test_an_import_inside_a_function_or_for_types_counts(tmp_path):
    path = tmp_path / 'late.py'
    path.write_text(
        'from typing import TYPE_CHECKING\n'
        'if TYPE_CHECKING:\n    from casvit_mm.engine import hooks\n'
        'def late():\n    import casvit_mm.zoo\n'
    )
    known = {'late': path, 'engine': path, 'engine.hooks': path, 'zoo': path, '': path}
    found = {(edge.imported, edge.line) for edge in read_edges(known) if edge.importer == 'late'}
    assert found == {('engine.hooks', 3), ('zoo', 5)}
