"""Numbers that objects keep from frame to frame."""

import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.deploy import Detections
from casvit_mm.deploy.tracking import TRACKERS, Tracker, check_tracker

CLASSES = ('car', 'dog')


def found(boxes, scores, labels=None, time=None):
    labels = np.zeros(len(boxes), np.int64) if labels is None else np.array(labels)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        labels,
        tuple(CLASSES[label] for label in labels),
        masks=np.zeros((len(boxes), 8, 8), bool),
        classes=CLASSES,
        size=(8, 8),
        time=time,
    )


def moving_boxes(num_frames, size=30, width=320):
    """Return boxes ``(T, 2, 4)`` of two objects that pass each other, one half below the other."""
    x = np.linspace(10, width - size - 10, num_frames)
    boxes = [
        np.stack([side, np.full_like(x, top), side + size, np.full_like(x, top + size)], 1)
        for side, top in ((x, 20), (x[::-1], 20 + size // 2))
    ]
    return np.stack(boxes, 1)


@pytest.fixture
def installed():
    pytest.importorskip('trackers')


@pytest.mark.usefixtures('installed')
@pytest.mark.parametrize('name', TRACKERS)
def test_objects_that_cross_keep_their_numbers(name):
    follow = Tracker(name, 25, 0.5)
    numbers = []
    for i, boxes in enumerate(moving_boxes(20)):
        # The second is found first, that is, scores higher, in every other frame.
        order = [0, 1] if i % 2 else [1, 0]
        result = follow(found(boxes[order], [0.9, 0.8], time=i / 25))
        assert len(result.boxes) == len(result.masks) == len(result.names) == 2
        numbers.append(result.tracks[order].tolist())
    assert numbers[0] == [0, 0]
    assert sorted(numbers[-1]) == [1, 2]
    assert numbers[3:] == [numbers[3]] * 17


@pytest.mark.usefixtures('installed')
def test_a_weak_object_continues_a_track_and_starts_none():
    follow = Tracker('bytetrack', 10, 0.5)
    box, other = [0, 0, 20, 20], [60, 60, 80, 80]
    for i, score in enumerate((0.9, 0.9, 0.2, 0.9)):
        result = follow(found([box, other], [score, 0.2], time=i / 10))
        assert result.scores.tolist() == pytest.approx([score])
    assert result.tracks.tolist() == [1]
    assert result.rows()[0]['track'] == 1
    assert result.annotations()[0]['track_id'] == 1
    assert result.to_supervision().tracker_id.tolist() == [1]


@pytest.mark.usefixtures('installed')
def test_frames_without_objects_are_no_end():
    follow = Tracker('bytetrack', 10, 0.5)
    box = [0, 0, 20, 20]
    for i, boxes in enumerate(([], [box], [box], [], [], [box])):
        result = follow(found(boxes, [0.9] * len(boxes), time=i / 10))
    assert result.tracks.tolist() == [1]
    # Out of sight for more than a second it is a new one.
    for i in (20, 21):
        result = follow(found([box], [0.9], time=i / 10))
    assert result.tracks.tolist() == [2]


@pytest.mark.parametrize(
    ('numpy', 'name', 'message'),
    [
        ('2.2.6', 'sort', "'sort' is unknown; choose bytetrack or ocsort"),
        ('1.26.4', 'ocsort', r'wants NumPy 2; here is 1\.26\.4.*STACK=openmmlab'),
        ('2.2.6', 'ocsort', 'needs trackers, which is not installed: pip install trackers'),
    ],
)
def test_what_cannot_track_is_told(monkeypatch, numpy, name, message):
    monkeypatch.setattr(np, '__version__', numpy)
    monkeypatch.setattr('casvit_mm.deploy.base.find_spec', lambda package: None)
    with pytest.raises(InputError, match=message):
        check_tracker(name)
