"""Prediction on files: nothing lost, nothing overwritten."""

import json
import resource
import runpy
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT, grey_png

pytest.importorskip('mmdet')
from prediction_runs import edited_checkpoint, run, save, write_video
from pycocotools import mask as rle

from casvit_mm import InputError
from casvit_mm.datasets.images import read_image
from casvit_mm.deploy.video_writing import drawn_suffix
from casvit_mm.deploy.videos import VideoReader
from casvit_mm.engine import evaluate
from casvit_mm.prediction.checkpoints import CheckpointModel
from casvit_mm.prediction.files import predict
from casvit_mm.prediction.options import PredictOptions


def test_objects_are_those_of_the_evaluation_route(model, shapes, tmp_path):
    config, checkpoint = model
    evaluate(
        config,
        checkpoint,
        data=str(shapes),
        work_dir=str(tmp_path / 'test'),
        cfg_options={
            'test_evaluator.outfile_prefix': str(tmp_path / 'pred'),
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            'env_cfg.mp_cfg.mp_start_method': 'fork',
        },
    )
    truth = json.loads(shapes.with_name('test.json').read_text())
    names = {category['id']: category['name'] for category in truth['categories']}
    expected = json.loads((tmp_path / 'pred.segm.json').read_text())
    boxes = json.loads((tmp_path / 'pred.bbox.json').read_text())
    result = run(model, [shapes.parent / 'test'], tmp_path / 'out', batch_size=3, max_dets=100)
    assert len(expected) == sum(len(entry['objects']) for entry in result['images']) > 0
    for image, entry in zip(truth['images'], result['images']):
        ours = entry['objects']
        theirs = [(m, b) for m, b in zip(expected, boxes) if m['image_id'] == image['id']]
        theirs.sort(key=lambda pair: -pair[0]['score'])
        assert [o['class'] for o in ours] == [names[m['category_id']] for m, _ in theirs]
        scores = [m['score'] for m, _ in theirs]
        np.testing.assert_allclose([o['score'] for o in ours], scores, atol=2e-5)
        np.testing.assert_allclose(
            [o['bbox'] for o in ours], [b['bbox'] for _, b in theirs], atol=0.02
        )
        assert [o['segmentation'] for o in ours] == [m['segmentation'] for m, _ in theirs]


def test_reaching_the_limit_of_objects_is_said(model, pixels, tmp_path, capsys):
    path = save(pixels, tmp_path / 'a.png')
    run(model, [path], tmp_path / 'out', score_thr=0.5)
    assert '1 picture reached the 20 objects' in capsys.readouterr().out
    result = run(model, [path], tmp_path / 'out', score_thr=0.5, max_dets=100)
    assert len(result['images'][0]['objects']) > 20
    assert 'reached' not in capsys.readouterr().out


