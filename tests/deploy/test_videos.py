import cv2
import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.deploy.videos import VideoReader, VideoWriter
from casvit_mm.io import PIXEL_LIMIT


def test_a_missing_codec_falls_back_to_motion_jpeg(tmp_path, monkeypatch):
    fourcc = cv2.VideoWriter.fourcc
    monkeypatch.setattr(
        cv2.VideoWriter, 'fourcc', lambda *c: fourcc(*('none' if c == tuple('mp4v') else c))
    )
    writer = VideoWriter(tmp_path / 'clip.mp4', 10)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    assert writer.path == tmp_path / 'clip.mp4.avi'
    assert VideoReader(writer.path).num_frames == 1


def test_frames_of_more_pixels_than_are_read_are_refused(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / 'clip.avi', 10)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    monkeypatch.setenv(PIXEL_LIMIT, str(48 * 64 - 1))
    with pytest.raises(InputError, match='frames of 64 x 48, more than 3,071 pixels'):
        VideoReader(writer.path)
