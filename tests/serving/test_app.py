"""The routes: what goes in, what comes out, and every status."""

import json
import threading

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from pycocotools import mask as coco_mask
from serving_models import CLASSES, StubModel

from casvit_mm.serving import Limits
from casvit_mm.serving.app import create_app

TASKS = ('detection', 'segmentation', 'classification')


@pytest.fixture(params=TASKS)
def model(request):
    return StubModel(request.param)


@pytest.fixture
def client(model):
    with TestClient(create_app(model, score_thr=0.3 if model.score_thr else None)) as client:
        yield client


@pytest.fixture
def detector():
    with TestClient(create_app(StubModel(), score_thr=0.3)) as client:
        yield client


def pixels_of(answer):
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_an_image_becomes_json(client, model, photo):
    answer = client.post('/predict', content=photo, headers={'Content-Type': 'image/png'})
    assert answer.status_code == 200
    found = answer.json()
    assert (found['task'], found['width'], found['height']) == (model.task, 24, 16)
    entries = found['objects' if model.task == 'detection' else 'classes']
    names = [entry['class'] for entry in entries]
    expected = dict(detection=['dog', 'cat'], segmentation=['cat', 'tree'])
    assert names == expected.get(model.task, ['dog', 'cat', 'tree'])
    assert model.threads == {'model'}  # never in the event loop


def test_masks_are_run_lengths_of_coco(detector, photo):
    found = detector.post('/predict', content=photo).json()['objects'][0]
    assert found['bbox'] == [0, 0, 9, 8]
    mask = coco_mask.decode(found['segmentation'])
    assert mask.shape == (16, 24)
    assert mask.sum() == mask[:8, :9].sum() == 72


@pytest.mark.parametrize('asked', [{'params': {'output': 'picture'}}, {'headers': {}}])
def test_an_image_becomes_a_picture_by_query_or_by_accept(client, photo, asked):
    if 'headers' in asked:
        asked = {'headers': {'Accept': 'text/html;q=0.5, image/png, application/json;q=0.9'}}
    answer = client.post('/predict', content=photo, **asked)
    assert answer.headers['content-type'] == 'image/png'
    assert pixels_of(answer).shape[1:] == (648, 3)


def test_a_segmentor_returns_labels():
    with TestClient(create_app(StubModel('segmentation'))) as client:
        image = cv2.imencode('.png', np.zeros((4, 6, 3), np.uint8))[1].tobytes()
        labels = pixels_of(client.post('/predict?output=labels', content=image))
    assert labels.tolist() == [[0, 0, 0, 2, 2, 2]] * 4


def test_a_form_is_taken_under_any_name_of_its_file(detector, photo):
    plain = detector.post('/predict', content=photo).json()['objects']
    for name in ('../../etc/passwd', 'a\x00b.png', ''):
        answer = detector.post('/predict', files={'image': (name or 'x', photo, 'image/png')})
        assert answer.json()['objects'] == plain


def test_a_request_can_ask_for_lower_scores(detector, photo):
    def scores(query):
        found = detector.post(f'/predict{query}', content=photo).json()
        return [entry['score'] for entry in found['objects']]

    assert scores('') == [0.9, 0.4]
    assert scores('?score_thr=0.05') == [0.9, 0.4, 0.1]
    assert scores('?score_thr=0.5') == [0.9]


@pytest.mark.parametrize(
    ('query', 'status'),
    [
        ('?score_thr=0.01', 422),  # the model has left those out
        ('?score_thr=1.5', 422),
        ('?score_thr=nan', 422),
        ('?score_thr=inf', 422),
        ('?score_thr=much', 422),
        ('?output=labels', 422),
        ('?output=xml', 422),
        ('', 200),
    ],
)
def test_a_parameter_out_of_range_is_refused(detector, photo, query, status):
    answer = detector.post(f'/predict{query}', content=photo)
    assert answer.status_code == status
    assert status == 200 or isinstance(answer.json()['detail'], str)