def test_unused_high_bits_are_noticed(model, pixels, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'dim.tif'), pixels.astype(np.uint16) * 16)
    cv2.imwrite(str(tmp_path / 'full.tif'), pixels.astype(np.uint16) * 257)
    save(pixels // 8, tmp_path / 'night.png')
    result = run(model, [tmp_path], tmp_path / 'out')
    marked = [Path(e['file']).name for e in result['images'] if e.get('upper_bits_unused')]
    assert marked == ['dim.tif']
    assert '1 image (first' in capsys.readouterr().out


def test_folders_are_searched_and_other_files_counted(model, pixels, tmp_path, capsys):
    (tmp_path / 'in/deep').mkdir(parents=True)
    save(pixels, tmp_path / 'in/a.JPG')
    save(pixels, tmp_path / 'in/deep/b.png')
    save(pixels, tmp_path / 'in/.hidden.png')
    (tmp_path / 'in/notes.txt').write_text('no image')
    write_video(tmp_path / 'in/clip.avi', 2)
    result = run(model, [tmp_path / 'in'], tmp_path / 'out')
    assert [e['picture'] for e in result['images']] == ['pictures/a.JPG.png', 'pictures/deep/b.png']
    assert result['skipped_files'] == 2
    assert '2 other files in the folders skipped' in capsys.readouterr().out


def test_inputs_of_one_name_get_a_picture_each(model, pixels, tmp_path):
    names = ['x/a.png', 'x/a.jpg', 'x/a.jpg.png', 'y/a.png']
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(pixels, tmp_path / name)
    result = run(model, [tmp_path / name for name in names], tmp_path / 'out')
    pictures = [e['picture'] for e in result['images']]
    assert pictures[0] == 'pictures/x/a.png'
    assert len(set(pictures)) == 4
    assert all((tmp_path / 'out' / picture).is_file() for picture in pictures)


def test_earlier_results_inside_the_input_folder_are_no_input(model, pixels, tmp_path):
    save(pixels, tmp_path / 'a.png')
    for _ in range(2):
        result = run(model, [tmp_path], tmp_path / 'out')
        assert len(result['images']) == 1
    with pytest.raises(InputError, match=r'lies where results .*Name another --out-dir'):
        run(model, [tmp_path / 'out/pictures/a.png'], tmp_path / 'out')


def test_inputs_stay_as_they_are(model, pixels, tmp_path):
    path = save(pixels, tmp_path / 'a.png')
    before = path.read_bytes()
    run(model, [path], tmp_path)  # results beside it
    assert path.read_bytes() == before


def test_json_and_pictures_say_the_same_as_the_returned_result(model, predictor, pixels, tmp_path):
    result = run(model, [save(pixels, tmp_path / 'a.png')], tmp_path / 'out')
    assert json.loads((tmp_path / 'out/predictions.json').read_text()) == result
    (entry,) = result['images']
    assert (entry['width'], entry['height']) == (64, 48)
    found = entry['objects'][0]
    assert set(found) == {'class', 'score', 'bbox', 'segmentation'}
    assert rle.decode(found['segmentation']).shape == (48, 64)
    drawn = cv2.imread(str(tmp_path / 'out/pictures/a.png'))
    expected = predictor(read_image(tmp_path / 'a.png')).draw()
    np.testing.assert_array_equal(drawn, expected)


def test_tiles_are_for_images_larger_than_a_tile(model, predictor, pixels, tmp_path):
    save(pixels, tmp_path / 'small.png')
    save(np.tile(pixels, (2, 2, 1)), tmp_path / 'large.png')
    options = dict(tile=64, overlap=0.1, batch_size=3)
    large, small = run(model, [tmp_path], tmp_path / 'out', **options)['images']
    assert [small] == run(model, [tmp_path / 'small.png'], tmp_path / 'out')['images']
    assert (large['width'], large['height']) == (128, 96)
    assert rle.decode(large['objects'][0]['segmentation']).shape == (96, 128)
    plain = predictor(np.tile(pixels[..., ::-1], (2, 2, 1)))
    assert len(large['objects']) > len(plain.boxes)
    assert {tuple(o['bbox'][:2] // np.array([64, 48])) for o in large['objects']} == {
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    }


def test_no_pictures_writes_json_only(model, pixels, tmp_path):
    path = save(pixels, tmp_path / 'a.png')
    video = write_video(tmp_path / 'clip.avi', 2)
    run(model, [path, video], tmp_path / 'out', pictures=False)
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['predictions.json']


def test_every_frame_of_a_video_is_done_and_timed(model, tmp_path):
    video = write_video(tmp_path / 'clip.avi', 7)
    (entry,) = run(model, [video], tmp_path / 'out', batch_size=3)['videos']
    assert entry['video'] == f'videos/clip.avi{drawn_suffix()}'
    assert [f['frame'] for f in entry['frames']] == list(range(7))
    assert [f['time'] for f in entry['frames']] == pytest.approx([i / 10 for i in range(7)])
    assert (entry['fps'], entry['width'], entry['height']) == (10, 64, 48)
    assert times_in(tmp_path / 'out' / entry['video']) == pytest.approx([i / 10 for i in range(7)])


def test_frames_can_be_left_out(model, tmp_path):
    video = write_video(tmp_path / 'clip.avi', 9)
    (entry,) = run(model, [video], tmp_path / 'out', every=2, max_frames=3)['videos']
    assert [f['frame'] for f in entry['frames']] == [0, 2, 4]
    assert times_in(tmp_path / 'out' / entry['video']) == pytest.approx([0, 0.2, 0.4])


def times_in(video):
    """Return the times of the frames of a video in seconds."""
    return [time for _, time, _ in VideoReader(video).frames()]


def test_ctrl_c_in_a_folder_keeps_the_images_before_it(
    model, predictor, tmp_path, monkeypatch, capsys
):
    """The JSON and the pictures are whole and of the same images; the summary counts them."""
    photos = tmp_path / 'photos'
    photos.mkdir()
    for number in range(9):
        cv2.imwrite(str(photos / f'{number}.png'), np.full((48, 64, 3), 20 * number, np.uint8))
    monkeypatch.setattr('casvit_mm.prediction.files.load', lambda *_, **__: predictor)
    predict_batch, batches = predictor.predict, []

    def interrupted(batch):
        batches.append(batch)
        if len(batches) == 3:
            signal.raise_signal(signal.SIGINT)
        return predict_batch(batch)

    monkeypatch.setattr(predictor, 'predict', interrupted)
    result = run(model, [photos], tmp_path / 'out', batch_size=2)
    assert result == json.loads((tmp_path / 'out/predictions.json').read_text())
    assert result['interrupted']
    assert [Path(entry['file']).name for entry in result['images']] == [
        '0.png',
        '1.png',
        '2.png',
        '3.png',
    ]
    drawn = sorted((tmp_path / 'out/pictures').rglob('*.png'))
    assert len(drawn) == 4
    assert all(cv2.imread(str(path)) is not None for path in drawn)
    assert ' in 4 images' in capsys.readouterr().out


@pytest.mark.parametrize('draw', [True, False])
def test_ctrl_c_keeps_what_was_seen_of_a_video(
    model, predictor, tmp_path, monkeypatch, capsys, draw
):
    """The JSON is whole, the drawn video plays, and the summary counts."""
    video = write_video(tmp_path / 'clip.avi', 9)
    monkeypatch.setattr('casvit_mm.prediction.files.load', lambda *_, **__: predictor)
    predict_batch, calls = predictor.predict, []

    def interrupted(batch):
        calls.append(batch)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return predict_batch(batch)

    monkeypatch.setattr(predictor, 'predict', interrupted)
    others = [write_video(tmp_path / 'later.avi', 3)]
    result = run(model, [video, *others], tmp_path / 'out', pictures=draw)
    assert result == json.loads((tmp_path / 'out/predictions.json').read_text())
    (entry,) = result['videos']
    assert result['interrupted']
    assert result['unreadable'] == []
    assert [f['frame'] for f in entry['frames']] == [0, 1, 2, 3]
    if draw:
        assert len(times_in(tmp_path / 'out' / entry['video'])) == 4
    printed = capsys.readouterr().out
    for text in ('4 frames of 1 video', 'stopped by Ctrl-C'):
        assert text in printed


def damage(kind, pixels, folder):
    """Write a file that cannot be read and return it."""
    path = folder / {'text': 'a.png', 'no frames': 'a.avi', 'cut video': 'a.mp4'}.get(kind, 'a.jpg')
    if kind == 'text':
        path.write_text('not an image')
    elif kind == 'large':
        path.write_bytes(grey_png(32_000, 32_000, 8))
    elif kind in ('empty', 'no frames'):
        path.write_bytes(b'')
    elif kind == 'cut video':
        write_video(path, 5, 'mp4v')
        path.write_bytes(path.read_bytes()[:-200])
    else:
        save(pixels, path)
        path.write_bytes(path.read_bytes()[: -1 if kind == 'last byte' else 900])
    return path


@pytest.mark.parametrize(
    ('kind', 'reason'),
    [
        ('text', 'cannot be decoded'),
        ('empty', r'is empty \(0 bytes\)'),
        ('cut', r'\(900 bytes\) cannot be decoded: it is cut short'),
        ('last byte', 'cut short'),
        ('large', 'header declares more than'),
        ('no frames', 'cannot be opened as a video'),
        ('cut video', 'cannot be opened as a video'),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_and_the_rest_done(
    model, pixels, tmp_path, capsys, kind, reason
):
    bad = damage(kind, pixels, tmp_path)
    good = [save(pixels, tmp_path / name) for name in ('0.png', 'z.png')]
    result = run(model, [good[0], bad, good[1]], tmp_path / 'out')
    assert [entry['file'] for entry in result['images']] == [str(path) for path in good]
    (failed,) = result['unreadable']
    assert failed['file'] == str(bad)
    with pytest.raises(InputError, match=reason):
        raise InputError(failed['reason'])
    printed = capsys.readouterr().out
    assert '1 file not read' in printed
    assert failed['reason'] in printed


def test_a_video_cut_short_keeps_the_frames_it_has(model, tmp_path):
    video = write_video(tmp_path / 'clip.avi', 40)
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    result = run(model, [video], tmp_path / 'out', pictures=False)
    (entry,), (failed,) = result['videos'], result['unreadable']
    assert 5 < len(entry['frames']) < 30
    assert f'ends after {len(entry["frames"])} of 40 frames' in failed['reason']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(sources=['gone.jpg']), r'input gone\.jpg does not exist'),
        (dict(sources=['empty']), r'folder empty holds no image \(1 other files\)'),
        (dict(config='gone.py'), r'config gone\.py does not exist'),
        (dict(model='gone.pth'), r"'gone\.pth' does not exist"),
        (dict(score_thr=30), '--score-thr must be from 0 to 1'),
        (dict(batch_size=0), '--batch-size must be at least 1'),
        (dict(max_dets=0), '--max-dets must be at least 1'),
        (dict(every=0), '--every must be at least 1'),
        (dict(max_frames=0), '--max-frames must be at least 1'),
        (dict(device='gpu'), "--device 'gpu' is unknown"),
        (dict(device='cuda:99'), r'--device cuda:99: torch finds \d+ GPU'),
        (dict(out_dir='a.png'), r'results cannot be written to a\.png'),
        (dict(cfg_options={'model.backbone.drop_pat': 0}), "no argument 'drop_pat'"),
    ],
)
def test_bad_input_is_refused(model, pixels, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    save(pixels, tmp_path / 'a.png')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty/notes.txt').write_text('')
    arguments = dict(config=model[0], out_dir='out', device='cpu') | options
    checkpoint = arguments.pop('model', model[1])
    sources = arguments.pop('sources', ['a.png'])
    with pytest.raises(InputError, match=message):
        predict(checkpoint, sources, PredictOptions(**arguments))
    assert not (tmp_path / 'out/predictions.json').exists()


def test_a_checkpoint_without_class_names_takes_the_configs_and_says_so(
    model, pixels, tmp_path, capsys
):
    path = edited_checkpoint(model, tmp_path / 'c.pth', lambda c: c.pop('meta'))
    named = {'test_dataloader.dataset.metainfo': dict(classes=['A', 'B', 'C'])}
    image = save(pixels, tmp_path / 'a.png')
    run((model[0], path), [image], tmp_path / 'out', cfg_options=named)
    assert 'holds no class names; the 3 of' in capsys.readouterr().out
    with pytest.raises(InputError, match=r'(?s)shape: .*holds no class names; the 80 of'):
        CheckpointModel(path, model[0])  # COCO's, which do not fit


@pytest.mark.skipif(sys.platform == 'win32', reason='needs a limit on file sizes')
@pytest.mark.parametrize('kind', ['json', 'picture', 'video'])
def test_a_full_disk_ends_with_a_message_and_the_old_json(
    model, predictor, pixels, tmp_path, monkeypatch, kind
):
    inputs = [save(pixels, tmp_path / 'a.png')]
    if kind == 'video':
        inputs = [write_video(tmp_path / 'clip.avi', 30)]
    old = tmp_path / 'out/predictions.json'
    old.parent.mkdir()
    old.write_text('{"old": true}')
    monkeypatch.setattr('casvit_mm.prediction.files.load', lambda *_, **__: predictor)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(InputError, match=r'left as it was|is as it was before|cannot write'):
            run(model, inputs, tmp_path / 'out', pictures=kind != 'json')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert old.read_text() == '{"old": true}'


@pytest.mark.parametrize(('name', 'status'), [('empty.png', 1), ('gone.png', 2)])
def test_the_status_tells_what_went_wrong(model, tmp_path, monkeypatch, capsys, name, status):
    (tmp_path / 'empty.png').write_bytes(b'')
    monkeypatch.setattr(
        sys,
        'argv',
        ['predict.py', *model, str(tmp_path / name), '--out-dir', str(tmp_path / 'out')],
    )
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / 'tools/predict.py'), run_name='__main__')
    assert caught.value.code == status
    assert name in ''.join(capsys.readouterr())
