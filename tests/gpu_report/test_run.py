"""A report over several calls, with steps that take no time: what is run, cut, tried again."""

import json
import sys

import pytest
from helpers import ROOT, run_command

from casvit_mm.errors import InputError
from casvit_mm.gpu_report import plan, run
from casvit_mm.gpu_report.plan import Step
from casvit_mm.gpu_report.run import Options, report
from casvit_mm.gpu_report.task import Task

STEPS = (
    Step('limits', 'the first', 0.01, 1, 'none'),
    Step('tests', 'the second', 0.01, 1, 'none'),
    Step('peers', 'the third', 0.01, 1, 'none'),
)
DONE = """
import json, sys, time
open(sys.argv[1] + '/../../calls', 'a').write({name!r} + '\\n')
open(sys.argv[1] + '/result.json', 'w').write(json.dumps(dict(kind='comparison', table={name!r})))
"""


@pytest.fixture
def start(monkeypatch, environment, tmp_path):
    """Make a report in a folder; ``does`` has the script of a step, the others end at once."""
    monkeypatch.setattr(plan, 'STEPS', STEPS)
    monkeypatch.setattr(run, 'check_gpu', lambda: None)
    monkeypatch.setattr(run, '_LEAST', 0.0)
    monkeypatch.setattr(run.signal, 'signal', lambda *_: None)

    def make(does=None, only=None, limit=None, **changed):
        monkeypatch.setattr(run, '_look', lambda *_: environment | changed)

        def command(task: Task):
            script = (does or {}).get(task.step, DONE.format(name=task.step))
            return [sys.executable, '-c', script, task.folder]

        monkeypatch.setattr(Task, 'write', command)
        (tmp_path / 'calls').unlink(missing_ok=True)
        failed = report(Options(str(tmp_path), limit, only=only))
        calls = tmp_path / 'calls'
        return failed, calls.read_text().split() if calls.is_file() else []

    return make


def record(tmp_path, step):
    return json.loads((tmp_path / 'state.json').read_text())['steps'][step]


def test_steps_that_are_done_are_not_repeated(start, tmp_path, capsys):
    assert start() == (0, ['limits', 'tests', 'peers'])
    assert start() == (0, [])
    page = (tmp_path / 'report.md').read_text()
    assert all(f'## {step.name}' in page for step in STEPS)
    assert str(tmp_path / 'report.md') in capsys.readouterr().out


@pytest.mark.parametrize(
    ('changed', 'told'),
    [
        (dict(commit='def5678'), 'commit abc1234 -> def5678'),
        (dict(torch='2.7.0'), 'torch 2.6.0 -> 2.7.0'),
        (dict(gpu='H200'), 'GPU NVIDIA RTX 3060 -> H200'),
        (dict(nvidia_smi=[{'driver_version': '560.2'}]), 'driver 550.1 -> 560.2'),
    ],
)
def test_another_machine_driver_torch_or_commit_is_said_and_measured_anew(
    start, tmp_path, capsys, changed, told
):
    start()
    old = tmp_path / 'steps/limits/of_the_old.txt'
    old.write_text('')
    assert start(only=['limits'], **changed) == (0, ['limits'])
    assert f'3 steps were run with something else and are run again: {told}' in (
        capsys.readouterr().out
    )
    assert not old.exists()
    # What belongs to the old one is not on the page.
    assert '## peers' not in (tmp_path / 'report.md').read_text()


def test_a_step_that_the_end_of_the_time_cuts_is_tried_again(start, tmp_path, capsys):
    sleeps = dict(tests='import time; time.sleep(100)')
    failed, calls = start(sleeps, limit=0.1)
    assert (failed, calls[:1]) == (0, ['limits'])
    assert record(tmp_path, 'tests')['status'] == 'cut'
    assert record(tmp_path, 'tests')['tries'] == 0
    assert 'the same command goes on' in capsys.readouterr().out
    assert 'The time was over' in (tmp_path / 'report.md').read_text()
    assert start() == (0, ['tests', 'peers'][: 3 - len(calls)])


def test_a_step_that_does_not_fit_is_left_to_the_next_call_and_others_run(
    start, tmp_path, monkeypatch
):
    long = Step('tests', 'the second', 30, 60, 'none')
    monkeypatch.setattr(plan, 'STEPS', (STEPS[0], long, STEPS[2]))
    assert start(limit=1) == (0, ['limits', 'peers'])
    assert 'needs about 30.0 minutes' in (tmp_path / 'report.md').read_text()


