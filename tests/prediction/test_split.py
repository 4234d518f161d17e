"""Predictions in parts: by several processes, ended and gone on with, and the results of one."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT, free_port, run_ranks

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from export_models import random_image, write_model
from prediction_runs import KINDS, contents, write_video

import casvit_mm
from casvit_mm import InputError
from casvit_mm.distributed.folder_lock import lock, unlock
from casvit_mm.prediction import contact_sheets, files, outputs, parts
from casvit_mm.prediction.files import predict
from casvit_mm.prediction.options import PredictOptions
from casvit_mm.prediction.source_list import SourceList
from casvit_mm.prediction.sources import Source, find_sources


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of four images, and pages of two."""
    for module in (contact_sheets, outputs, parts):
        monkeypatch.setattr(module, 'PAGE', 2)


@pytest.fixture
def photos(tmp_path):
    """Eleven images, of which two cannot be read, and two names that collide once drawn."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    for i in range(8):
        cv2.imwrite(str(folder / f'{i}.png'), random_image(40 + i % 3, 60, i))
    cv2.imwrite(str(folder / 'a.jpg'), random_image(40, 60, 8))
    for name in ('1_bad.png', 'bad.jpg'):
        (folder / name).write_bytes(b'no image')
    return folder


@pytest.fixture
def model(tmp_path, monkeypatch, request):
    """A checkpoint that is loaded once for all processes of a test, and the model."""
    checkpoint = write_model(tmp_path, getattr(request, 'param', 'segmentation'))[1]
    loaded = casvit_mm.load(checkpoint, device='cpu', score_thr=None)
    monkeypatch.setattr(files, 'load', lambda *_, **__: loaded)
    return checkpoint, loaded


def predict_by(number, checkpoint, sources, **options):
    """Predict by several processes; return their exit statuses, which are 1 after an error."""
    given = PredictOptions(launcher='pytorch', **options)
    return run_ranks(number, lambda: predict(checkpoint, sources, given))


@pytest.mark.parametrize('model', KINDS, indirect=True)
def test_several_processes_write_what_one_writes(
    model, photos, tmp_path, small_parts, request, monkeypatch
):
    checkpoint, loaded = model
    whole = loaded.predict

    def noted(batch):
        with (tmp_path / 'processes').open('a') as file:
            file.write(f'{os.getpid()} ')
        return whole(batch)

    monkeypatch.setattr(loaded, 'predict', noted)
    options = KINDS[request.node.callspec.params['model']] | dict(batch_size=2)
    sources = [str(photos), str(write_video(tmp_path / 'clip.avi', 3))]
    one = predict(checkpoint, sources, PredictOptions(out_dir=str(tmp_path / 'one'), **options))
    assert (one.unreadable, len(one.read()['images'])) == (2, 9)
    assert predict_by(3, checkpoint, sources, out_dir=str(tmp_path / 'three'), **options) == [0] * 3
    assert len(set((tmp_path / 'processes').read_text().split())) == 1 + 3
    expected = contents(tmp_path / 'one')
    assert contents(tmp_path / 'three') == expected
    assert {Path(name).parts[0] for name in expected} >= {'pictures', 'predictions.json'}
    assert len(list((tmp_path / 'three/videos').iterdir())) == 1
    assert not list(tmp_path.glob('*/.*'))  # no lock and no part is left


def test_a_run_that_was_ended_goes_on_and_does_nothing_twice(
    model, photos, tmp_path, small_parts, monkeypatch, capsys
):
    checkpoint, loaded = model
    out = tmp_path / 'out'
    options = PredictOptions(out_dir=str(out))
    expected = predict(checkpoint, [str(photos)], options).path.read_bytes()
    out.rename(tmp_path / 'whole')
    seen = []
    whole = type(loaded).predict

    def killed(batch):
        seen.append(batch[0].tag.name)
        if len(seen) == 6:
            raise SystemExit(9)
        return whole(loaded, batch)

    monkeypatch.setattr(loaded, 'predict', killed)
    with pytest.raises(SystemExit):
        predict(checkpoint, [str(photos)], options)
    assert not (out / 'predictions.json').exists()
    again = tmp_path / 'again'
    shutil.copytree(out, again)
    (out / '.unfinished/0000002-x.json.part').write_text('{"half')  # what a kill may leave
    capsys.readouterr()
    assert predict(checkpoint, [str(photos)], options).path.read_bytes() == expected
    assert seen[6:] == seen[3:5] + [f'{i}.png' for i in (5, 6, 7)] + ['a.jpg']
    printed = capsys.readouterr().out
    assert '4 of 11 images and videos are done, by a run before' in printed
    assert 'and 3 done by a run before' in printed
    monkeypatch.undo()
    monkeypatch.setattr(files, 'load', lambda *_, **__: loaded)
    for module in (contact_sheets, outputs, parts):
        monkeypatch.setattr(module, 'PAGE', 2)
    again.rename(out2 := tmp_path / 'out2')
    assert predict_by(2, checkpoint, [str(photos)], out_dir=str(out2)) == [0, 0]
    assert (out2 / 'predictions.json').read_bytes() == expected


@pytest.fixture
def unfinished(model, photos, tmp_path, small_parts, monkeypatch):
    """Checkpoint, sources and folder of a prediction with one part that is done."""
    checkpoint, loaded = model
    whole, calls = loaded.predict, []

    def interrupted(batch):
        calls.append(batch)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return whole(batch)

    with monkeypatch.context() as patch:
        patch.setattr(loaded, 'predict', interrupted)
        options = PredictOptions(out_dir=str(tmp_path / 'out'))
        found = predict(checkpoint, [str(photos)], options)
    assert found.interrupted
    assert len(found.read()['images']) == 4
    return checkpoint, [str(photos)], tmp_path / 'out'


def test_an_unfinished_run_of_other_settings_is_kept(unfinished):
    checkpoint, sources, out = unfinished
    before = contents(out / '.unfinished')

    def refuse(message, sources=sources, **options):
        with pytest.raises(InputError, match=f'made with {message}'):
            predict(checkpoint, sources, PredictOptions(out_dir=str(out), **options))

    refuse(r'--pictures True \(now False\)', pictures=False)
    refuse(r'--batch-size 1 \(now 2\), --labels None \(now coco\)', batch_size=2, labels='coco')
    refuse(r'sources .*remove .*\.unfinished to begin anew', [f'{sources[0]}/2.png'])
    Path(checkpoint).write_bytes(Path(checkpoint).read_bytes() + b' ')
    refuse(r'content of the model \w+ \(now \w+\)')
    assert contents(out / '.unfinished') == before


def test_images_that_have_changed_are_predicted_again(unfinished):
    checkpoint, sources, out = unfinished
    cv2.imwrite(f'{sources[0]}/1_bad.png', np.zeros((40, 60, 3), np.uint8))
    found = predict(checkpoint, sources, PredictOptions(out_dir=str(out)))
    assert (found.unreadable, len(found.read()['images'])) == (1, 10)


def test_a_part_that_is_damaged_is_named_and_done_once_more(unfinished):
    checkpoint, sources, out = unfinished
    (part,) = (out / '.unfinished').glob('0*.json')
    part.write_text('{"images": [')
    options = PredictOptions(out_dir=str(out))
    with pytest.raises(InputError, match=r'0000000-\w+\.json is damaged .*Remove it'):
        predict(checkpoint, sources, options)
    part.unlink()
    assert len(predict(checkpoint, sources, options).read()['images']) == 9


def test_two_runs_in_one_folder_are_refused(model, photos, tmp_path):
    (tmp_path / 'out').mkdir()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock(tmp_path / 'out/.predict.lock')
        os.write(write, b'x')
        signal.pause()
    try:
        assert os.read(read, 1) == b'x'
        with pytest.raises(InputError, match=rf'another prediction writes to .*process {pid} on'):
            predict(model[0], [str(photos)], PredictOptions(out_dir=str(tmp_path / 'out')))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        unlock()


def test_what_is_for_one_process_is_refused_for_several(model, photos, tmp_path, capfd):
    out = str(tmp_path / 'out')
    assert predict_by(2, model[0], [str(photos), '0'], out_dir=out) == [1, 1]
    assert 'webcam 0 is a stream, which is for one process' in capfd.readouterr().err
    assert predict_by(2, model[0], [str(photos)], out_dir=out, device='cuda:1') == [1, 1]
    assert '--device cuda:1 is for one process' in capfd.readouterr().err


def test_a_million_sources_are_a_text():
    sources = (
        Source(Path(f'/data/images/{i:012d}.jpg'), f'{i:012d}.jpg', 'image') for i in range(9999)
    )
    found = SourceList.gather(sources)
    assert len(found.text(0, len(found))) < 120 * len(found)
    assert found[4321] == Source(
        Path('/data/images/000000004321.jpg'), '000000004321.jpg', 'image', '000000004321.jpg.png'
    )


def test_names_that_are_no_text_and_names_that_collide_keep_apart(tmp_path):
    for name in ('a.jpg', 'a.jpg.png', 'b\n.png'):
        (tmp_path / name).write_bytes(b'')
    (tmp_path / os.fsdecode(b'c\xff.png')).write_bytes(b'')
    found = SourceList.gather(find_sources([str(tmp_path)], [])[0])
    assert [source.drawn for source in found] == [
        *('a.jpg.png', 'a.jpg.png.png', 'b\n.png'),
        os.fsdecode(b'c\xff.png'),
    ]
    assert all(source.origin.is_file() for source in found)


@pytest.mark.slow
def test_processes_that_are_killed_go_on_by_the_same_command(tmp_path):
    """By the launcher: one of two is killed, then three finish; the result is that of one."""
    _, checkpoint = write_model(tmp_path, 'segmentation')
    (tmp_path / 'photos').mkdir()
    for i in range(400):
        cv2.imwrite(str(tmp_path / f'photos/{i:03d}.png'), random_image(48, 64, i))
    alone = PredictOptions(out_dir=str(tmp_path / 'one'), pictures=False)
    found = predict(checkpoint, [str(tmp_path / 'photos')], alone)
    options = ('--out-dir', tmp_path / 'out', '--no-pictures', '--device', 'cpu')

    def start(number):
        return subprocess.Popen(
            [
                ROOT / 'tools/dist_predict.sh',
                str(number),
                checkpoint,
                tmp_path / 'photos',
                *options,
            ],
            env={**os.environ, 'PORT': str(free_port()), 'PYTHONPATH': str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    run = start(2)
    while not list((tmp_path / 'out/.unfinished').glob('0*.json')):
        time.sleep(0.05)
        assert run.poll() is None
    children = Path(f'/proc/{run.pid}/task/{run.pid}/children').read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    assert run.wait(300) == 137
    assert not (tmp_path / 'out/predictions.json').exists()
    again = start(3)
    printed, _ = again.communicate(timeout=600)
    assert again.returncode == 0, printed
    assert 'are done, by a run before' in printed
    assert (tmp_path / 'out/predictions.json').read_bytes() == found.path.read_bytes()
    assert len(list((tmp_path / 'out/labels').iterdir())) == 400
