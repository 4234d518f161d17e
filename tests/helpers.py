"""Models, weights and commands that several test files use."""

import gzip
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from casvit_mm import CASViT
from casvit_mm.commands import main

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / 'golden'
# As published, with both 1000-class heads.
PARAMETERS = {'xs': 3_200_700, 's': 5_764_224, 'm': 12_421_520, 't': 21_763_120}
TINY_ARCH = dict(depths=(1, 1, 1, 1), embed_dims=(8, 12, 16, 20))


def slow_after(number: int, cases: Iterable) -> list:
    """The cases of a test, of which ``make test`` runs the first, ``make test-all`` all."""
    cases = list(cases)
    slow = [pytest.param(case, marks=pytest.mark.slow) for case in cases[number:]]
    return [*cases[:number], *slow]


def slow_if_large(configs: Iterable[Path]) -> list:
    """Configs; those of CAS-ViT-M and -T, which are wider alone, are for ``make test-all``."""
    return [
        pytest.param(path, marks=[pytest.mark.slow] * bool(re.search('casvit_[mt]_', path.stem)))
        for path in configs
    ]


def grey_png(width: int, height: int, bits: int, rows: bytes = b'') -> bytes:
    """A PNG of grey levels: ``rows`` are its filtered rows, of which a damaged one lacks some."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
        )

    header = struct.pack('>IIBBBBB', width, height, bits, 0, 0, 0, 0)
    body = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + body


def randomize_norms(model: nn.Module) -> None:
    """Give every BatchNorm statistics that are not the identity."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in (
                (module.running_mean, -0.5),
                (module.running_var, 0.5),
                (module.weight, 0.5),
                (module.bias, -0.5),
            ):
                values = torch.rand(tensor.shape, generator=generator) + low
                tensor.data.copy_(values)


def official_state_dict(variant: str, dense: bool = False) -> dict[str, torch.Tensor]:
    """Weights under the published keys, each drawn from its own name (tests/golden/README.md)."""
    keys = json.loads(gzip.decompress((GOLDEN / 'keys.json.gz').read_bytes()))[variant]
    return {
        key: torch.from_numpy(_draw(key, shape))
        for key, shape in keys['dense' if dense else 'classification'].items()
    }


def _draw(key: str, shape: list[int]) -> np.ndarray:
    rng = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith('num_batches_tracked'):
        return np.zeros(shape, np.int64)
    if key.endswith(('running_mean', 'bias')):
        values = rng.normal(0.0, 0.1, shape)
    elif key.endswith('running_var') or len(shape) == 1:
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(0.0, 0.5, shape) / np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)


def golden_input() -> torch.Tensor:
    """The (2, 3, 64, 96) images that the golden outputs belong to."""
    values = np.random.RandomState(0).normal(0.0, 1.0, (2, 3, 64, 96))
    return torch.from_numpy(values.astype(np.float32))


def free_port() -> str:
    """A port that nothing uses at this moment."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def run_ranks(number: int, work: Callable[[], object]) -> list[int]:
    """Run ``work`` in forked processes that a launcher might have started; return their statuses.

    An error is printed, and its process ends with 1.
    """
    port, children = free_port(), []
    for rank in range(number):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.environ.update(
                    dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE=str(number)),
                    **dict(RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(number)),
                )
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def run_command(*command: object, **env: str) -> subprocess.CompletedProcess:
    """Run a command from the repository's root with this interpreter first on the path."""
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, 'PATH': path, **env},
        capture_output=True,
        text=True,
        timeout=280,
    )


def run_job(job: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a job of the command line in this process, which has imported what the job needs."""
    command = [f'tools/{job}.py', *map(str, arguments)]
    show_warning, status = warnings.showwarning, 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as error:
        try:
            with patch.object(sys, 'argv', command):
                main(job)
        except SystemExit as end:
            status = end.code
        finally:
            warnings.showwarning = show_warning
    return subprocess.CompletedProcess(command, status, out.getvalue(), error.getvalue())


def user_environment() -> dict[str, str]:
    """The environment of a program in another folder, for which this repository is installed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {**os.environ, 'PYTHONPATH': path}


class IndexAndSize:
    """A dataset whose samples are their index and size; here, where spawned workers find it."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index):
        return int(index), index.size


class Malicious:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def build_classifier(
    arch, num_classes: int = 1000, distilled: bool = False, init_cfg: dict | None = None
):
    import casvit_mm.classification  # noqa: F401  registers the head

    init_default_scope('mmpretrain')
    backbone = dict(type='CASViT', arch=arch, out_indices=(3,), init_cfg=init_cfg)
    channels = CASViT(arch).out_channels[3]
    head = dict(
        type='CASViTClsHead', num_classes=num_classes, in_channels=channels, distilled=distilled
    )
    neck = dict(type='GlobalAveragePooling')
    return MODELS.build(ConfigDict(type='ImageClassifier', backbone=backbone, neck=neck, head=head))


class Call:
    """Unpickling this calls a function; it is one itself, as pickle asks of what is called."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments

    def __call__(self):
        raise NotImplementedError
