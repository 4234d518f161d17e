"""``python -m casvit_mm.doctor``."""

import re
import sys

import pytest
from helpers import run_command

pytest.importorskip('mmdet')
from casvit_mm import doctor


def test_a_missing_package_is_named_with_the_command_that_fixes_it(monkeypatch):
    monkeypatch.setattr(doctor, 'find_spec', lambda name: name != 'mmdet' or None)
    _, errors = doctor.check_environment()
    fix = 'pip install -c constraints.txt onedl-mmdetection'
    assert ('mmdet: not installed', fix) in errors


@pytest.mark.slow
def test_extras_are_shown_with_their_brackets(monkeypatch, capsys):
    found = [('engines', "litert: not installed: pip install '.[litert]'")]
    wrong = [('mmcv is missing', "pip install 'casvit_mm[onedl]'")]
    monkeypatch.setattr(doctor, 'check_environment', lambda: (found, wrong))
    with pytest.raises(SystemExit):
        doctor.main()
    printed = capsys.readouterr().out
    assert "'.[litert]'" in printed
    assert "fix   pip install 'casvit_mm[onedl]'" in printed


def test_this_environment_is_found_healthy():
    result = run_command(sys.executable, '-m', 'casvit_mm.doctor')
    assert result.returncode == 0, result.stdout + result.stderr
    for text in ('torch', 'mmdet', 'operators', 'roi_align', 'everything our models need is here'):
        assert text in result.stdout
    assert re.search(r'--bf16 +training(.|\n)+?(pays|does\s+not\s+pay),\s+[\d.]+', result.stdout)


@pytest.mark.slow
def test_precisions_of_an_engine_are_measured(tiny_arch):
    pytest.importorskip('openvino')
    pytest.importorskip('nncf')
    from casvit_mm.deploy.engines import openvino_precisions
    from casvit_mm.export.precision_gains import precision_gains

    gains = precision_gains(tiny_arch)
    assert set(gains) == {'int8'} | ({'bf16'} if 'BF16' in openvino_precisions() else set())
    assert all(gain > 0 for gain in gains.values())


@pytest.mark.parametrize(('gain', 'verdict'), [(0.62, 'does not pay'), (1.6, 'pays')])
def test_a_precision_is_said_to_pay_by_what_was_measured(monkeypatch, gain, verdict):
    from casvit_mm.engine import precision
    from casvit_mm.export import precision_gains

    monkeypatch.setattr(precision, 'mixed_precision_gain', lambda *_, **__: gain)
    monkeypatch.setattr(precision_gains, 'precision_gains', lambda: dict(int8=gain))
    (training, _), *_ = rows = doctor.measure_precisions()
    assert training == '--bf16'
    assert ('OpenVINO', f'int8: {verdict}, {gain:.2f} times the speed of float32') in rows
    assert ('OpenVINO', 'bf16: this processor does not compute in it') in rows
