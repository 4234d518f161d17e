import cv2
import numpy as np
import pytest

from casvit_mm.deploy.video_writing import VideoWriter, drawn_suffix
from casvit_mm.deploy.videos import VideoReader


def picture(value, height=48, width=64):
    return np.full((height, width, 3), value, np.uint8)


def test_without_pyav_opencv_writes(tmp_path, monkeypatch):
    monkeypatch.setattr('casvit_mm.deploy.video_writing.find_spec', lambda name: None)
    writer = VideoWriter(tmp_path / f'clip{drawn_suffix()}', 10)
    writer.write(picture(0))
    writer.write(picture(0, height=96))  # brought to the size of the first
    writer.close()
    assert writer.path == tmp_path / 'clip.mp4'
    assert VideoReader(writer.path).num_frames == 2


def test_a_missing_codec_falls_back_to_motion_jpeg(tmp_path, monkeypatch):
    fourcc = cv2.VideoWriter.fourcc
    monkeypatch.setattr(
        cv2.VideoWriter, 'fourcc', lambda *c: fourcc(*('none' if c == tuple('mp4v') else c))
    )
    writer = VideoWriter(tmp_path / 'clip.mp4', 10)
    writer.write(picture(0))
    writer.close()
    assert writer.path == tmp_path / 'clip.mp4.avi'
    assert VideoReader(writer.path).num_frames == 1


def read(path):
    """Return the codec, the times in seconds and the mean values of a video."""
    av = pytest.importorskip('av')
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
        codec = file.streams.video[0].codec_context.name
    return codec, [f.time for f in frames], [f.to_ndarray(format='bgr24').mean() for f in frames]


@pytest.mark.parametrize('size', [(48, 64), (49, 65), (1, 1)])
def test_a_drawn_video_is_vp9_with_the_times_of_its_frames(tmp_path, size):
    pytest.importorskip('av')
    writer = VideoWriter(tmp_path / f'clip{drawn_suffix()}', 10)
    # Uneven times; two that are the same keep their order.
    for value, seconds in ((10, 5.0), (100, 5.1), (200, 7.25), (250, 7.25)):
        writer.write(picture(value, *size), seconds)
    writer.close()
    assert writer.path.suffix == '.webm'
    codec, times, values = read(writer.path)
    assert codec in ('vp9', 'libvpx-vp9')
    assert times == pytest.approx([0, 0.1, 2.25, 2.251])
    assert values == pytest.approx([10, 100, 200, 250], abs=4)


def test_a_video_that_was_never_closed_plays(tmp_path):
    pytest.importorskip('av')
    writer = VideoWriter(tmp_path / 'clip.webm', 10)
    for i in range(40):
        writer.write(np.random.default_rng(i).integers(0, 255, (96, 128, 3)).astype(np.uint8))
    cut = tmp_path / 'cut.webm'
    cut.write_bytes(writer.path.read_bytes())
    assert 10 < len(read(cut)[1]) <= 40
    writer.close()
