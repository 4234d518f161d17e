"""Saved configs of earlier code name modules to import; a process that knows nothing else does."""

import sys

import pytest
from helpers import ROOT, run_command

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
CONFIGS = sorted((ROOT / 'tests/fixtures/run_20bf7df').glob('*/*.py'))
BUILD = """
import sys
from mmengine.config import Config
from mmengine.registry import HOOKS, LOOPS
for path in sys.argv[1:]:
    cfg = Config.fromfile(path)
    assert all(name in sys.modules for name in cfg.custom_imports.imports)
    assert LOOPS.get(cfg.train_cfg.type) is not None
    with HOOKS.switch_scope_and_registry(cfg.default_scope) as hooks:
        for hook in cfg.custom_hooks:
            assert hooks.get(hook['type']) is not None, hook
"""


def test_what_an_old_config_imports_registers_what_it_names():
    assert len(CONFIGS) == 3
    result = run_command(sys.executable, '-W', 'error::FutureWarning', '-c', BUILD, *CONFIGS)
    assert result.returncode == 0, result.stderr
