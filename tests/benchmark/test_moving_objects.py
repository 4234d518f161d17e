"""A clip with known tracks, and the score of those that were found."""

import json

import cv2
import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.benchmark.moving_objects import main, score_tracks, write_clip

COLOURS = {1: (40, 40, 200), 2: (200, 60, 30)}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Three images of a grey ground; in each two squares alone, and two that overlap."""
    folder = tmp_path_factory.mktemp('data')
    images, annotations = [], []
    for number in range(1, 4):
        picture = np.full((120, 160, 3), 128, np.uint8)
        places = ((1, 10, 10, 30), (2, 60, 20, 40), (1, 100, 70, 30), (2, 110, 80, 30))
        for category, x, y, side in places:
            picture[y : y + side, x : x + side] = COLOURS[category]
            box = dict(bbox=[x, y, side, side], area=side**2, iscrowd=0)
            ids = dict(id=len(annotations) + 1, image_id=number, category_id=category)
            annotations.append({**box, **ids})
        cv2.imwrite(str(folder / f'{number}.png'), picture)
        images.append(dict(id=number, file_name=f'{number}.png', width=160, height=120))
    categories = [dict(id=1, name='red'), dict(id=2, name='blue')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'all.json').write_text(json.dumps(content))
    source = '{annotations: all.json, images: .}'
    (folder / 'data.yaml').write_text(f'train: {source}\nval: {source}\n')
    return folder / 'data.yaml'


@pytest.fixture(scope='module')
def clip(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips') / 'clip'
    write_clip(data, 'val', folder, objects=6, frames=12)
    return folder


def predictions(clip, path, track_of=lambda frame, track: track):
    """Write what a detector without fault would give, with numbers of a tracker."""
    classes = json.loads((clip / 'clip.json').read_text())['classes']
    frames = [dict(frame=number, objects=[]) for number in range(12)]
    seen = {}
    for line in (clip / 'tracks.txt').read_text().splitlines():
        frame, track, *box = (int(part) for part in line.split(',')[:6])
        number = track_of(frame, track)
        name = classes[str(track)]
        frames[frame - 1]['objects'].append({'class': name, 'bbox': box, 'track': number})
        if number:
            seen[number] = {'track': number, 'class': name}
    video = dict(frames=frames, tracks=list(seen.values()))
    path.write_text(json.dumps(dict(videos=[video])))
    return path


def test_the_truth_is_where_the_objects_are(clip):
    capture = cv2.VideoCapture(str(next(clip.glob('clip.*m*'))))
    classes = json.loads((clip / 'clip.json').read_text())['classes']
    lines = (clip / 'tracks.txt').read_text().splitlines()
    hits = 0
    for frame in range(1, 13):
        _, picture = capture.read()
        assert picture.shape == (480, 640, 3)
        for line in lines:
            number, track, x, y, w, h = (int(part) for part in line.split(',')[:6])
            if number == frame:
                middle = picture[y + h // 2, x + w // 2].astype(float)
                expected = COLOURS[1 if classes[str(track)] == 'red' else 2]
                hits += np.abs(middle - expected).max() < 60
    assert hits > 0.8 * len(lines)  # others may lie in front of the middle
    assert set(classes.values()) == {'red', 'blue'}
    assert picture[0, 0].tolist() == pytest.approx([128] * 3, abs=12)


def test_objects_that_touch_others_are_not_taken(data, tmp_path):
    with pytest.raises(InputError, match='6 objects of val stand alone'):
        write_clip(data, 'val', tmp_path / 'out', objects=7)
    assert not (tmp_path / 'out').exists()


def test_perfect_tracks_score_one_and_lost_identities_less(clip, tmp_path):
    pytest.importorskip('trackers.eval', reason="not installed: pip install '.[track]'")
    perfect = score_tracks(clip, predictions(clip, tmp_path / 'a.json'))
    assert (perfect.hota, perfect.idf1, perfect.mota) == pytest.approx((1, 1, 1))
    assert perfect.counted == perfect.true
    assert sum(perfect.true.values()) == 6

    lost = predictions(clip, tmp_path / 'b.json', lambda frame, track: track + 10 * (frame > 6))
    half = score_tracks(clip, lost)
    assert half.idf1 == pytest.approx(0.5, abs=0.05)
    assert half.switches == 6
    assert sum(half.counted.values()) == 12


def test_the_commands(data, tmp_path, monkeypatch, capsys):
    pytest.importorskip('trackers.eval', reason="not installed: pip install '.[track]'")
    words = f'moving_objects clip --data {data} --split val --objects 2 --frames 12'
    monkeypatch.setattr('sys.argv', [*words.split(), '--out', f'{tmp_path}/clip'])
    main()
    found = predictions(tmp_path / 'clip', tmp_path / 'a.json')
    words = f'moving_objects score {tmp_path}/clip {found} --out {tmp_path}/score.json'
    monkeypatch.setattr('sys.argv', words.split())
    main()
    assert 'HOTA 1.000, IDF1 1.000' in capsys.readouterr().out
    assert {'hota', 'host', 'counted'} <= set(json.loads((tmp_path / 'score.json').read_text()))


def test_predictions_without_tracks_are_told(clip, tmp_path):
    pytest.importorskip('trackers.eval', reason="not installed: pip install '.[track]'")
    none = predictions(clip, tmp_path / 'a.json', lambda frame, track: None)
    with pytest.raises(InputError, match='no object has a track'):
        score_tracks(clip, none)
    (tmp_path / 'b.json').write_text('{"videos": []}')
    with pytest.raises(InputError, match='must be a clip of moving_objects'):
        score_tracks(clip, tmp_path / 'b.json')
