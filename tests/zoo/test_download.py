"""Fetching published files: whole and checked, or not at all."""

import dataclasses
import errno
import hashlib
import http.server
import io
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import gdown
import pytest
import torch
from gdown.exceptions import FileURLRetrievalError

import casvit_mm.zoo.download
from casvit_mm import InputError
from casvit_mm.commands import main
from casvit_mm.weights.published import EARLIER_FILES, FILES, WeightFile
from casvit_mm.zoo.download import download, print_files


def checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(model=dict(weight=torch.rand(250_000))), buffer)
    return buffer.getvalue()


CONTENT = checkpoint()
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves one file in parts, if asked to; remembers where each answer began."""

    content = CONTENT
    stop_at: int | None = None
    starts: list[int]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.content
        asked = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        start = int(asked.group(1)) if asked else 0
        self.server.starts.append(start)
        self.send_response(206 if asked else 200)
        self.send_header('Content-Type', 'application/octet-stream')
        self.send_header('Content-Length', str(len(content) - start))
        if asked:
            self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        self.end_headers()
        self.wfile.write(content[start : self.server.stop_at])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setattr(casvit_mm.zoo.download, '_RETRIES', 0)
    with Server(('127.0.0.1', 0), Handler) as server:
        server.starts = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def file(server: Server) -> WeightFile:
    return WeightFile('tiny', f'http://127.0.0.1:{server.server_port}/tiny.pth', 'a tiny file')


def failing_gdown(monkeypatch, error: BaseException) -> None:
    """Let gdown fail as it does on Google's answers, which no test can ask for."""

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(gdown, 'download', fail)


def test_a_file_arrives_whole(file, tmp_path):
    download(file, tmp_path / 'checkpoints')
    assert (tmp_path / 'checkpoints/tiny.pth').read_bytes() == CONTENT


def test_its_hash_is_recorded_for_sha256sum(file, tmp_path):
    download(file, tmp_path)
    assert (tmp_path / 'tiny.pth.sha256').read_text() == f'{DIGEST}  tiny.pth\n'


