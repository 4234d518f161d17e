"""From a file to a server: models of every task, and what is refused before."""

import signal
import socket

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
import cv2
from export_models import random_image, write_model
from fastapi.testclient import TestClient
from serving_models import StubModel

import casvit_mm
from casvit_mm import InputError
from casvit_mm.deploy import Spec
from casvit_mm.serving import Limits, serve
from casvit_mm.serving.app import create_app
from casvit_mm.serving.run import load_model, server_of, signals_stop


@pytest.mark.parametrize('kind', ['maskrcnn', 'segmentation', 'classification'])
def test_a_checkpoint_answers_what_it_predicts_in_python(kind, tmp_path):
    checkpoint = write_model(tmp_path, kind)[1]
    model, score_thr = load_model(checkpoint, device='cpu')
    pixels = random_image(90, 120)
    with TestClient(create_app(model, score_thr=score_thr)) as client:
        image = cv2.imencode('.png', pixels)[1].tobytes()
        answer = client.post('/predict', content=image).json()
    rows = casvit_mm.load(checkpoint, device='cpu')(pixels).rows()
    entries = answer['objects' if kind == 'maskrcnn' else 'classes']
    assert [entry['class'] for entry in entries] == [row['class'] for row in rows] != []
    key = 'share' if kind == 'segmentation' else 'score'
    expected = [row[key] for row in rows]
    assert [entry[key] for entry in entries] == pytest.approx(expected, abs=1e-4)


class Engine:
    """An engine whose file has kept objects from 0.1 on."""

    device = 'nowhere'
    spec = Spec('detection', ('cat',), (), (0, 0, 0), (1, 1, 1), rgb=False, score_thr=0.1)


def test_an_exported_file_shows_all_that_it_holds(monkeypatch):
    monkeypatch.setattr('casvit_mm.deploy.predictor.open_engine', lambda *_, **__: Engine())
    model, score_thr = load_model('model.onnx')
    assert (model.score_thr, score_thr) == (0.1, 0.3)
    with pytest.raises(InputError, match=r'--score-thr must be from 0.1 to 1'):
        load_model('model.onnx', score_thr=0.05)


def test_a_checkpoint_can_be_asked_for_lower_scores_than_the_page_shows(tmp_path):
    checkpoint = write_model(tmp_path, 'retinanet')[1]
    for least in (0.01, 0.0):
        model, score_thr = load_model(checkpoint, device='cpu', score_thr=least)
        assert (model.score_thr, score_thr) == (least, least)
    with pytest.raises(InputError, match='--score-thr must be from'):
        load_model(checkpoint, device='cpu', score_thr=1.5)


def test_a_port_that_is_taken_is_refused_before_the_model_is_looked_for():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f'cannot listen on 127.0.0.1, port {port}'):
            serve('nowhere.pth', port=port)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_server_starts_is_not_lost(number):
    server = server_of(create_app(StubModel()), Limits())
    before = signal.getsignal(number)
    with signals_stop(server):
        signal.raise_signal(number)
    assert server.should_exit
    server.run(sockets=[])  # and it does not begin
    assert signal.getsignal(number) is before


@pytest.mark.parametrize('limit', [{'queue': 0}, {'timeout': float('nan')}, {'max_bytes': -1}])
def test_a_limit_that_is_none_is_refused(limit):
    option = next(iter(limit)).replace('_', '-')
    with pytest.raises(InputError, match=f'--{option} must be a number above 0'):
        Limits(**limit)


def test_no_more_pixels_than_any_reader_takes():
    with pytest.raises(InputError, match='OPENCV_IO_MAX_IMAGE_PIXELS'):
        Limits(max_pixels=2**40)
