"""The steps that measure, shortened on a CPU, and what they do where memory lacks."""

import subprocess

import pytest

from casvit_mm.benchmark import roofline
from casvit_mm.errors import InputError
from casvit_mm.gpu_report import gpu_tests, measurements, trainings
from casvit_mm.gpu_report.task import Task


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Put a benchmark in the place of ours; returns the settings that it gets."""

    def put(run):
        seen = []

        def benchmark(settings):
            seen.append(settings)
            return run(settings)

        monkeypatch.setattr(measurements, 'run_benchmark', benchmark)
        monkeypatch.setattr(measurements, 'brief_markdown', lambda result: '| rows |')
        return seen

    return put


def lack(model, batch):
    return dict(model=model, form='eager+amp', batch=batch, reason='out of memory', memory=True)


def on_gpu(tmp_path, step='inference-xs-256', half='bf16'):
    return Task(step, str(tmp_path), 'cuda', half)


def test_a_batch_that_does_not_fit_is_halved_and_said(fake, tmp_path):
    def run(settings):
        large = [lack('casvit_s', batch) for batch in settings.batch if batch > 100]
        return dict(kind='inference', rows=[], failures=large)

    seen = fake(run)
    result = measurements.benchmark(on_gpu(tmp_path, 'inference-s'))
    assert [settings.batch for settings in seen] == [[256, 1, 64], [128, 1, 64], [64, 1]]
    assert [line.split()[1] for line in result['said']] == ['256', '128']
    assert '--batch 64 1' in result['command']


def test_a_peer_that_needs_too_much_memory_does_not_change_the_batch(fake, tmp_path):
    seen = fake(lambda _: dict(kind='inference', rows=[], failures=[lack('resnet152', 64)]))
    measurements.benchmark(on_gpu(tmp_path, 'peers'))
    assert len(seen) == 1


def test_memory_that_suffices_for_nothing_is_an_error_in_the_end(fake, tmp_path):
    def run(settings):
        raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')

    seen = fake(run)
    with pytest.raises(RuntimeError, match='out of memory'):
        measurements.benchmark(on_gpu(tmp_path))
    assert [settings.batch[0] for settings in seen] == [256, 128, 64, 32, 16, 8]


def test_what_is_wrong_beside_memory_is_not_tried_again(fake, tmp_path):
    def run(settings):
        raise InputError('no kernel image')

    seen = fake(run)
    with pytest.raises(InputError, match='no kernel image'):
        measurements.benchmark(on_gpu(tmp_path))
    assert len(seen) == 1


def test_a_gpu_without_bfloat16_gets_float16(fake, tmp_path):
    seen = fake(lambda _: dict(kind='inference', rows=[]))
    result = measurements.benchmark(on_gpu(tmp_path, 'engines', 'fp16'))
    assert 'bf16' not in result['command']
    assert len(set(seen[0].forms)) == len(seen[0].forms)


def test_the_limits_are_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(roofline, '_BUFFER', 2**12)
    monkeypatch.setattr(roofline, '_SIDE', dict(cpu=8))
    result = measurements.limits(Task('limits', str(tmp_path), 'cpu'))
    assert [row['precision'] for row in result['rows']] == ['fp32', 'bf16']
    assert all(row['bandwidth'] > 0 and row['multiply_adds'] > 0 for row in result['rows'])


def test_a_step_measures_on_a_cpu_what_it_would_on_a_gpu(tmp_path):
    result = measurements.benchmark(Task('inference-xs-256', str(tmp_path), 'cpu'))
    forms = [row['form'] for row in result['rows']]
    assert forms[0] == 'eager+amp'
    assert 'fused+channels_last+bf16' in forms
    assert all(row['ms']['p50'] > 0 for row in result['rows'])
    assert '| fused+channels_last+bf16 |' in result['table']


JUNIT = """<testsuites><testsuite>
<testcase name="test_amp"/>
<testcase name="test_graph"><skipped message="needs a GPU"/></testcase>
<testcase name="test_nms"><failure message="assert 1 == 2&#10;more">trace</failure></testcase>
<testcase name="test_load"><error message="no file"/></testcase>
</testsuite></testsuites>"""


def test_outcomes_are_read_with_their_reasons(tmp_path):
    (tmp_path / 'tests.xml').write_text(JUNIT)
    found = {one['name']: one for one in gpu_tests.read_results(tmp_path / 'tests.xml')}
    assert [one['outcome'] for one in found.values()] == ['passed', 'skipped', 'failed', 'failed']
    assert found['test_nms']['reason'] == 'assert 1 == 2'


@pytest.mark.parametrize(('device', 'amp'), [('cuda', True), ('cpu', False)])
def test_a_recipe_is_trained_resumed_and_evaluated_as_the_results_page_says(
    monkeypatch, tmp_path, device, amp
):
    commands = []

    def run(command, env):
        commands.append(command)
        if 'train' in command:
            (tmp_path / 'work').mkdir()
            (tmp_path / 'work/best_9.pth').write_text('')
        else:
            (tmp_path / 'metrics.json').write_text('{"coco/bbox_mAP": 0.591}')
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(trainings.subprocess, 'run', run)
    task = Task('train-bccd', str(tmp_path), device, data=dict(bccd='/data/bccd.yaml'))
    result = trainings.train_to_figures(task)
    assert result['rows'] == [dict(metric='coco/bbox_mAP', measured=0.591, published=0.6)]
    train, test = (' '.join(command) for command in commands)
    for words in ('--from-scratch', '--seed 0', '--resume', '--channels-last', '--data /data/bccd'):
        assert words in train
    assert ('--amp' in train) == amp
    assert ('max_epochs=1' in train) != amp
    assert 'best_9.pth' in test
    # Nothing is left where the user stands.
    assert f'--work-dir {tmp_path}/' in train
    assert f'--work-dir {tmp_path}/' in test


def test_a_training_that_fails_is_named_by_its_command(monkeypatch, tmp_path):
    ended = subprocess.CompletedProcess([], 2)
    monkeypatch.setattr(trainings.subprocess, 'run', lambda *_, **__: ended)
    task = Task('train-bccd', str(tmp_path), 'cuda', data=dict(bccd='b.yaml'))
    with pytest.raises(InputError, match=r'casvit-mm train .*status 2, see above'):
        trainings.train_to_figures(task)
