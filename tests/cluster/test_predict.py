"""A folder of images is shared out to hosts or to nodes of Slurm, and one of them is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from helpers import ROOT, free_port

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from export_models import random_image, write_model
from prediction_runs import KINDS, contents

PATIENCE = 900  # seconds for what has no limit of its own, on a busy machine
ENVIRONMENT = dict(PYTHONPATH=str(ROOT))


@pytest.fixture
def command(tmp_path, request):
    """Arguments of a prediction on 144 images, which are three parts, of one task."""
    kind = getattr(request, 'param', 'maskrcnn')
    photos = tmp_path / 'photos'
    photos.mkdir()
    for i in range(144):
        cv2.imwrite(str(photos / f'{i:03d}.png'), random_image(48 + i % 3, 64, i))
    (photos / '100.png').write_bytes(b'no image')
    given = [f'--{name.replace("_", "-")}={value}' for name, value in KINDS[kind].items()]
    return [write_model(tmp_path, kind)[1], str(photos), '--device=cpu', *given]


@pytest.fixture
def of_one(command, tmp_path):
    """Predict by one process; with other threads than the others it would round otherwise."""

    def predict(threads):
        tool = [sys.executable, str(ROOT / 'tools/predict.py'), *command, '--out-dir']
        env = os.environ | ENVIRONMENT | dict(OMP_NUM_THREADS=str(threads))
        result = subprocess.run([*tool, tmp_path / 'one'], env=env, capture_output=True, text=True)
        assert result.returncode == 1, result.stdout + result.stderr  # one image cannot be read
        found = contents(tmp_path / 'one')
        assert {Path(name).parts[0] for name in found} >= {'pictures', 'predictions.json'}
        return found

    return predict


def wait_for_a_part(out, runs):
    """Wait until a part is done, and the runs go on."""
    end = time.monotonic() + PATIENCE
    while not list((out / '.unfinished').glob('0*.json')):
        assert time.monotonic() < end
        assert all(run.poll() is None for run in runs), [run.communicate()[0] for run in runs]
        time.sleep(0.05)


def assert_gone_on(out, printed, expected):
    """Compare the results with those of one process; some were those of the run before."""
    assert 'are done, by a run before' in printed
    assert contents(out) == expected


@pytest.mark.parametrize('command', KINDS, indirect=True)
def test_a_host_is_lost_and_the_same_command_goes_on(two_hosts, command, of_one, tmp_path):
    out, port = tmp_path / 'out', str(free_port())

    def start(node):
        own = dict(NNODES='2', NODE_RANK=str(node), MASTER_ADDR=two_hosts.names[0], PORT=port)
        tool = [str(ROOT / 'tools/dist_predict.sh'), '1', *command, '--out-dir', str(out)]
        return subprocess.Popen(
            [*two_hosts.prefix(node), *tool],
            env=os.environ | ENVIRONMENT | own | dict(PEER_TIMEOUT='10'),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    here, there = start(0), start(1)
    wait_for_a_part(out, [here, there])
    lost = Path(f'/proc/{there.pid}/task/{there.pid}/children').read_text().split()
    for pid in [there.pid, *map(int, lost)]:
        os.kill(pid, signal.SIGKILL)
    printed, _ = here.communicate(timeout=PATIENCE)
    assert here.returncode == 137
    assert '(10.77.0.2) ended: the launcher there was killed' in printed, printed
    assert not (out / 'predictions.json').exists()
    there.communicate()
    again = [start(0), start(1)]
    printed = [run.communicate(timeout=PATIENCE)[0] for run in again]
    assert [run.returncode for run in again] == [2, 2], printed  # one image cannot be read
    assert_gone_on(out, printed[0], of_one(os.cpu_count()))  # one process took all CPUs


def process_of_task(number, out):
    """Return the id of a task of Slurm that predicts."""
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            words = (folder / 'cmdline').read_bytes().decode().split('\0')
            variables = (folder / 'environ').read_bytes().decode(errors='replace').split('\0')
        except OSError:  # it has just ended
            continue
        predicts = words[0].endswith('python') and str(out) in words
        if predicts and f'SLURM_PROCID={number}' in variables:
            return int(folder.name)
    raise AssertionError(f'task {number} does not run')


def test_a_task_of_slurm_is_lost_and_the_same_command_goes_on(slurm, command, of_one, tmp_path):
    out = tmp_path / 'out'
    tool = [str(ROOT / 'tools/slurm_predict.sh'), 'low', 'job', *command, '--out-dir', str(out)]
    env = slurm.environment(**ENVIRONMENT, TASKS='2', CPUS_PER_TASK='1')

    def start():
        return subprocess.Popen(
            [*slurm.hosts.prefix(0), *tool],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    run = start()
    wait_for_a_part(out, [run])
    os.kill(process_of_task(1, out), signal.SIGKILL)
    printed, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode != 0
    assert not (out / 'predictions.json').exists(), printed
    again = start()
    printed, _ = again.communicate(timeout=PATIENCE)
    assert again.returncode == 2, printed
    assert_gone_on(out, printed, of_one(1))
