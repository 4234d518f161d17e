"""Import paths of version 0.1 lead to the modules of today, and say so once."""

import sys
import warnings
from importlib import import_module

import pytest

from casvit_mm.moved import MOVED, keep_old_paths

# Modules below a moved package that docs and notebooks name.
INSIDE = {
    'seeing.cams': 'visualization.cams',
    'seeing.models': 'visualization.models',
    'seeing.stages': 'visualization.stages',
}
ALL = {f'casvit_mm.{old}': f'casvit_mm.{new}' for old, new in {**MOVED, **INSIDE}.items()}
FRAMEWORKS = {'detection': 'mmdet', 'seeing': 'mmdet'}
# Paths that have not moved and must not: configs, saved runs and docs use them.
KEPT = [
    'casvit_mm.datasets.images',
    'casvit_mm.datasets.shapes',
    'casvit_mm.deploy',
    'casvit_mm.engine.finetune',
    'casvit_mm.engine.hooks',
    'casvit_mm.engine.layer_decay',
    'casvit_mm.engine.resume',
    'casvit_mm.engine.speed',
    'casvit_mm.models',
    'casvit_mm.ops',
    'casvit_mm.weights',
]


@pytest.fixture
def not_yet_imported(monkeypatch):
    """Forget that old paths were imported before."""
    for old in ALL:
        monkeypatch.delitem(sys.modules, old, raising=False)


@pytest.mark.parametrize('old', ALL)
def test_an_old_path_is_the_module_at_the_new_one_and_warns_once(old, not_yet_imported):
    pytest.importorskip(FRAMEWORKS.get(old.split('.')[1], 'mmengine'))
    import_module(ALL[old])
    package = old.rpartition('.')[0]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        import_module(package)  # may be an old path itself
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert import_module(old) is import_module(ALL[old])
        import_module(old)
    told = [str(w.message) for w in caught if issubclass(w.category, FutureWarning)]
    assert told == [f'{old} is now {ALL[old]}; the old path will go']


def test_names_are_imported_from_old_paths(not_yet_imported):
    pytest.importorskip('mmdet')
    with pytest.warns(FutureWarning, match=r'casvit_mm\.seeing\.cams is now'):
        from casvit_mm.seeing.cams import class_activation
    with pytest.warns(FutureWarning, match=r'casvit_mm\.config_files is now'):
        from casvit_mm.config_files import ROOT
    with pytest.warns(FutureWarning, match=r'casvit_mm\.safe_loading is now'):
        from casvit_mm.safe_loading import read_files_safely
    from casvit_mm.config import paths
    from casvit_mm.visualization import cams
    from casvit_mm.weights import mmengine_loading

    assert class_activation is cams.class_activation
    assert ROOT is paths.ROOT
    assert read_files_safely is mmengine_loading.read_files_safely


@pytest.mark.parametrize('name', KEPT)
def test_a_path_that_has_not_moved_imports_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter('error', FutureWarning)
        assert import_module(name).__name__ == name


def test_an_unknown_module_is_still_an_import_error():
    with pytest.raises(ModuleNotFoundError, match=r'casvit_mm\.nowhere'):
        import_module('casvit_mm.nowhere')


def test_redirecting_twice_changes_nothing():
    before = list(sys.meta_path)
    keep_old_paths()
    assert sys.meta_path == before
