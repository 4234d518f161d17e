"""Objects that are followed through videos, from the command's library to the JSON and back."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
from export_models import write_model
from prediction_runs import run, save

import casvit_mm
from casvit_mm import InputError
from casvit_mm.prediction.outputs import tracks_of


@pytest.fixture
def still(tmp_path, pixels):
    """A video that shows one image six times."""
    path = tmp_path / 'still.avi'
    height, width = pixels.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (width, height))
    for _ in range(6):
        writer.write(np.ascontiguousarray(pixels[..., ::-1]))
    writer.release()
    return path


def numbers(frame):
    return [entry['track'] for entry in frame['objects']]


@pytest.mark.parametrize('tracker', ['bytetrack', 'ocsort'])
def test_objects_of_a_video_have_numbers_and_are_counted(model, tmp_path, still, capsys, tracker):
    pytest.importorskip('trackers')
    options = dict(track=tracker, score_thr=0.3, track_thr=0.4)
    result = run(model, [still], tmp_path / 'out', **options)
    assert (result['track'], result['score_thr']) == (tracker, 0.3)
    (video,) = result['videos']
    first, *_, last = video['frames']
    assert set(numbers(first)) == {None}
    tracked = [entry for entry in last['objects'] if entry['track']]
    assert None not in (entry['track'] for entry in last['objects'] if entry['score'] >= 0.4)
    assert len(set(numbers(last)) - {None}) == len(tracked) > 1
    assert video['tracks'] == tracks_of(video['frames'])
    by_class = {t['track']: t['class'] for t in video['tracks']}
    assert all(by_class[entry['track']] == entry['class'] for entry in tracked)
    assert {t['last'] for t in video['tracks']} == {5}
    assert result == json.loads((tmp_path / 'out/predictions.json').read_text())
    assert 'different objects (tracks)' in capsys.readouterr().out


def test_a_track_has_the_class_that_was_surest():
    def frame(i, *objects):
        keys = ('track', 'class', 'score')
        return dict(frame=i, objects=[dict(zip(keys, entry)) for entry in objects])

    frames = [
        frame(0, (None, 'dog', 0.9)),
        frame(2, (1, 'dog', 0.5)),
        frame(4, (1, 'cat', 0.8), (2, 'cat', 0.4)),
        frame(6, (1, 'dog', 0.4)),
    ]
    assert tracks_of(frames) == [
        {'track': 1, 'class': 'dog', 'first': 2, 'last': 6, 'frames': 3},
        {'track': 2, 'class': 'cat', 'first': 4, 'last': 4, 'frames': 1},
    ]


def test_what_cannot_be_followed_is_refused_by_name(model, tmp_path, pixels, still, monkeypatch):
    image = save(pixels, tmp_path / 'a.png')
    monkeypatch.setattr('casvit_mm.prediction.files.check_tracker', lambda name: None)
    with pytest.raises(InputError, match='--track-thr is for --track'):
        run(model, [still], tmp_path / 'out', track_thr=0.5)
    with pytest.raises(InputError, match='--track follows objects through videos, and none is'):
        run(model, [image], tmp_path / 'out', track='bytetrack')
    _, segmentor = write_model(tmp_path, 'segmentation')
    with pytest.raises(InputError, match='objects of a detector; this is a model for segmentation'):
        run((None, segmentor), [still], tmp_path / 'out', track='bytetrack', score_thr=None)
    assert not (tmp_path / 'out').exists()
    with pytest.raises(InputError, match='a model for segmentation'):
        casvit_mm.load(segmentor).frames(still, track='ocsort')
    with pytest.raises(InputError, match='track is for a video'):
        casvit_mm.load(segmentor)(image, track='ocsort')


def test_what_went_wrong_in_a_stream_is_counted_and_told(
    model, predictor, tmp_path, pixels, monkeypatch, capsys
):
    class Reader:
        """A stream that was connected again, and then lost."""

        fps, num_frames, damaged, reconnected, lost_frames = 25, 0, 2, 1, 7

        def __init__(self, origin, wait, report):
            assert (origin, wait) == ('http://me:secret@127.0.0.1:9/cam', 5)
            self.report = report

        def frames(self, every):
            yield 0, 0.0, np.ascontiguousarray(pixels[..., ::-1])
            self.report('the stream was lost')
            raise InputError('the stream did not come back')

    monkeypatch.setattr('casvit_mm.prediction.work.VideoReader', Reader)
    monkeypatch.setattr('casvit_mm.prediction.files.load', lambda *_, **__: predictor)
    result = run(model, ['http://me:secret@127.0.0.1:9/cam'], tmp_path / 'out', wait=5)
    (video,) = result['videos']
    assert (len(video['frames']), video['damaged_frames']) == (1, 2)
    assert (video['reconnected'], video['lost_frames']) == (1, 7)
    assert [e['reason'] for e in result['unreadable']] == ['the stream did not come back']
    printed = capsys.readouterr().out
    for text in (
        'the stream was lost',
        'http://127.0.0.1:9/cam was connected again 1 time; about 7 frames went by',
        '2 damaged frames of http://127.0.0.1:9/cam left out',
    ):
        assert text in printed
    with pytest.raises(InputError, match='--wait must be more than 0 seconds, got 0'):
        run(model, ['http://127.0.0.1:9/cam'], tmp_path / 'out', wait=0)
