"""The GPU as its driver tells it, with a driver and an nvidia-smi of ours."""

import ctypes
import os
import sys
import time

import pytest

from casvit_mm.errors import InputError
from casvit_mm.gpu_report import machine

SMI = f"""#!{sys.executable}
import sys
columns = [a.split('=', 1)[1].split(',') for a in sys.argv if a.startswith('--query-')][0]
known = {{'driver_version': '550.54', 'clocks.sm': '1500', 'power.draw': '300.5',
         'temperature.gpu': '71', 'clocks_throttle_reasons.active': '0x4', 'pid': '77',
         'process_name': 'python', 'used_memory': '900'}}
for name in columns:
    if name not in known:
        sys.exit(f'Field "{{name}}" is not a valid field to query.')
print(', '.join(known[name] for name in columns))
"""


@pytest.fixture
def smi(tmp_path, monkeypatch):
    if sys.platform == 'win32':
        pytest.skip('a script as a program')
    tool = tmp_path / 'nvidia-smi'
    tool.write_text(SMI)
    tool.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')


def test_without_a_driver_the_command_ends_at_once(monkeypatch):
    monkeypatch.setattr(machine, '_LIBRARIES', ('libnowhere.so',))
    with pytest.raises(InputError, match=r'no driver of one here \(libnowhere.so\).*--smoke'):
        machine.check_gpu()


@pytest.mark.parametrize(('status', 'count'), [(100, 0), (0, 0), (0, 1)])
def test_a_driver_without_a_gpu_is_named(monkeypatch, status, count):
    class Driver:
        def cuInit(self, flags):
            return status

        def cuDeviceGetCount(self, place):
            place._obj.value = count
            return 0

    monkeypatch.setattr(ctypes, 'CDLL', lambda name: Driver())
    if count:
        machine.check_gpu()
    else:
        with pytest.raises(InputError, match='its driver finds none'):
            machine.check_gpu()


def test_columns_that_an_nvidia_smi_does_not_know_are_left_out(smi):
    assert machine.query() == [
        {'driver_version': '550.54', 'clocks.sm': '1500', 'temperature.gpu': '71',
         'power.draw': '300.5'}
    ]  # fmt: skip
    assert machine.other_processes() == ['77, python, 900']


def test_what_the_gpu_does_during_a_step_is_watched(smi, monkeypatch):
    monkeypatch.setattr(machine, '_EVERY', 0.05)
    with machine.watching() as seen:
        time.sleep(1.0)
    assert seen == dict(sm_mhz=1500, watts=300.5, celsius=71, throttled=['power limit'])


def test_without_nvidia_smi_nothing_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert machine.query() == []
    with machine.watching() as seen:
        pass
    assert seen == {}


def test_idle_looks_and_lines_cut_short_do_not_count():
    lines = ['210, 20, 40, 0x1'] * 3 + ['1900, 200, 60, 0x0', '1700, 210, 65, 0x20', '1800, 2']
    lines += ['[N/A], [N/A], 50, 0x0', '1800, 205, 64, 0x0']
    found = machine.summarise('\n'.join(lines))
    assert found == dict(sm_mhz=1800, watts=205, celsius=65, throttled=['thermal limit (software)'])
