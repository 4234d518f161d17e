"""Requests that mean ill, by the hundred: each is answered, and nothing of the inside."""

import http.client
import io
import random
import re
import socket
import struct
import time
import zlib

import numpy as np
import pytest
from helpers import grey_png
from PIL import Image
from serving_models import StubModel, running

from casvit_mm.serving import Limits

LIMITS = Limits(max_bytes=200_000, max_pixels=250_000, timeout=1.5)
INSIDE = re.compile(
    rb'Traceback|File "|\.py|/work|/home|/root|/tmp|/usr|site-packages|0x[0-9a-f]{6}'
)


@pytest.fixture(scope='module')
def port():
    with running(StubModel(), LIMITS) as port:
        yield port


def encoded(kind, size=(64, 48), **options):
    pixels = np.random.default_rng(1).integers(0, 200, (*size[::-1], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def ask(port, content, path='/predict', method='POST', **headers):
    client = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
    names = {name.replace('_', '-'): value for name, value in headers.items()}
    try:
        client.request(method, path, content, names)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def send_raw(port, content, wait=5.0):
    """Send bytes as they are, and return what comes back until the server closes or waits."""
    with socket.create_connection(('127.0.0.1', port), timeout=wait) as client:
        received = b''
        try:
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65536):
                received += part
        except OSError:
            pass
    return received


def assert_well(port):
    status, content = ask(port, encoded('PNG'))
    assert status == 200, content


def assert_refused(status, content, statuses):
    assert status in statuses, (status, content)
    assert not INSIDE.search(content), content


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM'])
def test_truncated_and_damaged_images(port, kind):
    whole = encoded(kind)
    rng = random.Random(0)
    for _ in range(40):
        content = bytearray(whole[: rng.randrange(len(whole))])
        for _ in range(rng.randrange(4)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        assert_refused(*ask(port, bytes(content)), (200, 422))
    assert_well(port)


def bombs():
    """Small files whose headers declare many pixels."""
    yield 'png', grey_png(60_000, 60_000, 8, bytes(100))
    yield 'png of 2**31', grey_png(2**31 - 1, 2**31 - 1, 1)
    yield 'png that is true', grey_png(1000, 1000, 1, bytes(126 * 1000))
    header = struct.pack('<IHHHH', 0, 0, 0, 0, 0)
    yield 'bmp', b'BM' + header[:12] + struct.pack('<IiiHH', 40, 50_000, 50_000, 1, 24) + bytes(60)
    yield 'gif', b'GIF89a' + struct.pack('<HH', 65535, 65535) + bytes(20)
    yield 'ppm', b'P6 90000 90000 255\n' + bytes(100)
    yield 'tiff', encoded('TIFF')[:8] + bytes(100)
    text = zlib.compress(bytes(10**7))
    chunk = struct.pack('>I', len(text) + 5) + b'zTXtabc\0\0' + text + bytes(4)
    yield 'text in a png', grey_png(10, 10, 8)[:33] + chunk


@pytest.mark.parametrize(('name', 'content'), bombs())
def test_bombs_are_refused_by_their_header_and_at_once(port, name, content):
    start = time.perf_counter()
    assert_refused(*ask(port, content), (422,))
    assert time.perf_counter() - start < 5
    assert_well(port)


KINDS = [
    'text/html',
    'application/json',
    'image',
    'video/mp4',
    'multipart/mixed',
    '\xff',
    ';',
    'a/b;c',
]


@pytest.mark.parametrize('kind', KINDS)
def test_wrong_types_of_content(port, kind):
    assert_refused(*ask(port, encoded('PNG'), Content_Type=kind), (200, 415))


def forms():
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    yield 'empty', b''
    yield 'no end', part + b'abc'
    yield 'no name', b'--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n'
    yield 'no headers', b'--x\r\n\r\nabc\r\n--x--\r\n'
    yield (
        'text alone',
        b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc\r\n--x--\r\n',
    )
    yield 'two files', part + b'a\r\n' + part + b'b\r\n--x--\r\n'
    yield 'other boundary', part.replace(b'--x', b'--y') + b'a\r\n--y--\r\n'
    field = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n1\r\n'
    yield 'many fields', field * 500 + b'--x--\r\n'
    yield (
        'long header',
        b'--x\r\nContent-Disposition: ' + b'a' * 100_000 + b'\r\n\r\na\r\n--x--\r\n',
    )
    yield 'noise', bytes(range(256)) * 50
    yield (
        'bytes in the name',
        part.replace(b'"a"', b'"\xff\x00/../../etc/passwd"') + b'a\r\n--x--\r\n',
    )


@pytest.mark.parametrize(('name', 'content'), forms())
def test_broken_forms(port, name, content):
    kind = 'multipart/form-data; boundary=x'
    assert_refused(*ask(port, content, Content_Type=kind), (400, 422))
    assert_well(port)


@pytest.mark.parametrize(
    'boundary', ['', 'boundary=', 'boundary="', 'boundary=' + 5000 * 'a', 'x=y']
)
def test_broken_boundaries(port, boundary):
    kind = f'multipart/form-data; {boundary}'
    assert_refused(*ask(port, b'--a\r\n\r\n', Content_Type=kind), (400, 422))


PATHS = [
    *(
        '/../../etc/passwd',
        '/%2e%2e/%2e%2e/etc/passwd',
        '/page/../app.py',
        '//etc/passwd',
        '/page.js/',
    ),
    *(
        '/predict/../../x',
        '/predict%00',
        '/' + 5000 * 'a',
        '/?' + 5000 * 'a=b&',
        '/docs',
        '/.git/config',
    ),
    *('/model.onnx', '/static/..%5c..%5cx', '/%ff%fe', '/predict;x=1'),
]


@pytest.mark.parametrize('path', PATHS)
def test_paths_lead_nowhere(port, path):
    for method in ('GET', 'POST', 'PUT', 'DELETE', 'TRACE'):
        status, content = ask(port, b'', path=path, method=method)
        assert_refused(status, content if status != 200 else b'', (200, 404, 405, 400))
        assert b'root:' not in content
        assert status != 200 or path.startswith('/?')


QUERIES = [
    'nan',
    '-inf',
    '1e999',
    '',
    '%00',
    '0x1',
    '1,5',
    5000 * '9',
    '0.5&score_thr=nan',
    '[]',
    '%ff',
]


@pytest.mark.parametrize('value', QUERIES)
def test_parameters_that_are_no_numbers(port, value):
    content = encoded('PNG')
    assert_refused(*ask(port, content, path=f'/predict?score_thr={value}'), (422,))
    assert_refused(*ask(port, content, path=f'/predict?output={value}'), (422,))


HEADS = [
    b'\x16\x03\x01\x02\x00\x01\x00',  # TLS
    b'GET / HTTP/9.9\r\n\r\n',
    b'nonsense\r\n\r\n',
    b'POST /predict HTTP/1.1\r\n\r\n',  # no host
    b'POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n',
    b'POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
    b'POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n',
    b'POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello',
    b'POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello',  # and no more
    b'GET /' + 100_000 * b'a' + b' HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: a\r\n' + b'X: ' + 200_000 * b'y' + b'\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: a\r\n' + 20_000 * b'X: y\r\n' + b'\r\n',
    b'\x00' * 1000,
]


@pytest.mark.parametrize('head', HEADS, ids=range(len(HEADS)))
def test_heads_that_are_no_http(port, head):
    for _ in range(5):
        assert not INSIDE.search(send_raw(port, head))
    assert_well(port)


def test_a_body_that_is_too_large_is_answered_before_it_has_come(port):
    status, content = ask(port, bytes(5_000_000))
    assert_refused(status, content, (413,))


def test_slow_heads_and_bodies_are_given_up_and_hold_up_nobody(port):
    slow = [socket.create_connection(('127.0.0.1', port), timeout=20) for _ in range(20)]
    head = b'POST /predict HTTP/1.1\r\nHost: a\r\n'
    for number, client in enumerate(slow):
        client.sendall(head + b'Content-Length: 1000\r\n\r\nx' if number % 2 else head)
    assert_well(port)
    for number, client in enumerate(slow):
        received = client.recv(65536)
        assert (b' 408 ' in received) if number % 2 else received == b''
        client.close()
    assert_well(port)


def test_clients_that_leave_cost_nobody_an_answer(port):
    content = encoded('PNG')
    head = b'POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n' % len(content)
    for _ in range(100):
        client = socket.create_connection(('127.0.0.1', port), timeout=5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.sendall(head + content)
        client.close()  # with a reset
    until = time.perf_counter() + 10
    while ask(port, content)[0] == 503 and time.perf_counter() < until:
        time.sleep(0.05)
    assert_well(port)
