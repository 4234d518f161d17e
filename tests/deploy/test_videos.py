import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.deploy.video_writing import VideoWriter
from casvit_mm.deploy.videos import VideoReader
from casvit_mm.io import PIXEL_LIMIT


def test_frames_of_more_pixels_than_are_read_are_refused(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / 'clip.avi', 10)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    monkeypatch.setenv(PIXEL_LIMIT, str(48 * 64 - 1))
    with pytest.raises(InputError, match='frames of 64 x 48, more than 3,071 pixels'):
        VideoReader(writer.path)
