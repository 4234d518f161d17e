"""MMEngine's ways to read files, without those that run code."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from mmengine.fileio import PickleHandler
from mmengine.fileio import register_handler as register_file_handler
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader

from casvit_mm.errors import InputError
from casvit_mm.weights.matching import read_checkpoint
from casvit_mm.weights.reading import forget_file

__all__ = ['load_from_safe_reader', 'read_files_safely']


def load_from_safe_reader(filename: str, map_location: object = None) -> dict[str, Any]:
    """Read a checkpoint for MMEngine; :func:`casvit_mm.weights.matching.read_checkpoint` does it.

    Args:
        filename: What :func:`casvit_mm.weights.sources.local_file` takes.
        map_location: Not used, since whoever loads moves the tensors; part of MMEngine's signature.
    """
    content = read_checkpoint(filename)
    if content['stripped']:
        MMLogger.get_current_instance().info(f'{filename}: {content["stripped"]}')
    forget_file()  # a training or evaluation begins, which needs the memory
    if filename.startswith('mmcls://'):  # these name classifiers for the sake of their backbones
        state = content['state_dict']
        content['state_dict'] = {
            key.removeprefix('backbone.'): value
            for key, value in state.items()
            if key.startswith('backbone.')
        }
    return content


class _RefusePickle(PickleHandler):
    def load_from_fileobj(self, file: object, **options: object) -> NoReturn:
        raise InputError(
            'a pickle file (.pkl) was not read, since reading it could run arbitrary code. '
            'Annotations, proposals and results are read from JSON or YAML.'
        )


def read_files_safely() -> None:
    """From now on, let nothing in this process execute what a file of weights or data contains.

    - Every loader of MMEngine, whatever the prefix of the path, becomes ours: ``init_cfg`` of any
      module, ``load_from`` and ``resume`` go through it.
    - ``torch.load`` called by others, as timm and the frameworks do, reads tensors only.
    - ``mmengine.load`` refuses pickles; writing them stays possible.

    The tools call it. Importing :mod:`casvit_mm` does not, since checkpoints that MMEngine itself
    wrote can be resumed only by executing them, and that is for their owner to decide.
    """
    for prefix in CheckpointLoader._schemes:
        CheckpointLoader.register_scheme(prefix, load_from_safe_reader, force=True)
    register_file_handler(['pickle', 'pkl'])(_RefusePickle)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
