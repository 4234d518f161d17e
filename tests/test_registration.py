"""The models register before the first module that uses a registry, none of theirs half loaded."""

import ast
from pathlib import Path

from test_architecture import list_modules

from casvit_mm.registration import REGISTRIES


def imported_at_once(path: Path) -> set[str]:
    """Names that a module imports when it is imported itself, not inside a function."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f'{node.module}.{alias.name}' for alias in node.names)}
    return names


def test_nothing_that_the_models_import_would_be_half_loaded():
    imports = {
        f'casvit_mm.{name}': imported_at_once(path) for name, path in list_modules().items() if name
    }
    needed, found = set(), {name for name in imports if name.startswith('casvit_mm.models')}
    while found - needed:
        needed |= found
        found = {name for one in needed for name in imports[one] if name in imports}
    early = {
        name
        for name in needed
        if {other.partition('.')[0] for other in imports[name]} & set(REGISTRIES)
    }
    assert 'casvit_mm.models.casvit' in early
    assert 'casvit_mm.weights.matching' in needed
    assert [name for name in early if not name.startswith('casvit_mm.models')] == []
