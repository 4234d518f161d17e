"""The routes of the server."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders

from casvit_mm.deploy.canvas import distinct_colours
from casvit_mm.deploy.model import ImageModel
from casvit_mm.serving.answers import OUTPUTS
from casvit_mm.serving.limits import Limits
from casvit_mm.serving.requests import BODY, choose_output, read_image_file
from casvit_mm.serving.service import Service

__all__ = ['create_app']

# The page, and nothing else, may run and be shown; it may ask this server alone.
_HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
}
_PAGE = {
    '/': ('index.html', 'text/html'),
    '/page.css': ('page.css', 'text/css'),
    '/page.js': ('page.js', 'text/javascript'),
    '/panel.js': ('panel.js', 'text/javascript'),
    '/picture.js': ('picture.js', 'text/javascript'),
}
_STATUSES = {
    400: 'a broken form',
    406: 'no form of answer that the client accepts',
    408: 'the body came too slowly',
    413: 'too many bytes',
    415: 'content that is no file',
    422: 'no image, an image of too many pixels, or a parameter out of range',
    500: 'the model failed; the log of the server says why',
    503: 'too many requests; Retry-After says in how many seconds to ask again',
    504: 'no answer in time',
}


def create_app(
    model: ImageModel,
    name: str = 'model',
    *,
    limits: Limits | None = None,
    batch_size: int = 1,
    score_thr: float | None = None,
) -> FastAPI:
    """Return the server of a model as an ASGI application.

    Args:
        model: What predicts.
        name: What people know it by.
        limits: Of the server.
        batch_size: Most images that go through the model together.
        score_thr: Minimum score of an object where a request names none; None takes the model's.
    """
    limits = limits or Limits()
    service = Service(model, limits, batch_size)
    default = model.score_thr if score_thr is None else score_thr

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title=f'casvit_mm: {name}',
        description=f'A model of {model.task}: {len(model.classes)} classes.',
        lifespan=lifespan,
        docs_url=None,  # both would fetch their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(_Watched, service=service)
    _tell_errors(app)
    _add_page(app)

    responses: dict[int | str, Any] = {
        status: {'description': text} for status, text in _STATUSES.items()
    }
    content: dict[str, Any] = {kind: {} for kind in OUTPUTS.values()}
    responses[200] = {'description': 'the prediction', 'content': content}

    @app.post('/predict', openapi_extra=BODY, responses=responses, response_class=Response)
    async def predict(
        request: Request, output: str | None = None, score_thr: float | None = None
    ) -> Response:
        """Predict on one image, in the body or in the field "image" of a form.

        The answer is JSON, the picture of the prediction (PNG) or, of a segmentor, the number of
        the class of each pixel (PNG): by output=json, picture or labels, or by Accept.
        """
        chosen = choose_output(request, output, model.task)
        least = _minimum_score(model, score_thr, default)
        with service.place():
            image = await read_image_file(request, limits)
            try:
                body = await service.answer(image, chosen, least, request.is_disconnected)
            except HTTPException:
                raise
            except Exception as error:
                logging.getLogger('uvicorn.error').exception('the model failed')
                raise HTTPException(500, _STATUSES[500]) from error
        return Response(body, media_type=OUTPUTS[chosen])

    @app.get('/model')
    async def describe() -> dict[str, Any]:
        """Return what the model finds, the colours of the pictures, and the limits."""
        colours = [f'#{r:02x}{g:02x}{b:02x}' for r, g, b in distinct_colours(len(model.classes))]
        return dict(
            name=name,
            task=model.task,
            classes=model.classes,
            colours=colours,
            device=model.device,
            score_thr=default,
            least_score=model.score_thr,
            batch_size=batch_size,
            limits=asdict(limits),
        )

    @app.get('/health', responses={503: {'description': 'the model does not answer'}})
    async def health() -> JSONResponse:
        """Return 200 where the model answers."""
        well = service.is_well
        content = dict(status='ok' if well else 'the model hangs', in_work=service.in_work)
        return JSONResponse(content, 200 if well else 503)

    @app.get('/metrics', response_class=Response)
    async def metrics() -> Response:
        """Return counters for Prometheus."""
        return Response(service.metrics.text(), media_type='text/plain; version=0.0.4')

    return app


def _minimum_score(
    model: ImageModel, score_thr: float | None, default: float | None
) -> float | None:
    """Return the minimum score of an object for one request; None of another task.

    Raises:
        HTTPException: 422 if the model has left out what the request asks for.
    """
    if model.score_thr is None:
        return None
    if score_thr is None:
        return default
    if not model.score_thr <= score_thr <= 1:  # false for NaN
        raise HTTPException(422, f'score_thr must be from {model.score_thr:g} to 1')
    return score_thr


def _tell_errors(app: FastAPI) -> None:
    """Let every error be JSON with a ``detail`` in words, and nothing of the inside."""

    @app.exception_handler(RequestValidationError)
    async def tell_parameter(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({'detail': f'{first["loc"][-1]}: {first["msg"]}'}, 422)

    @app.exception_handler(Exception)
    async def tell_fault(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({'detail': 'the server failed; its log says why'}, 500)


def _add_page(app: FastAPI) -> None:
    """Serve the files of the page, which are read once: no path comes from a request."""
    folder = files('casvit_mm.serving') / 'page'

    def add(path: str, content: bytes, kind: str) -> None:
        @app.get(path, include_in_schema=False, response_class=Response)
        async def page() -> Response:
            return Response(content, media_type=kind, headers={'Cache-Control': 'no-cache'})

    for path, (name, kind) in _PAGE.items():
        add(path, (folder / name).read_bytes(), kind)


class _Watched:
    """Put headers on every answer, and count those of ``/predict``."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] != 'http':
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def watched(message: Any) -> None:
            if message['type'] == 'http.response.start':
                MutableHeaders(scope=message).update(_HEADERS)
                if scope['path'] == '/predict':
                    seconds = time.perf_counter() - start
                    self._service.metrics.answered(message['status'], seconds)
            await send(message)

        await self._app(scope, receive, watched)
