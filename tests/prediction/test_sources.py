"""What arguments of a prediction stand for."""

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.deploy.videos import VideoReader
from casvit_mm.prediction.sources import Source, find_sources


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Photos in two folders, and the working directory beside them."""
    for name in ('a/1.png', 'a/2.png', 'b/3.png', 'b/[4].png'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((4, 5, 3), 9, np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'photos'


def names(*given):
    return [source.name for source in find_sources(given, [])[0]]


def test_patterns_stand_for_the_files_that_fit(photos):
    assert names('photos/a/*.png') == ['1.png', '2.png']
    assert names('photos/**/*.png') == ['a/1.png', 'a/2.png', 'b/3.png', 'b/[4].png']
    assert names('photos/b/[4].png') == ['[4].png']  # a file of that name
    with pytest.raises(InputError, match=r'no file is called photos/\*\.gif'):
        names('photos/*.gif')


def test_a_list_names_files_from_its_own_folder(photos):
    (photos / 'list.txt').write_text('# chosen\na/1.png\n\nb/*.png\nhttps://example.org/x.jpg\n')
    assert names('photos/list.txt') == ['a/1.png', 'b/3.png', 'b/[4].png', 'example.org_x.jpg']


@pytest.mark.parametrize(
    ('text', 'message'),
    [('', 'is empty'), ('other.txt', 'names another list'), ('gone.png', 'does not exist')],
)
def test_a_list_that_names_no_image_is_refused(photos, text, message):
    (photos / 'list.txt').write_text(text)
    with pytest.raises(InputError, match=message):
        names('photos/list.txt')


def test_addresses_keep_their_slashes_and_hide_passwords():
    sources, _ = find_sources(
        ['https://example.org/a/b.jpg?size=2', 'rtsp://me:secret@camera:554/1', '0'], []
    )
    found = list(sources)
    assert [source.kind for source in found] == ['image', 'stream', 'stream']
    assert [source.origin for source in found] == [
        *('https://example.org/a/b.jpg?size=2', 'rtsp://me:secret@camera:554/1', 0),
    ]
    assert [str(source) for source in found] == [
        *('https://example.org/a/b.jpg?size=2', 'rtsp://camera:554/1', 'webcam 0'),
    ]
    assert [s.name for s in found] == ['example.org_a_b.jpg_size_2', 'camera_554_1', 'webcam_0']


def test_other_schemes_are_refused():
    with pytest.raises(InputError, match='file:///etc/passwd: known are http://'):
        names('file:///etc/passwd')


@pytest.fixture
def server(tmp_path):
    """The address of a server of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args, **options):
            super().__init__(*args, directory=str(tmp_path), **options)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Quiet) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{httpd.server_port}'
        httpd.shutdown()
        thread.join()


def test_an_image_behind_an_address_is_read_as_its_file(photos, server):
    (found,), _ = find_sources([f'{server}/photos/a/1.png'], [])
    np.testing.assert_array_equal(found.read(), np.full((4, 5, 3), 9))
    with pytest.raises(InputError, match=r'gone\.png cannot be fetched: HTTP Error 404'):
        Source(f'{server}/gone.png', 'x', 'image').read()
    with pytest.raises(InputError, match='cannot be fetched'):
        Source('http://127.0.0.1:9/a.png', 'x', 'image').read()


def test_a_video_behind_an_address_is_a_stream(tmp_path, server):
    writer = cv2.VideoWriter(
        str(tmp_path / 'clip.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 10, (64, 48)
    )
    for _ in range(4):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    (found,), _ = find_sources([f'{server}/clip.mp4'], [])
    assert found.kind == 'stream'
    assert len(list(VideoReader(found.origin).frames())) == 4


def test_a_stream_or_webcam_that_is_not_there_is_told():
    with pytest.raises(InputError, match='cannot be opened as a stream'):
        VideoReader('http://127.0.0.1:9/clip.mp4')
    with pytest.raises(InputError, match='webcam 99 cannot be opened'):
        VideoReader(99)