def test_a_step_beyond_its_own_limit_is_given_up_after_two_tries(start, monkeypatch, tmp_path):
    short = Step('tests', 'the second', 0.01, 0.01, 'none')
    monkeypatch.setattr(plan, 'STEPS', (STEPS[0], short))
    sleeps = dict(tests='import time; time.sleep(100)')
    for tries in (1, 2):
        start(sleeps)
        assert record(tmp_path, 'tests')['tries'] == tries
    assert 'It took longer than 0.01 minutes' in (tmp_path / 'report.md').read_text()
    assert start() == (0, [])
    assert '--only tests' in (tmp_path / 'report.md').read_text()
    monkeypatch.setattr(plan, 'STEPS', STEPS[:2])
    assert start(only=['tests']) == (0, ['tests'])


def test_a_step_that_fails_tells_why_and_does_not_keep_the_others(start, tmp_path):
    fails = dict(tests='import sys; print("noise"); sys.exit("error: no kernel image")')
    failed, calls = start(fails)
    assert (failed, calls) == (1, ['limits', 'peers'])
    told = record(tmp_path, 'tests')
    assert told['status'] == 'failed'
    assert 'error: no kernel image' in told['reason']
    assert 'error: no kernel image (steps/tests/log.txt)' in (tmp_path / 'report.md').read_text()
    start(fails)
    assert start(fails) == (0, [])  # given up
    assert start(commit='def5678')[1] == ['limits', 'tests', 'peers']  # mended


def test_a_command_that_is_killed_in_a_step_leaves_word_of_it(start, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, 'run_limited', killed)
    with pytest.raises(KeyboardInterrupt):
        start()
    told = record(tmp_path, 'limits')
    assert (told['status'], told['tries']) == ('cut', 0)
    assert told['fingerprint']['commit'] == 'abc1234'


def test_a_result_that_is_not_there_is_a_failure(start, tmp_path):
    assert start(dict(tests='print("killed")'))[0] == 1
    assert record(tmp_path, 'tests')['status'] == 'failed'


def test_a_damaged_state_is_refused_with_the_way_out(start, tmp_path):
    (tmp_path / 'state.json').write_text('{"steps": {"limits": {"sta')
    with pytest.raises(InputError, match=r'state\.json is damaged.*remove that file'):
        start()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(limit=0.0), '--limit must be minutes above 0'),
        (dict(only=['peer']), "did you mean 'peers'"),
        (dict(data=dict(bccd='nowhere.yaml')), r'--bccd nowhere\.yaml does not exist'),
        (dict(out='/dev/null/report'), 'cannot be written'),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(start, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        report(Options(**{'out': str(tmp_path), **options}))
    assert not (tmp_path / 'state.json').exists()


def test_torch_without_cuda_beside_a_gpu_is_named(monkeypatch, environment, tmp_path):
    def probe(command, log, *_):
        log.write_text('')
        found = json.dumps(environment | dict(capable=False))
        (log.parent / 'result.json').write_text(found)
        return 0

    monkeypatch.setattr(run, 'check_gpu', lambda: None)
    monkeypatch.setattr(run.signal, 'signal', lambda *_: None)
    monkeypatch.setattr(run, 'run_limited', probe)
    with pytest.raises(InputError, match=r'torch 2\.6\.0 does not reach it'):
        report(Options(str(tmp_path)))


def test_without_a_gpu_the_command_ends_before_torch_is_imported(tmp_path):
    script = f"""
import sys
from casvit_mm.commands import main
from casvit_mm.gpu_report import machine
machine._LIBRARIES = ('libnowhere.so',)
sys.argv = ['casvit-mm', 'gpu-report', '--out', {str(tmp_path / 'out')!r}]
try:
    main()
except SystemExit as end:
    print(end.code, sorted({{'torch', 'mmengine', 'timm', 'cv2'}} & set(sys.modules)))
"""
    ended = run_command(sys.executable, '-c', script, PYTHONPATH=str(ROOT))
    assert ended.stdout.splitlines()[-1] == '2 []', ended.stderr
    assert 'error: gpu-report needs an NVIDIA GPU' in ended.stderr
    assert not (tmp_path / 'out').exists()


def test_the_steps_are_listed_without_a_gpu():
    ended = run_command(sys.executable, 'tools/gpu_report.py', '--list')
    assert ended.returncode == 0, ended.stderr
    names = [line.split()[0] for line in ended.stdout.splitlines()]
    assert names == [step.name for step in plan.STEPS]
