"""Streams over HTTP on loopback that stall, drop the connection, end, or never come back."""

import socket
import struct
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

pytest.importorskip('av')
from casvit_mm import InputError
from casvit_mm.deploy import captures
from casvit_mm.deploy.videos import VideoReader

FRAMES = 5  # of one connection


class Camera:
    """A server whose connections end in the ways that it is told; each shows other frames."""

    def __init__(self, *ends):
        self.ends, self.connections = ends, 0
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                with suppress(OSError):  # when the reader has gone
                    camera.answer(self)

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.address = f'http://me:secret@127.0.0.1:{self.server.server_port}/video'

    def answer(self, request):
        number = self.connections
        self.connections += 1
        end = self.ends[min(number, len(self.ends) - 1)]
        if end == 'gone':
            return
        request.send_response(200)
        request.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=b')
        chunked = end == 'ends'
        if chunked:
            request.send_header('Transfer-Encoding', 'chunked')
        request.end_headers()
        first = 0 if end == 'begins again' else FRAMES * number
        for i in range(first, first + FRAMES):
            jpeg = cv2.imencode('.jpg', np.full((48, 64, 3), 8 * i, np.uint8))[1].tobytes()
            head = f'--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n'
            part = head.encode() + jpeg + b'\r\n'
            request.wfile.write(b'%x\r\n%s\r\n' % (len(part), part) if chunked else part)
            time.sleep(0.02)
        if chunked:
            request.wfile.write(b'0\r\n\r\n')
        elif end == 'stalls':
            time.sleep(1.5)
        elif end == 'resets':
            linger = struct.pack('ii', 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.connection.close()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(captures, '_STALL', 0.4)
    monkeypatch.setattr('casvit_mm.deploy.videos._PAUSES', (0.05,))
    cameras = []

    def serve_camera(*ends):
        cameras.append(Camera(*ends))
        return cameras[-1].address

    yield serve_camera
    for camera in cameras:
        camera.close()


def read(address, wait=10):
    said = []
    reader = VideoReader(address, wait, said.append)
    frames = list(reader.frames())
    return reader, [pixels.mean() for _, _, pixels in frames], [s for _, s, _ in frames], said


def test_a_stream_that_stalls_is_waited_for_and_connected_again(serve):
    reader, values, times, said = read(serve('stalls', 'resets', 'ends'))
    assert values == pytest.approx([8 * i for i in range(3 * FRAMES)], abs=2)
    assert (np.diff(times) > 0).all()
    assert times[FRAMES] - times[FRAMES - 1] > 0.4  # the time that it took
    assert reader.reconnected == 2
    assert reader.lost_frames >= 0.4 * 25
    assert not reader.ends_early()
    assert (
        f'after {FRAMES} frames, was lost: no data for 0.4 s. It is waited for up to 10' in said[0]
    )
    assert 'Connection reset by peer' in said[1]
    assert 'secret' not in ''.join(said)


def test_a_stream_that_ends_by_itself_is_at_its_end(serve):
    reader, values, _, said = read(serve('ends'))
    assert len(values) == FRAMES
    assert (reader.reconnected, reader.lost_frames, said) == (0, 0, [])


@pytest.mark.parametrize(
    ('ends', 'message'),
    [(('begins again',), 'begins again from its first'), (('closes', 'gone'), 'did not come back')],
)
def test_a_stream_that_was_closed_and_has_no_more_to_show_is_at_its_end(serve, ends, message):
    reader, values, _, said = read(serve(*ends), wait=0.5)
    assert len(values) == FRAMES
    assert reader.reconnected == 0
    assert message in said[-1]


def test_a_stream_that_does_not_come_back_is_given_up(serve):
    found = []
    with pytest.raises(
        InputError, match=rf'lost after {FRAMES} frames and did not .* within 0\.5 s'
    ):
        found += VideoReader(serve('stalls', 'gone'), 0.5).frames()
    with pytest.raises(InputError, match=r'http://127\.0\.0\.1:9/a cannot be opened as a stream'):
        VideoReader('http://me:secret@127.0.0.1:9/a')


def test_a_file_behind_an_address_goes_on_where_it_was(serve, tmp_path, monkeypatch):
    import av

    path = tmp_path / 'clip.mp4'
    with av.open(str(path), 'w', options={'movflags': 'faststart'}) as file:
        stream = file.add_stream('mpeg4', rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, 'yuv420p'
        noise = np.random.default_rng(0)
        for i in range(40):
            pixels = noise.integers(0, 90, (240, 320, 3)).astype(np.uint8) + 4 * i
            frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format='bgr24')
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    content = path.read_bytes()

    def answer(camera, request):
        camera.connections += 1
        request.send_response(200)
        request.send_header('Content-Length', str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) * min(camera.connections, 2) // 2])

    monkeypatch.setattr(Camera, 'answer', answer)
    reader, values, times, _ = read(serve())
    _, expected, expected_times, _ = read(path)
    assert len(values) == len(expected) == 40
    assert values[-15:] == expected[-15:]
    assert times == pytest.approx(expected_times)
    assert (reader.reconnected, reader.lost_frames) == (1, 0)
