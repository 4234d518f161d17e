"""What each task writes beside pictures."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from export_models import CLASSES, random_image, write_model
from prediction_runs import run, write_video

import casvit_mm
from casvit_mm import InputError
from casvit_mm.deploy.video_writing import drawn_suffix
from casvit_mm.prediction.contact_sheets import ContactSheets


@pytest.fixture
def photos(tmp_path):
    """Three images in folders, one of them twice by name, and a video."""
    for i, name in enumerate(('a/1.png', 'b/1.png', 'b/1.jpg')):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'in' / name), random_image(60, 80, i))
    return tmp_path / 'in'


def written(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


def test_a_segmentor_writes_label_pngs_and_overlays(tmp_path, photos, capsys):
    _, checkpoint = write_model(tmp_path, 'segmentation')
    video = write_video(tmp_path / 'clip.avi', 2)
    out = tmp_path / 'out'
    result = run((None, checkpoint), [photos, video], out, score_thr=None, batch_size=2)
    assert written(out) == [
        *('labels/clip.avi/000000.png', 'labels/clip.avi/000001.png'),
        *(f'labels/{name}' for name in ('in/a/1.png', 'in/b/1.jpg.png', 'in/b/1.png')),
        *(f'pictures/{name}' for name in ('in/a/1.png', 'in/b/1.jpg.png', 'in/b/1.png')),
        'predictions.json',
        f'videos/clip.avi{drawn_suffix()}',
    ]
    assert result == json.loads((out / 'predictions.json').read_text())
    assert result['task'] == 'segmentation'
    model = casvit_mm.load(checkpoint, device='cpu')
    for entry in result['images']:
        labels = cv2.imread(str(out / entry['labels']), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(labels, model(entry['file']).labels)
        assert sum(found['pixels'] for found in entry['classes']) == 60 * 80
    assert [f['labels'] for f in result['videos'][0]['frames']][1] == 'labels/clip.avi/000001.png'
    printed = capsys.readouterr().out
    for text in ('of all pixels', '3 images and 2 frames of 1 video:', f'{out}/labels/'):
        assert text in printed


def test_a_classifier_writes_a_csv_and_contact_sheets(tmp_path, photos, capsys):
    _, checkpoint = write_model(tmp_path, 'classification')
    (photos / 'bad.png').write_bytes(b'x')
    out = tmp_path / 'out'
    result = run((None, checkpoint), [photos], out, score_thr=None)
    assert 'sheets/001.png' in written(out)
    with (out / 'predictions.csv').open() as file:
        rows = list(csv.DictReader(file))
    best = [entry['classes'][0] for entry in result['images']]
    assert [row['file'] for row in rows] == [entry['file'] for entry in result['images']]
    assert [row['class_1'] for row in rows] == [entry['class'] for entry in best]
    assert list(rows[0])[:4] == ['file', 'frame', 'class_1', 'score_1']
    assert [Path(entry['file']).name for entry in result['unreadable']] == ['bad.png']
    printed = capsys.readouterr().out
    for text in (
        'predictions.csv',
        f'{out}/sheets/',
        '1 file not read',
        '\nnext:',
        f'casvit-mm serve {checkpoint}\n',
        'casvit-mm export',
    ):
        assert text in printed
    assert 'dataset.yaml' not in printed


def test_without_pictures_data_alone_is_written(tmp_path, photos):
    for kind, expected in (
        ('classification', ['predictions.csv', 'predictions.json']),
        ('segmentation', ['labels/1.png', 'predictions.json']),
    ):
        _, checkpoint = write_model(tmp_path, kind)
        out = tmp_path / kind
        run((None, checkpoint), [photos / 'a/1.png'], out, score_thr=None, pictures=False)
        assert written(out) == expected


def test_a_page_of_a_sheet_that_is_full_is_written_and_the_next_begun(tmp_path):
    sheets = ContactSheets(tmp_path)
    for i in range(50):
        sheets.add(random_image(40 + i, 90 - i), f'{i}.png', CLASSES[i % 3], 0.5)
    assert (tmp_path / 'sheets/001.png').is_file()
    sheets.finish()
    assert [path.name for path in sorted((tmp_path / 'sheets').iterdir())] == ['001.png', '002.png']
    assert cv2.imread(str(tmp_path / 'sheets/002.png')).shape[0] < 300


def test_an_exported_detector_predicts_on_files(tmp_path, photos, detector_onnx):
    result = run((None, detector_onnx), [photos], tmp_path / 'out', score_thr=0.5)
    assert all(found['score'] > 0.5 for entry in result['images'] for found in entry['objects'])
    assert sum(len(entry['objects']) for entry in result['images']) > 3
    with pytest.raises(InputError, match='max_dets is for a checkpoint'):
        run((None, detector_onnx), [photos], tmp_path / 'out', max_dets=5)


def test_an_exported_detector_tracks(tmp_path, detector_onnx):
    pytest.importorskip('trackers')
    video = write_video(tmp_path / 'clip.avi', 4)
    options = dict(track='bytetrack', score_thr=0.5, pictures=False)
    (entry,) = run((None, detector_onnx), [video], tmp_path / 'out', **options)['videos']
    assert entry['tracks'][0]['first'] == 1
    found = [f['objects'] for f in entry['frames']]
    assert all(o['score'] > 0.5 for objects in found for o in objects)


@pytest.fixture(scope='module')
def detector_onnx(tmp_path_factory):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    from export_models import export_onnx, write_photos

    folder = tmp_path_factory.mktemp('onnx')
    return str(export_onnx('maskrcnn', folder, write_photos(folder)))
