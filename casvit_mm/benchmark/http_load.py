"""Load a running server with many clients: what is lost, and how long answers take.

python -m casvit_mm.benchmark.http_load http://127.0.0.1:8000 photo.jpg --clients 32 --seconds 60
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from casvit_mm.benchmark.host import facts
from casvit_mm.cli import cli
from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = ['Load', 'load_server', 'main']

_PATIENCE = 120  # seconds for an answer
_PERCENTILES = (50, 90, 99, 100)


@dataclass(frozen=True)
class Load:
    """What clients have seen.

    Attributes:
        clients: That asked at the same time, each one request after the other.
        seconds: From the first request to the last answer.
        statuses: Answers by status.
        lost: Requests without an answer.
        latency: Seconds from a request to its answer where it succeeded, by percentile.
        model: Seconds of the model alone, by percentile.
    """

    clients: int
    seconds: float
    statuses: dict[int, int]
    lost: int
    latency: dict[int, float] = field(default_factory=dict)
    model: dict[int, float] = field(default_factory=dict)

    def __str__(self) -> str:
        answers = sum(self.statuses.values())
        lines = [
            f'{self.clients} clients, {self.seconds:.0f} s: {answers} answers, '
            f'{answers / self.seconds:.1f} a second; {self.lost} lost',
            'status       ' + ', '.join(f'{k}: {v}' for k, v in self.statuses.items()),
            'percentile   ' + ''.join(f'{name:>9}' for name in self.latency),
        ]
        for name, times in (('latency, s', self.latency), ('model, s', self.model)):
            lines.append(f'{name:13s}' + ''.join(f'{value:9.3f}' for value in times.values()))
        return '\n'.join(lines)


def load_server(address: str, image: bytes, clients: int, seconds: float) -> Load:
    """Let clients ask a server for predictions, each one request after the other.

    Args:
        address: Such as ``http://127.0.0.1:8000``.
        image: A file that every request sends.
        clients: That ask at the same time.
        seconds: After which no client asks again; requests in work are waited for.

    Raises:
        InputError: If no server answers there.
    """
    host = urlsplit(address).netloc
    try:
        _ask(http.client.HTTPConnection(host, timeout=_PATIENCE), image)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(f'{address} does not answer: {error}') from error
    statuses: Counter[int] = Counter()
    lost: list[str] = []
    latency: list[float] = []
    model: list[float] = []
    start = time.perf_counter()

    def work() -> None:
        client = http.client.HTTPConnection(host, timeout=_PATIENCE)
        while time.perf_counter() - start < seconds:
            begin = time.perf_counter()
            try:
                status, content = _ask(client, image)
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
                client.close()
                continue
            statuses[status] += 1
            if status == 200:
                latency.append(time.perf_counter() - begin)
                model.append(json.loads(content)['model_seconds'])

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    duration = time.perf_counter() - start
    times = (_percentiles(latency), _percentiles(model))
    return Load(clients, duration, dict(sorted(statuses.items())), len(lost), *times)


def _ask(client: http.client.HTTPConnection, image: bytes) -> tuple[int, bytes]:
    client.request('POST', '/predict', image, {'Content-Type': 'application/octet-stream'})
    answer = client.getresponse()
    return answer.status, answer.read()


def _percentiles(values: list[float]) -> dict[int, float]:
    if not values:
        return {}
    return dict(zip(_PERCENTILES, np.percentile(values, _PERCENTILES).tolist(), strict=True))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('address')
    parser.add_argument('image')
    parser.add_argument('--clients', type=int, default=32, metavar='N')
    parser.add_argument('--seconds', type=float, default=60, metavar='S')
    parser.add_argument('--out', metavar='JSON', help='figures with machine and commit')
    return parser.parse_args()


def main() -> None:
    """Read the command line, load the server, and print and write the figures."""
    args = _parse()
    found = load_server(args.address, Path(args.image).read_bytes(), args.clients, args.seconds)
    print(found)
    if args.out:
        about: dict[str, Any] = _describe(args.address)
        write_json(args.out, dict(host=facts('cpu', 1), server=about, **asdict(found)))


def _describe(address: str) -> dict[str, Any]:
    """Return what the server says of its model."""
    client = http.client.HTTPConnection(urlsplit(address).netloc, timeout=_PATIENCE)
    client.request('GET', '/model')
    about = json.loads(client.getresponse().read())
    return {key: about[key] for key in ('name', 'task', 'device', 'batch_size')}


if __name__ == '__main__':
    cli(main)