@pytest.mark.parametrize(
    ('kind', 'accept', 'status'),
    [
        ('application/json', '*/*', 415),
        ('text/plain', '*/*', 415),
        ('multipart/form-data', '*/*', 400),  # without a boundary
        ('image/png', 'text/csv', 406),
        ('image/png', 'image/png;q=nan', 406),
    ],
)
def test_what_is_no_image_or_no_answer_is_refused(detector, photo, kind, accept, status):
    headers = {'Content-Type': kind, 'Accept': accept}
    assert detector.post('/predict', content=photo, headers=headers).status_code == status


@pytest.mark.parametrize('content', [b'', b'no image', b'\x89PNG\r\n\x1a\n' + 40 * b'x'])
def test_a_file_that_is_no_image_is_refused_without_a_path(detector, content):
    answer = detector.post('/predict', content=content)
    assert answer.status_code == 422
    assert answer.json()['detail'].startswith(('the image', 'the request'))


def test_an_image_of_too_many_pixels_is_refused_by_its_header(photo):
    with TestClient(create_app(StubModel(), limits=Limits(max_pixels=383))) as client:
        answer = client.post('/predict', content=photo)
    assert answer.status_code == 422
    assert '24 x 16 = more than 383 pixels' in answer.json()['detail']


@pytest.mark.parametrize('length_is_told', [True, False])
def test_a_body_of_too_many_bytes_is_refused(photo, length_is_told):
    with TestClient(create_app(StubModel(), limits=Limits(max_bytes=100))) as client:
        content = photo if length_is_told else iter([photo])
        answer = client.post('/predict', content=content)
    assert answer.status_code == 413
    assert '100 bytes' in answer.json()['detail']


def test_a_fault_of_the_model_stays_inside(detector, photo):
    white = cv2.imencode('.png', np.full((4, 4, 3), 255, np.uint8))[1].tobytes()
    answer = detector.post('/predict', content=white)
    assert answer.status_code == 500
    assert answer.json()['detail'].startswith('the model failed')
    assert detector.post('/predict', content=photo).status_code == 200  # it goes on


def test_beyond_the_queue_the_answer_says_when_to_ask_again(photo):
    model = StubModel()
    with TestClient(create_app(model, limits=Limits(queue=1))) as client:
        model.gate.clear()
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append(client.post('/predict', content=photo))
        )
        waiting.start()
        while not model.batches:
            pass
        refused = client.post('/predict', content=photo)
        assert client.get('/health').json() == {'status': 'ok', 'in_work': 1}
        model.gate.set()
        waiting.join(20)
    assert (refused.status_code, refused.headers['retry-after']) == (503, '1')
    assert answers[0].status_code == 200


def test_what_takes_too_long_is_given_up_and_the_server_is_not_well(photo):
    model = StubModel()
    with TestClient(create_app(model, limits=Limits(timeout=0.2))) as client:
        model.gate.clear()
        answer = client.post('/predict', content=photo)
        assert answer.status_code == 504
        while client.get('/health').status_code != 503:
            pass
        assert client.post('/predict', content=photo).status_code == 504  # and is never computed
        model.gate.set()
        while client.get('/health').status_code != 200:
            pass
        assert model.batches == [1]


def test_metrics_count_answers_by_status(detector, photo):
    detector.post('/predict', content=photo)
    detector.post('/predict', content=b'')
    text = detector.get('/metrics').text
    assert 'casvit_mm_requests_total{status="200"} 1.0' in text
    assert 'casvit_mm_requests_total{status="422"} 1.0' in text
    assert 'casvit_mm_request_seconds_count 1.0' in text
    assert 'casvit_mm_batch_images_sum 1.0' in text
    assert 'casvit_mm_in_work 0.0' in text


def test_openapi_describes_the_body_and_nothing_comes_from_elsewhere(client):
    schema = client.get('/openapi.json').json()
    post = schema['paths']['/predict']['post']
    assert set(post['requestBody']['content']) >= {'image/*', 'multipart/form-data'}
    assert {'200', '413', '422', '503', '504'} <= set(post['responses'])
    assert "default-src 'none'" in client.get('/').headers['content-security-policy']
    assert client.get('/docs').status_code == client.get('/redoc').status_code == 404


def test_the_model_is_described(client, model):
    about = client.get('/model').json()
    assert (about['task'], about['classes']) == (model.task, list(CLASSES))
    assert len(about['colours']) == len(CLASSES)
    assert about['limits']['queue'] == 64
    json.dumps(about, allow_nan=False)
