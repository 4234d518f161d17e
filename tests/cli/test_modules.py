"""Modules that are run by ``python -m``, and the import of the package in a process of its own."""

import re
import sys

import pytest
from helpers import run_command, slow_after


def test_importing_the_package_takes_no_old_path_and_prints_nothing():
    # DeprecationWarnings of torch's own modules are not ours.
    command = sys.executable, '-W', 'error::FutureWarning', '-c', 'import casvit_mm'
    result = run_command(*command)
    # torch 2.4 prints one in spite of any filter.
    printed = re.sub(r'.*DeprecationWarning: `TorchScript` support.*\n.*\n', '', result.stderr)
    assert (result.returncode, result.stdout, printed) == (0, '', '')


@pytest.mark.parametrize(
    'module', slow_after(1, ['casvit_mm.launch', 'casvit_mm', 'casvit_mm.ops'])
)
def test_a_module_is_run_by_its_name(module):
    result = run_command(sys.executable, '-m', module, '--help')
    assert result.returncode == 0, result.stderr
    assert 'usage' in result.stdout.lower() or 'python -m' in result.stdout
