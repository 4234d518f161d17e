"""Odd video files: right, or refused by name."""

import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.deploy.video_writing import VideoWriter
from casvit_mm.deploy.videos import VideoReader
from casvit_mm.io import PIXEL_LIMIT


def write_jpegs(path, num_frames=6):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 48))
    for i in range(num_frames):
        writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    writer.release()
    return path


def write_av(path, times, size=(64, 48), codec='mpeg4'):
    """Write frames of rising brightness at these times in milliseconds."""
    av = pytest.importorskip('av')
    with av.open(str(path), 'w') as file:
        stream = file.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, time in enumerate(times):
            pixels = np.full((*size[::-1], 3), 30 * i, np.uint8)
            pixels[:8, :16] = 255  # so that a turn is seen
            frame = av.VideoFrame.from_ndarray(pixels, format='bgr24')
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def test_frames_of_more_pixels_than_are_read_are_refused(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / 'clip.avi', 10)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    monkeypatch.setenv(PIXEL_LIMIT, str(48 * 64 - 1))
    with pytest.raises(InputError, match='frames of 64 x 48, more than 3,071 pixels'):
        VideoReader(writer.path)


@pytest.mark.parametrize('library', ['PyAV', 'OpenCV'])
def test_both_libraries_read_the_same(tmp_path, monkeypatch, library):
    path = write_jpegs(tmp_path / 'clip.avi')
    if library == 'OpenCV':
        monkeypatch.setattr('casvit_mm.deploy.captures.find_spec', lambda name: None)
    else:
        pytest.importorskip('av')
    reader = VideoReader(path)
    assert (reader.fps, reader.num_frames) == (10, 6)
    found = list(reader.frames(every=2))
    assert not reader.ends_early()
    assert [index for index, _, _ in found] == [0, 2, 4]
    assert [seconds for _, seconds, _ in found] == pytest.approx([0, 0.2, 0.4])
    assert [pixels.mean() for _, _, pixels in found] == pytest.approx([0, 80, 160], abs=2)


@pytest.mark.parametrize('suffix', ['mkv', 'mp4'])
def test_uneven_times_are_kept(tmp_path, suffix):
    times = [0, 40, 300, 310, 2000]
    reader = VideoReader(write_av(tmp_path / f'clip.{suffix}', times))
    assert [1000 * seconds for _, seconds, _ in reader.frames()] == pytest.approx(times)
    assert not reader.ends_early()


def test_odd_sides_are_read(tmp_path):
    path = write_av(tmp_path / 'clip.webm', [0, 40], (65, 49), 'libvpx-vp9')
    assert [pixels.shape for _, _, pixels in VideoReader(path).frames()] == [(49, 65, 3)] * 2


@pytest.mark.parametrize(('angle', 'corner'), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_telephone_held_upright_is_seen_upright(tmp_path, angle, corner):
    """The matrix that tells the turn stands in the header of the track, 40 bytes after its name."""
    path = write_av(tmp_path / 'clip.mp4', [0, 40])
    content = bytearray(path.read_bytes())
    begin = content.index(b'tkhd') + 44
    one, minus = 1 << 16, -1 << 16
    matrix = {90: (0, one, minus, 0), 180: (minus, 0, 0, minus), 270: (0, minus, one, 0)}[angle]
    a, b, c, d = matrix
    content[begin : begin + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    pixels = next(VideoReader(path).frames())[2]
    assert pixels.shape == ((48, 64, 3) if angle == 180 else (64, 48, 3))
    assert pixels[corner].min() > 200
    assert pixels[~corner[0], ~corner[1]].max() < 60


def test_damaged_frames_are_left_out_and_counted(tmp_path):
    pytest.importorskip('av')
    path = write_jpegs(tmp_path / 'clip.avi')
    parts = path.read_bytes().split(b'\xff\xd8\xff')  # each begins a frame
    parts[3] = bytes(len(parts[3]) - 12) + parts[3][-12:]  # all but the head of the next
    path.write_bytes(b'\xff\xd8\xff'.join(parts))
    reader = VideoReader(path)
    assert [index for index, _, _ in reader.frames()] == [0, 1, 3, 4, 5]
    assert reader.damaged == 1
    assert not reader.ends_early()


def test_a_file_of_sound_is_named_as_one(tmp_path):
    av = pytest.importorskip('av')
    path = tmp_path / 'song.mp4'
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('aac', rate=44100)
        sound = np.zeros((1, 1024), np.float32)
        frame = av.AudioFrame.from_ndarray(sound, format='fltp', layout='mono')
        frame.rate, frame.pts = 44100, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(InputError, match=r'song\.mp4 holds no video, only sound'):
        VideoReader(path)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (None, 'does not exist'),
        (b'', r'it is empty \(0 bytes\)'),
        (b'hello' * 99, r'\(495 bytes\) cannot be opened as a video: it is cut short, damaged'),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, reason):
    path = tmp_path / 'a.mp4'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        VideoReader(path)
    with pytest.raises(InputError, match='webcam 77 cannot be opened: it is absent, or in use'):
        VideoReader(77)
