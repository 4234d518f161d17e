"""A server as a process of its own, with an exported file and without torch."""

import http.client
import json
import re
import signal
import subprocess
import sys

import pytest
from helpers import ROOT

pytest.importorskip('fastapi', reason="not installed: pip install '.[serve]'")
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import export_onnx, write_photos

_SERVE = """
import sys
for name in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'timm',
             'rich', 'matplotlib', 'pycocotools', 'scipy', 'yaml'):
    sys.modules[name] = None
from casvit_mm.serving import serve
serve(sys.argv[1], port=0)
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_request_in_work(number, exported):
    model, photos = exported
    process = subprocess.Popen(
        [sys.executable, '-c', _SERVE, str(model)], cwd=ROOT, stdout=-1, stderr=-1, text=True
    )
    try:
        assert process.stdout.readline() == f'loading {model}\n'
        assert process.stdout.readline() == 'measuring how many images together pay\n'
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[0].startswith('model.onnx: classification, 3 classes, onnxruntime, cpu'), lines
        port = int(re.search(r'127.0.0.1:(\d+)/', lines[1])[1])
        image = (photos / '0.png').read_bytes()
        client = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        client.putrequest('POST', '/predict')
        client.putheader('Content-Length', str(len(image)))
        client.endheaders(image[:100])
        other = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        while json.loads(_get(other, '/health'))['in_work'] == 0:
            pass
        process.send_signal(number)
        while _answers(port):
            pass
        client.send(image[100:])
        answer = client.getresponse()
        assert answer.status == 200
        assert len(json.loads(answer.read())['classes']) == 3
        assert process.wait(30) == 0, process.stderr.read()
        assert process.stderr.read() == ''
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    photos = tmp_path_factory.mktemp('photos')
    return export_onnx('classification', folder, write_photos(photos)), photos


def _get(client, path):
    client.request('GET', path)
    return client.getresponse().read()


def _answers(port):
    try:
        _get(http.client.HTTPConnection('127.0.0.1', port, timeout=60), '/health')
    except ConnectionError:
        return False
    return True
