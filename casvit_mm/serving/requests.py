"""What a request asks for: its image, and the form of its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from casvit_mm.serving.answers import OUTPUTS
from casvit_mm.serving.limits import Limits

__all__ = ['BODY', 'choose_output', 'read_image_file']

_FIELDS = 8  # of a form; one of them is the file

# What OpenAPI says of the body, which no annotation of Python describes.
BODY = {
    'requestBody': {
        'required': True,
        'content': {
            'image/*': {'schema': {'type': 'string', 'format': 'binary'}},
            'application/octet-stream': {'schema': {'type': 'string', 'format': 'binary'}},
            'multipart/form-data': {
                'schema': {
                    'type': 'object',
                    'required': ['image'],
                    'properties': {'image': {'type': 'string', 'format': 'binary'}},
                }
            },
        },
    }
}


async def read_image_file(request: Request, limits: Limits) -> bytes:
    """Return the file in the body of a request, or in the form that the body is.

    Raises:
        HTTPException: 400 for a broken form, 408 for a slow body, 413 for a large one, 415 for
            content that is no file.
    """
    kind = request.headers.get('content-type', '').partition(';')[0].strip().lower()
    is_form = kind == 'multipart/form-data'
    # curl --data-binary names the last one where the user names none.
    plain = ('', 'application/octet-stream', 'application/x-www-form-urlencoded')
    if not is_form and kind not in plain and not kind.startswith('image/'):
        raise HTTPException(
            415,
            'send the image as the body, with its type or application/octet-stream, or as the '
            'field "image" of multipart/form-data',
        )
    try:
        with anyio.fail_after(limits.timeout):
            content = await _read_body(request, limits.max_bytes)
    except TimeoutError as error:
        raise HTTPException(
            408, f'the request did not come within {limits.timeout:g} seconds'
        ) from error
    return await _file_in_form(request, content) if is_form else content


async def _read_body(request: Request, max_bytes: int) -> bytes:
    too_large = HTTPException(
        413, f'the request has more than {max_bytes:,} bytes, the limit of this server'
    )
    length = request.headers.get('content-length', '0')
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > max_bytes:
            raise too_large
    return bytes(content)


async def _file_in_form(request: Request, content: bytes) -> bytes:
    """Return the file of a form; its name is not looked at."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield content
        yield b''

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=_FIELDS)
    parser.spool_max_size = len(content) + 1  # nothing goes to the disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise HTTPException(400, 'the form (multipart/form-data) is broken') from error
    try:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    finally:
        await form.close()
    raise HTTPException(422, 'the form holds no file; send the image as the field "image"')


def choose_output(request: Request, output: str | None, task: str) -> str:
    """Return the form of the answer, a key of :data:`OUTPUTS`.

    Args:
        request: Its ``Accept`` decides where the query does not.
        output: Of the query.
        task: Of the model.

    Raises:
        HTTPException: 422 for an unknown form, or labels of another task; 406 where the client
            accepts none.
    """
    if output is None:
        accepted = _accepted(request.headers.get('accept', '*/*'))
        names = {'*/*': 'json', 'application/*': 'json', 'image/*': 'picture'}
        names |= {'application/json': 'json', 'image/png': 'picture'}
        output = next((names[kind] for kind in accepted if kind in names), None)
        if output is None:
            raise HTTPException(406, 'answers are application/json or image/png')
    if output not in OUTPUTS:
        raise HTTPException(422, f'output must be one of {", ".join(OUTPUTS)}')
    if output == 'labels' and task != 'segmentation':
        raise HTTPException(
            422, f'output=labels is of segmentation, and this model is one of {task}'
        )
    return output


def _accepted(header: str) -> list[str]:
    """Return the media types of an ``Accept``, the most wanted first."""
    ranked = []
    for entry in header.split(','):
        kind, *options = (part.strip().lower() for part in entry.split(';'))
        wanted = next((option[2:] for option in options if option.startswith('q=')), '1')
        try:
            weight = float(wanted)
        except ValueError:
            weight = 0.0
        if weight > 0:  # false for NaN
            ranked.append((weight, kind))
    return [kind for _, kind in sorted(ranked, key=lambda pair: -pair[0])]
