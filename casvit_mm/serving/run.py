"""Load a model and serve it until a signal ends it: the library behind ``casvit-mm serve``."""

from __future__ import annotations

import math
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.console import step
from casvit_mm.deploy.engines import check_installed, is_exported
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.predictor import Predictor
from casvit_mm.errors import InputError
from casvit_mm.prediction.loading import SCORE_THR, load
from casvit_mm.serving.limits import Limits

__all__ = ['load_model', 'serve', 'server_of', 'signals_stop']

_LEAST_SCORE = 0.05  # that a request may ask for; the page lets people see the doubtful objects
_PACKAGES = ('fastapi', 'uvicorn', 'python_multipart', 'prometheus_client', 'PIL')
_TRIAL = (480, 640, 3)  # pixels that the batches are measured on


def serve(
    path: str | Path,
    config: str | Path | None = None,
    *,
    host: str = '127.0.0.1',
    port: int = 8000,
    score_thr: float | None = None,
    device: str | None = None,
    threads: int | None = None,
    trusted: bool = False,
    batch_size: int | None = None,
    limits: Limits | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> None:
    """Serve a model over HTTP until SIGTERM or SIGINT; requests in work are answered first.

    Args:
        path: A checkpoint or an exported file, as :func:`casvit_mm.load` takes it.
        config: Config of a checkpoint; None takes the one that it holds.
        host: Address to listen on. The default is reached from this machine alone.
        port: Port; 0 takes a free one.
        score_thr: Minimum score of an object where a request names none; 0.3 if None.
        device: As for :func:`casvit_mm.load`.
        threads: CPU threads of an exported file's engine.
        trusted: Whether code in a ``.pt2`` may run.
        batch_size: Most images that go through the model together; None measures what pays.
        limits: Of requests.
        cfg_options: Entries of a checkpoint's config to set.

    Raises:
        InputError: If the model cannot be loaded or predicts nothing, the port is taken, a package
            is missing, or an option is out of range.
    """
    for package in _PACKAGES:
        check_installed(package, 'serve')
    if batch_size is not None and batch_size < 1:
        raise InputError(f'--batch-size must be 1 or more, got {batch_size}')
    limits = limits or Limits()
    with _listening(host, port) as listener:
        with step(f'loading {path}'):
            model, score_thr = load_model(
                path,
                config,
                score_thr=score_thr,
                device=device,
                threads=threads,
                trusted=trusted,
                cfg_options=cfg_options,
            )
        with step('measuring how many images together pay'):
            batch_size, note = _choose_batch(model, batch_size)
        from casvit_mm.serving.app import create_app

        name = Path(path).name
        app = create_app(model, name, limits=limits, batch_size=batch_size, score_thr=score_thr)
        address = f'http://{_shown(host)}:{listener.getsockname()[1]}'
        print(f'{name}: {model.task}, {len(model.classes)} classes, {model.device}, {note}')
        if model.note:
            print(f'note: {model.note}')
        print(f'a page to try it on: {address}/')
        print(f"curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' {address}/predict")
        print('Ctrl-C stops it', flush=True)
        server = server_of(app, limits)
        with signals_stop(server):
            server.run(sockets=[listener])


def load_model(
    path: str | Path,
    config: str | Path | None = None,
    *,
    score_thr: float | None = None,
    **options: Any,
) -> tuple[ImageModel, float | None]:
    """Load a model that finds objects of low scores too, and the score that requests begin with.

    Raises:
        InputError: As :func:`casvit_mm.load`; if the model is a backbone, or has left out what
            scores as low as ``score_thr``.
    """
    least = None
    if not is_exported(path):
        least = _LEAST_SCORE if score_thr is None else min(_LEAST_SCORE, score_thr)
    model = load(path, config, score_thr=least, **options)
    if isinstance(model, Predictor):
        model = Predictor(model.engine)  # with the lowest score that the file holds
    if model.task == 'backbone':
        raise InputError(
            f'{path} is a backbone, whose feature maps are no prediction; casvit_mm.load(path) '
            'gives them in Python'
        )
    if model.score_thr is None:
        return model, None
    if score_thr is None:
        score_thr = max(SCORE_THR, model.score_thr)
    if not model.score_thr <= score_thr <= 1:
        raise InputError(
            f'--score-thr must be from {model.score_thr:g} to 1 for {path}, got {score_thr}'
        )
    return model, score_thr


def _choose_batch(model: ImageModel, batch_size: int | None) -> tuple[int, str]:
    """Return how many images go through a model together, and what to say of it."""
    from casvit_mm.serving.worker import paying_batch

    if isinstance(model, Predictor) and model.spec.size:
        return 1, 'one image at a time, as the file was exported'
    if batch_size is not None:
        return batch_size, f'up to {batch_size} images at a time'
    trial = np.random.default_rng(0).integers(0, 256, _TRIAL, np.uint8)
    batch_size, seconds = paying_batch(model, trial)
    times = ', '.join(f'{1000 * value:.0f} ms in {size}' for size, value in seconds.items())
    if batch_size == 1:
        return 1, f'one image at a time (an image takes {times})'
    return batch_size, f'up to {batch_size} images at a time (an image takes {times})'


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Open the port before anything is loaded.

    Raises:
        InputError: If that is not possible.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise InputError(
            f'cannot listen on {host}, port {port}: {reason}. Name another one by --host and --port'
        ) from error
    with listener:
        yield listener


def _shown(host: str) -> str:
    return f'[{host}]' if ':' in host else host


def server_of(app: Any, limits: Limits) -> Any:
    """Return the ``uvicorn.Server`` of an application."""
    import uvicorn

    from casvit_mm.serving.protocol import ImpatientProtocol

    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop='asyncio',
            http=partial(ImpatientProtocol, seconds=limits.timeout),  # type: ignore[arg-type]
            ws='none',
            log_level='warning',
            access_log=False,
            server_header=False,
            # A body may take the whole time, and its answer as well.
            timeout_graceful_shutdown=math.ceil(2 * limits.timeout) + 5,
        )
    )


@contextmanager
def signals_stop(server: Any) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop a server, also while it starts, and do nothing else.

    uvicorn handles them while it runs, and then raises them again for whoever did before.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
