"""The step that runs the tests marked ``gpu``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from casvit_mm.errors import InputError
from casvit_mm.gpu_report.environment import tests_folder
from casvit_mm.gpu_report.task import TESTS_ON, Task

__all__ = ['read_results', 'run']

_MARK = 'pytest.mark.gpu'


def run(task: Task) -> dict[str, Any]:
    """Run them, in this process, and return how each ended.

    Raises:
        InputError: If pytest could not run at all.
    """
    import pytest

    tests = tests_folder()
    files = sorted(str(path) for path in tests.rglob('test_*.py') if _MARK in path.read_text())
    report = Path(task.folder, 'tests.xml')
    if task.smoke:
        os.environ[TESTS_ON] = task.device
    settings = ['--rootdir', str(tests.parent), '-c', str(tests.parent / 'pyproject.toml')]
    quiet = ['-p', 'no:cacheprovider', '-m', 'gpu', '-ra', f'--junitxml={report}']
    status = pytest.main([*settings, *quiet, *files])
    if not report.is_file():
        raise InputError(f'pytest ended with status {int(status)} before the first test')
    return dict(kind='tests', tests=read_results(report))


def read_results(report: Path) -> list[dict[str, str]]:
    """Return name, outcome and reason of each test, from JUnit's XML.

    The outcomes are ``'passed'``, ``'failed'`` and ``'skipped'``.
    """
    found = []
    for case in ElementTree.parse(report).iter('testcase'):
        outcome, reason = 'passed', ''
        for child in case:
            if child.tag in ('failure', 'error', 'skipped'):
                outcome = 'skipped' if child.tag == 'skipped' else 'failed'
                reason = (child.get('message') or '').strip().partition('\n')[0]
        found.append(dict(name=case.get('name') or '', outcome=outcome, reason=reason))
    return found
