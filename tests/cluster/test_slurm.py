"""Trainings under a real Slurm, by tools/slurm_train.sh: preempted, cancelled, out of time."""

import shutil
import time

import pytest
import torch
from helpers import ROOT

from casvit_mm.weights.reading import load_file

PATIENCE = 900  # seconds for what has no limit of its own, on a busy machine
# In the place of tools/train.py; its config is the work dir of a tiny training.
TRAIN = """
import runpy, sys
sys.path.insert(0, {tests!r})
runpy.run_path({script!r}, run_name='__main__')
"""
LONG = ('train_cfg.max_epochs=8', 'model.seconds=0.4', 'train_dataloader.dataset.size=32')


@pytest.fixture
def submit(slurm, tmp_path):
    """Run tools/slurm_train.sh, on the nodes without GPU; return what it prints."""
    tools = tmp_path / 'tools'
    shutil.copytree(ROOT / 'tools', tools)
    tests = str(ROOT / 'tests')
    script = TRAIN.format(tests=tests, script=f'{tests}/tiny_training.py')
    (tools / 'train.py').write_text(script)

    def run(work_dir, *arguments, **env):
        command = [
            str(tools / 'slurm_train.sh'),
            'low',
            'job',
            str(tmp_path / work_dir),
            *arguments,
        ]
        env = dict(PYTHONPATH=str(ROOT), CPUS_PER_TASK='1', TASKS='2') | env
        return slurm.run('env', '-C', str(tmp_path), *command, **env)

    return run


@pytest.fixture
def unbroken(submit, tmp_path):
    """The weights of a run of srun that nothing happened to."""
    result = submit('unbroken', *LONG)
    assert result.returncode == 0, result.stdout + result.stderr
    return load_file(tmp_path / 'unbroken/epoch_8.pth')['state_dict']


def printed(tmp_path, job):
    file = tmp_path / f'slurm-{job}.out'
    return file.read_text() if file.is_file() else ''


def wait_for_text(slurm, tmp_path, job, text):
    def look():
        logs = [path.read_text() for path in (tmp_path / 'run').glob('*/*.log')]
        return printed(tmp_path, job) + ''.join(logs)

    slurm.wait_for(look, lambda found: text in found, PATIENCE)


def wait_for_end(slurm, job):
    slurm.wait_for(
        lambda: slurm.state(job), lambda s: s.startswith(('COMPLETED', 'FAILED')), PATIENCE
    )
    return slurm.state(job)


def assert_equal(path, weights):
    found = load_file(path)['state_dict']
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_several_tasks_on_several_nodes_without_gpu(submit, tmp_path):
    result = submit('run', 'train_cfg.max_epochs=1', TASKS='4', TASKS_PER_NODE='2')
    assert result.returncode == 0, result.stdout + result.stderr
    assert '1 epoch of 2 iterations' in result.stdout + result.stderr  # 16 images, 2 per process
    assert (tmp_path / 'run/epoch_1.pth').is_file()


def test_a_preempted_job_goes_on_by_itself(slurm, submit, tmp_path, unbroken):
    job = submit('run', *LONG, BATCH='1').stdout.split()[-1]
    wait_for_text(slurm, tmp_path, job, 'Epoch(train) [3][2/')
    # All of both nodes, for a moment.
    first = slurm.run('srun', '-p', 'high', '-N2', '--exclusive', 'sleep', '5')
    assert first.returncode == 0, first.stderr
    assert wait_for_end(slurm, job) == 'COMPLETED 1'
    text = printed(tmp_path, job)
    assert 'SIGTERM: stopped ' in text
    assert 'goes on at iteration' in text
    assert 'Traceback' not in text
    assert_equal(tmp_path / 'run/epoch_8.pth', unbroken)


def test_a_job_goes_on_after_the_end_of_its_time(slurm, submit, tmp_path, unbroken):
    long = [*LONG, 'model.seconds=1']
    job = submit('run', *long, BATCH='1', SAVE_SECONDS='60', SBATCH_ARGS='--time=60').stdout
    job = job.split()[-1]
    wait_for_text(slurm, tmp_path, job, 'Epoch(train) [1][2/')  # imports may take minutes
    soon = slurm.run('scontrol', 'update', f'JobId={job}', 'EndTime=now+90')
    assert soon.returncode == 0, soon.stderr
    wait_for_text(slurm, tmp_path, job, 'its time is up or it is preempted')
    slurm.run('scontrol', 'update', f'JobId={job}', 'TimeLimit=60')
    assert wait_for_end(slurm, job) == 'COMPLETED 1'
    assert 'SIGTERM: stopped ' in printed(tmp_path, job)
    assert_equal(tmp_path / 'run/epoch_8.pth', unbroken)


def test_a_job_that_is_cancelled_does_not_come_back(slurm, submit, tmp_path):
    job = submit('run', *LONG, BATCH='1').stdout.split()[-1]
    wait_for_text(slurm, tmp_path, job, 'Epoch(train) [1][2/')
    slurm.run('scancel', job)
    slurm.wait_for(lambda: slurm.state(job), lambda state: state.startswith('CANCELLED'))
    time.sleep(10)
    assert slurm.state(job) == 'CANCELLED 0'
