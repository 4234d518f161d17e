import cv2
import numpy as np

from casvit_mm.datasets.videos import VideoReader, VideoWriter


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
