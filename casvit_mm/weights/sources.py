"""Where a file of weights is: on the disk, behind an address, or in a list of MMEngine."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from filelock import FileLock  # torch needs it too

from casvit_mm.errors import InputError

__all__ = ['local_file']

# OpenMMLab and torchvision end names with the first digits of the content's SHA-256, not dates.
_HASH = re.compile(r'-(?!20\d{6}\.)([0-9a-f]{8,64})\.\w+$')


def local_file(path: str | Path) -> Path:
    """Return the file that ``path`` means, after downloading it where it is an address.

    Args:
        path: A file, an ``http(s)`` address, or a name in one of MMEngine's lists
            (``torchvision://``, ``modelzoo://``, ``open-mmlab://``, ``openmmlab://``, ``mmcls://``).

    Returns:
        The path; of a download, that in torch's cache, where it stays. A file that is given need
        not exist.

    Raises:
        InputError: If the name is unknown, the download fails or does not match the hash in its
            name, or files of that kind of address are not read.
    """
    text = str(path)
    if '://' not in text:
        return Path(path).expanduser()
    if not text.startswith(('http://', 'https://')):
        text = _address_of(text)
    if '://' not in text:  # some of MMEngine's names stand for files of the user
        return Path(text).expanduser()
    return _download(text)


def _address_of(name: str) -> str:
    """Return what a name of MMEngine's lists stands for."""
    from mmengine.runner import checkpoint as mm

    scheme, _, model = name.partition('://')
    if scheme in ('torchvision', 'modelzoo'):
        known = mm.get_torchvision_models()
    elif scheme in ('open-mmlab', 'openmmlab'):
        known = mm.get_external_models()
        model = mm.get_deprecated_model_names().get(model, model)
    elif scheme == 'mmcls':
        known = mm.get_mmcls_models()
    else:
        raise InputError(
            f'weights {name!r}: files behind {scheme}:// are not read. Fetch the file with your '
            'own tools and give its path; an http or https address works as well.'
        )
    if model not in known:
        raise InputError(f'weights {name!r}: MMEngine knows no {model!r} under {scheme}://')
    address = known[model]
    if '://' not in address:
        return str(Path(mm._get_mmengine_home(), address))
    return address


def _download(url: str) -> Path:
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    target = folder / Path(urlparse(url).path).name
    match = _HASH.search(target.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f'{target}.lock'):  # one process of a run fetches, the others wait for it
            if not target.is_file():
                print(f'downloading {url} to {target}', file=sys.stderr)
                torch.hub.download_url_to_file(
                    url, str(target), match and match.group(1), progress=sys.stderr.isatty()
                )
    # A hash that differs is a RuntimeError; what the network does is an OSError.
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f'{url} was not downloaded to {target}: {error}\nFetch it by hand and give its path.'
        ) from error
    return target
