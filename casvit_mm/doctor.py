"""Look at the environment: versions, operators, devices, and the fix for every error.

casvit-mm doctor

Exit status 1 if an error keeps our models from training.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from importlib import metadata
from importlib.util import find_spec

from rich.table import Table

from casvit_mm.console import step
from casvit_mm.errors import InputError
from casvit_mm.ops import operator_source
from casvit_mm.plotting.tables import LiteralConsole

__all__ = ['check_environment', 'main', 'measure_precisions']

# Import name -> distributions that provide it, the maintained fork first.
_PACKAGES = {
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'timm': ('timm',),
    'numpy': ('numpy',),
    'cv2': ('opencv-python', 'opencv-python-headless'),
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'mmpretrain': ('onedl-mmpretrain', 'mmpretrain'),
    'faster_coco_eval': ('faster-coco-eval',),
}
_LENT_OPERATORS = ('nms', 'roi_align', 'sigmoid_focal_loss')
_LEAST_GAIN = 1.05  # from which a precision is worth its error
_OTHER_OPERATORS = ('deform_conv2d', 'ms_deform_attn', 'softnms', 'carafe')


def _distributions(names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        try:
            found.append(f'{name} {metadata.version(name)}')
        except metadata.PackageNotFoundError:
            continue
    return found


def _fix(module: str, error: str) -> str:
    """Return the command that fixes a failed import."""
    if 'libGL' in error or 'libgthread' in error or 'libglib' in error:
        return 'pip install --force-reinstall --no-deps opencv-python-headless'
    if module == 'torchvision':
        return 'pip install -c constraints.txt torch torchvision  (the two must match)'
    if 'is used but incompatible' in error:
        return "pip install -c constraints.txt 'casvit_mm[onedl]'  (versions that fit each other)"
    if error == 'not installed':
        return f'pip install -c constraints.txt {_PACKAGES[module][0]}'
    return f'pip install -c constraints.txt --force-reinstall {_PACKAGES[module][0]}'


def check_environment() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Look at Python, packages, operators and devices.

    Returns:
        Rows of (what, what was found), and errors as (what is wrong, command that fixes it).
    """
    rows = [('Python', f'{platform.python_version()} on {platform.platform()}')]
    errors = []
    for module, names in _PACKAGES.items():
        found = _distributions(names)
        error = '' if find_spec(module) else 'not installed'
        if not error:
            try:
                importlib.import_module(module)
            except Exception as failure:  # whatever a foreign package raises is reported
                error = str(failure).strip().splitlines()[-1] if str(failure) else repr(failure)
        rows.append((module, f'{", ".join(found)} {error}'.strip()))
        if error:
            errors.append((f'{module}: {error}', _fix(module, error)))
        if len(found) > 1 and module != 'cv2':
            other = ' '.join(name.split()[0] for name in found[1:])
            errors.append(
                (
                    f'{module} is provided twice: {", ".join(found)}',
                    f'pip uninstall {other}, then pip install --force-reinstall '
                    f'--no-deps {found[0].split()[0]}',
                )
            )
    _look_at_operators(rows, errors)
    _look_at_engines(rows)
    _look_at_devices(rows)
    return rows, errors


def _look_at_engines(rows: list[tuple[str, str]]) -> None:
    """List what exported files run in here; none of them is needed to train."""
    try:
        from casvit_mm.deploy.engines import ENGINES
    except ImportError:  # of OpenCV, which has a row of its own
        return
    for number, engine in enumerate(ENGINES):
        found = ', '.join(_distributions((engine.package,)))
        if not found:
            found = 'not installed' if find_spec(engine.package) is None else 'installed'
            found += f": pip install '.[{engine.extra}]'" * (found == 'not installed')
        rows.append(('' if number else 'engines', f'{engine.name}: {found}'))


def _look_at_operators(rows: list[tuple[str, str]], errors: list[tuple[str, str]]) -> None:
    source = operator_source()
    if source == 'absent':
        return
    if source == 'compiled':
        try:
            importlib.import_module('mmcv._ext')
        except ImportError as error:
            errors.append(
                (
                    f'compiled operators of mmcv do not load: {error}',
                    'pip install --force-reinstall --no-deps -c constraints.txt onedl-mmcv',
                )
            )
            return
        rows.append(
            ('operators', f'compiled: {", ".join(_LENT_OPERATORS + _OTHER_OPERATORS)}, ...')
        )
        return
    reach = {
        'lent': 'in programs that import casvit_mm; for others: python -m casvit_mm.ops install',
        'pointer': 'in every program of this environment',
    }[source]
    rows.append(('operators', f'torchvision: {", ".join(_LENT_OPERATORS)} ({reach})'))
    rows.append(('', f'absent: {", ".join(_OTHER_OPERATORS)}, ...; they need compiled mmcv'))


def _look_at_devices(rows: list[tuple[str, str]]) -> None:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = 'no GPU found' if built else 'torch is built without CUDA'
        rows.append(
            ('CUDA', f'{why}; training runs on the CPU ({torch.get_num_threads()} threads)')
        )
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory = f'{device.total_memory / 2**30:.0f} GiB'
        rows.append((f'GPU {index}', f'{device.name}, {memory}, CUDA {torch.version.cuda}'))


def measure_precisions() -> list[tuple[str, str]]:
    """Measure on CAS-ViT-XS whether lower precisions pay on this processor.

    Returns:
        Rows of (what, how many times as fast as float32 it is).
    """
    import torch

    from casvit_mm.engine.precision import mixed_precision_gain
    from casvit_mm.export.precision_gains import precision_gains
    from casvit_mm.models import CASViT

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    gain = mixed_precision_gain(CASViT('xs'), torch.bfloat16, device, channels_last=True)
    rows = [('--bf16', f'training, channels last: {_pays(gain)}')]
    try:
        gains = precision_gains()
    except InputError as error:
        return [*rows, ('OpenVINO', f'not measured: {error}')]
    rows += [('OpenVINO', f'{name}: {_pays(gain)}') for name, gain in gains.items()]
    if 'bf16' not in gains:
        rows.append(('OpenVINO', 'bf16: this processor does not compute in it'))
    return rows


def _pays(gain: float) -> str:
    verdict = 'pays' if gain >= _LEAST_GAIN else 'does not pay'
    return f'{verdict}, {gain:.2f} times the speed of float32'


def main() -> None:
    """Print what was found; exit with status 1 if there are errors."""
    with step('importing every package'):
        rows, errors = check_environment()
    if not errors:
        with step('measuring whether lower precisions pay'):
            rows += measure_precisions()
    console = LiteralConsole()
    table = Table(show_header=False, box=None)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for error, fix in errors:
        for colour, word, text in (('red', 'error', error), ('green', 'fix  ', fix)):
            console.print(word, style=colour, end=' ')
            console.print(text, soft_wrap=True)
    if errors:
        sys.exit(1)
    console.print('everything our models need is here')


if __name__ == '__main__':
    argparse.ArgumentParser(description=main.__doc__).parse_args()
    main()