def test_nothing_else_is_left_beside_it(file, tmp_path):
    download(file, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['tiny.pth', 'tiny.pth.sha256']


def test_a_file_that_is_there_is_not_fetched_again(file, server, tmp_path):
    download(file, tmp_path)
    result = download(file, tmp_path)
    assert (len(server.starts), result.new, result.known) == (1, False, True)


def test_a_file_placed_by_hand_is_recorded(file, server, tmp_path):
    (tmp_path / 'tiny.pth').write_bytes(CONTENT)
    result = download(file, tmp_path)
    assert (server.starts, result.sha256, result.known) == ([], DIGEST, False)


def test_a_file_changed_since_is_refused(file, tmp_path):
    download(file, tmp_path)
    (tmp_path / 'tiny.pth').write_bytes(checkpoint())
    with pytest.raises(InputError, match=rf'should be {DIGEST} \(recorded in .*changed'):
        download(file, tmp_path)


def test_another_hash_than_the_published_one_is_not_kept(file, tmp_path):
    other = dataclasses.replace(file, sha256='0123abcd')
    with pytest.raises(InputError, match=f'{DIGEST}, and should begin with 0123abcd'):
        download(other, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_published_hash_is_enough(file, tmp_path):
    assert download(dataclasses.replace(file, sha256=DIGEST[:8]), tmp_path).known


def test_a_file_cut_short_does_not_get_its_name(file, server, tmp_path):
    server.stop_at = 800_000
    with pytest.raises(InputError, match=r'tiny\.pth was not downloaded.*incomplete'):
        download(file, tmp_path)
    assert not (tmp_path / 'tiny.pth').exists()


# gdown keeps whole pieces of half a megabyte, so the file has to be larger.
def test_the_next_call_goes_on_where_the_last_was_cut(file, server, tmp_path):
    server.stop_at = 800_000
    with pytest.raises(InputError):
        download(file, tmp_path)
    server.stop_at = None
    download(file, tmp_path)
    assert server.starts[-1] > 0
    assert (tmp_path / 'tiny.pth').read_bytes() == CONTENT


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'<!DOCTYPE html><title>Quota exceeded</title>', 'a web page came.*try again tomorrow'),
        (CONTENT[:40_000], 'cut short or not a checkpoint'),
        (b'', 'cut short or not a checkpoint'),
    ],
    ids=['a page', 'cut short', 'empty'],
)
def test_what_is_no_checkpoint_is_not_kept(file, server, tmp_path, content, message):
    server.content = content
    with pytest.raises(InputError, match=f'(?s){message}'):
        download(file, tmp_path)
    assert list(tmp_path.iterdir()) == []


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_file_with_code_in_it_is_not_kept_and_not_run(file, server, tmp_path):
    buffer = io.BytesIO()
    torch.save(dict(model=Payload(tmp_path / 'it_ran')), buffer)
    server.content = buffer.getvalue()
    with pytest.raises(InputError, match='could run arbitrary code'):
        download(file, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_network_it_says_how_to_do_it_by_hand(file, tmp_path, monkeypatch):
    monkeypatch.setattr(casvit_mm.zoo.download, '_RETRIES', 0)
    nowhere = WeightFile('tiny', 'http://127.0.0.1:9/tiny.pth', '')
    with pytest.raises(InputError) as refusal:
        download(nowhere, tmp_path)
    assert f'open {nowhere.link}\n' in str(refusal.value)
    assert f'save the file as {tmp_path / "tiny.pth"}\n' in str(refusal.value)


def test_without_network_it_says_so_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(casvit_mm.zoo.download, '_RETRIES', 1)
    with pytest.raises(InputError, match=r'not downloaded: 127\.0\.0\.1 cannot be reached\n'):
        download(WeightFile('tiny', 'http://127.0.0.1:9/tiny.pth', ''), tmp_path)


def test_when_drive_refuses_it_says_how_to_do_it_by_hand(tmp_path, monkeypatch):
    failing_gdown(monkeypatch, FileURLRetrievalError('Cannot retrieve the public link'))
    with pytest.raises(InputError, match=r'(?s)Cannot retrieve.*By hand: open https://drive'):
        download(FILES['cas-vit-s'], tmp_path)


def test_a_full_disk_is_said_so(file, tmp_path, monkeypatch):
    failing_gdown(monkeypatch, OSError(errno.ENOSPC, 'No space left on device'))
    with pytest.raises(InputError, match=r'No space left on device.*goes on from there'):
        download(file, tmp_path)


def test_a_folder_that_cannot_be_made_is_said_so(file, tmp_path):
    (tmp_path / 'occupied').write_text('')
    with pytest.raises(InputError, match='cannot write'):
        download(file, tmp_path / 'occupied/checkpoints')


def test_without_gdown_it_names_the_cure(file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gdown', None)
    with pytest.raises(InputError, match=r"(?s)pip install 'gdown>=6\.5'.*By hand"):
        download(file, tmp_path)


def test_an_interrupt_ends_the_tool_with_status_130(tmp_path, monkeypatch, capsys):
    failing_gdown(monkeypatch, KeyboardInterrupt())
    monkeypatch.setattr(sys, 'argv', ['download_weights.py', 'cas-vit-s', '--dir', str(tmp_path)])
    with pytest.raises(SystemExit, match='130'):
        main('download_weights')
    assert 'goes on' in capsys.readouterr().err


def test_the_list_holds_every_name(tmp_path, capsys):
    print_files(tmp_path)
    listed = capsys.readouterr().out
    assert all(name in listed for name in FILES)


def test_the_list_has_the_earlier_files_behind_a_note_that_they_were_not_tried(tmp_path, capsys):
    print_files(tmp_path)
    today, earlier = ' '.join(capsys.readouterr().out.split()).split('not tried')
    assert all(name in earlier and name not in today for name in EARLIER_FILES)


def test_the_list_says_what_is_there(tmp_path, capsys):
    (tmp_path / 'cas-vit-s.pth').write_bytes(CONTENT)
    print_files(tmp_path)
    rows = [line for line in capsys.readouterr().out.splitlines() if 'yes' in line]
    assert [re.search(r'cas-vit-\S+', row).group() for row in rows] == ['cas-vit-s']
