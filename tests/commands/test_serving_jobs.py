"""What the jobs of serving pass on, and what they refuse."""

import sys

import pytest

from casvit_mm.commands import main


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type a command line; returns its status and its errors."""

    def type_in(*words):
        monkeypatch.setattr(sys, 'argv', ['/usr/bin/casvit-mm', *words])
        try:
            main()
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return type_in


def test_serve_takes_a_config_before_the_model_and_limits(typed, monkeypatch):
    calls = []
    monkeypatch.setattr('casvit_mm.serving.serve', lambda *files, **kw: calls.append((files, kw)))
    config = 'casvit_mm::casvit_xs_light.py'
    assert typed('serve', config, 'best.pth', '--queue', '5', '--port', '0') == (0, '')
    ((files, options),) = calls
    assert files == ('best.pth', config)
    assert (options['limits'].queue, options['limits'].timeout) == (5, 30)
    assert (options['port'], options['host'], options['batch_size']) == (0, '127.0.0.1', None)


@pytest.mark.parametrize(
    ('words', 'error'),
    [
        (['serve', 'a.onnx', 'b.onnx'], 'name one model'),
        (['serve', 'a.onnx', '--queue', '0'], '--queue must be a number above 0'),
        (['export', 'a.pth', '--format', 'coreml', '--repository', 'x'], 'for --format onnx'),
    ],
)
def test_what_cannot_work_is_refused_at_once(typed, words, error):
    status, errors = typed(*words)
    assert status == 2
    assert error in errors
