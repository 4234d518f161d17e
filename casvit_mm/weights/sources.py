"""Where a file of weights is: on the disk, behind an address, or in a list of MMEngine."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from filelock import FileLock  # torch needs it too

from casvit_mm.errors import InputError, first_names
from casvit_mm.io import sha256_of

__all__ = ['local_file']

# OpenMMLab and torchvision end names with the first digits of the content's SHA-256, not dates.
_HASH = re.compile(r'-(?!20\d{6}\.)([0-9a-f]{8,64})\.\w+$')

_HUB = re.compile(r'hf://([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+))?')


def local_file(path: str | Path) -> Path:
    """Return the file that ``path`` means, after downloading it where it is an address.

    Args:
        path: A file, an ``http(s)`` address, a model of the Hugging Face Hub as
            ``hf://user/name[@revision][/file]``, or a name in one of MMEngine's lists
            (``torchvision://``, ``modelzoo://``, ``open-mmlab://``, ``openmmlab://``, ``mmcls://``).

    Returns:
        The path; of a download, that in the cache of torch or of the Hub, where it stays. A
        file that is given need not exist.

    Raises:
        InputError: If the name is unknown, the download fails or does not match the hash in its
            name, or files of that kind of address are not read.
    """
    text = str(path)
    if '://' not in text:
        return Path(path).expanduser()
    if text.startswith('hf://'):
        return _from_hub(text)
    if not text.startswith(('http://', 'https://')):
        text = _address_of(text)
    if '://' not in text:  # some of MMEngine's names stand for files of the user
        return Path(text).expanduser()
    return _download(text)


def _from_hub(address: str) -> Path:
    """Return the file that a model of the Hub consists of, or the one that is named in it."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    found = _HUB.fullmatch(address)
    if found is None:
        raise InputError(
            f'weights {address!r}: a model of the Hub is hf://user/name[@revision][/file]'
        )
    model, revision, file = found.groups()
    try:
        if file is None:
            names = HfApi().list_repo_files(model, revision=revision)
            files = [name for name in names if name.endswith(('.safetensors', '.pth'))]
            if len(files) != 1:
                raise InputError(
                    f'{address} holds {len(files)} files of weights, and one is read; name it: '
                    f'{address}/FILE ({first_names(files or names, 5) or "it is empty"})'
                )
            (file,) = files
        path = Path(hf_hub_download(model, file, revision=revision))
    except HFValidationError as error:
        raise InputError(f'weights {address!r}: {error}') from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f'{address} was not downloaded: {error}\nFetch it by hand and give its path.'
        ) from error
    _check_hash(path, address)
    return path


def _check_hash(path: Path, address: str) -> None:
    """Refuse a file that is not what the digits in its name say."""
    match = _HASH.search(path.name)
    if match is None:
        return
    digest = sha256_of(path)
    if not digest.startswith(match[1]):
        raise InputError(
            f'{address}: the SHA-256 of {path} is {digest}, and its name says {match[1]}. Remove '
            'it from the cache, and ask whoever published it'
        )


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
