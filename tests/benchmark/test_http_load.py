"""Many clients of one server: what is counted, and that nothing is lost."""

import http.server
import json
import threading
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

pytest.importorskip('fastapi', reason="not installed: pip install '.[serve]'")
from serving_models import StubModel, running

from casvit_mm import InputError
from casvit_mm.benchmark.http_load import load_server, main
from casvit_mm.serving import Limits

IMAGE = cv2.imencode('.png', np.full((16, 24, 3), 90, np.uint8))[1].tobytes()


def test_nothing_is_lost_under_load():
    model = StubModel(seconds=0.01)
    with running(model, batch_size=4) as port:
        found = load_server(f'http://127.0.0.1:{port}', IMAGE, clients=32, seconds=1.5)
    assert (found.lost, set(found.statuses)) == (0, {200})
    assert sum(model.batches) == found.statuses[200] + 1  # one asks before the clock starts
    assert max(model.batches) == 4
    assert found.latency[50] > found.model[50] >= 0.01
    assert '32 clients' in str(found)


def test_the_command_writes_figures_with_machine_and_commit(tmp_path, monkeypatch, capsys):
    (tmp_path / 'a.png').write_bytes(IMAGE)
    with running(StubModel()) as port:
        words = f'http_load http://127.0.0.1:{port} {tmp_path}/a.png --clients 2 --seconds 0.2'
        monkeypatch.setattr('sys.argv', [*words.split(), '--out', f'{tmp_path}/load.json'])
        main()
    assert '0 lost' in capsys.readouterr().out
    found = json.loads((tmp_path / 'load.json').read_text())
    assert (found['clients'], found['lost'], found['server']['task']) == (2, 0, 'detection')
    assert {'cpu', 'commit'} <= set(found['host'])


def test_what_is_refused_is_counted_by_status():
    with running(StubModel(seconds=0.02), Limits(queue=2)) as port:
        found = load_server(f'http://127.0.0.1:{port}', IMAGE, clients=8, seconds=0.5)
    assert found.lost == 0
    assert set(found.statuses) == {200, 503}


class Closing(http.server.BaseHTTPRequestHandler):
    """Answers the first request alone, and closes the others without a word."""

    answered = 0

    def do_POST(self):
        type(self).answered += 1
        if self.answered == 1:
            self.send_response(200)
            self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def closing():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Closing)
    threading.Thread(target=server.serve_forever).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_requests_without_an_answer_are_counted_as_lost():
    with closing() as port:
        found = load_server(f'http://127.0.0.1:{port}', IMAGE, clients=2, seconds=0.1)
    assert found.lost > 0
    assert found.statuses == {}


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(InputError, match='does not answer'):
        load_server('http://127.0.0.1:1', IMAGE, clients=1, seconds=0.1)
