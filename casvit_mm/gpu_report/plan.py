"""The steps of a report, in the order of their worth: what each tells, runs and may take."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from casvit_mm.errors import InputError

__all__ = [
    'AIMED_INFERENCE',
    'AIMED_TRAINING',
    'BASELINE',
    'RECIPES',
    'STEPS',
    'Recipe',
    'Step',
    'choose',
    'why_skipped',
]

# The aims of the project for a GPU, as ratios to the eager model in mixed precision.
AIMED_INFERENCE, AIMED_TRAINING = 4.0, 2.0
BASELINE = 'eager+amp'

# On a GPU before Ampere bf16 becomes fp16.
_INFERENCE = (
    BASELINE,
    'fused+amp',
    'fused+channels_last+amp',
    'fused+channels_last+bf16',
    'fused+channels_last+bf16+cuda_graph',
    'fused+channels_last+compile+bf16',
    'fused+channels_last+compile+bf16+cuda_graph',
)
_TRAINING = (
    BASELINE,
    'channels_last+amp',
    'channels_last+amp+fused_optimizer',
    'channels_last+compile+amp+fused_optimizer',
)
_ROOFLINE = (BASELINE, 'fused+channels_last+compile+bf16')
_ENGINES = (
    'fused+channels_last+bf16',
    'fused+channels_last+bf16+cuda_graph',
    'fused+channels_last+compile+bf16+cuda_graph',
    *('onnxruntime', 'onnxruntime+fp16', 'tensorrt', 'tensorrt+fp16'),
)
_TURNS: dict[str, Any] = dict(rounds=10, calls=5)
_FEW_TURNS: dict[str, Any] = dict(rounds=5, calls=3)


@dataclass(frozen=True)
class Recipe:
    """A training whose result stands in docs/results/.

    Attributes:
        config: Of ours.
        options: Of ``casvit-mm train``, beside those of every recipe.
        changed: Entries of the config, as ``--cfg-options`` takes them.
        split: Images that it is evaluated on.
        figures: By key of the metrics what the results page has, after a training in float32.
    """

    config: str
    options: tuple[str, ...]
    changed: tuple[str, ...]
    split: str
    figures: dict[str, float]


RECIPES = {
    'bccd': Recipe(
        'retinanet_casvit_xs_light.py', ('--channels-last',), (), 'test', {'coco/bbox_mAP': 0.600}
    ),
    'dsb2018': Recipe(
        'maskrcnn_casvit_xs_light.py',
        (),
        ('train_dataloader.batch_size=4',),  # as two processes had together
        'val',
        {'coco/segm_mAP': 0.620, 'coco/bbox_mAP': 0.595},
    ),
}


@dataclass(frozen=True)
class Step:
    """One process of a report.

    Attributes:
        name: On the command line, and of its folder.
        tells: What one learns from it.
        minutes: That it is expected to take on a large GPU; a guess until it has run once.
        most: Minutes after which it is cut.
        work: Module and function in :mod:`casvit_mm.gpu_report` that does it.
        options: Of :class:`casvit_mm.benchmark.Settings`, where it is a run of the benchmark.
        data: Name of the dataset that it needs, a key of :data:`RECIPES`.
        gpus: Number of GPUs that it needs.
        packages: That it needs beside torch, timm and MMEngine.
    """

    name: str
    tells: str
    minutes: float
    most: float
    work: str
    options: dict[str, Any] = field(default_factory=dict)
    data: str | None = None
    gpus: int = 1
    packages: tuple[str, ...] = ()


def _benchmark(
    name: str,
    tells: str,
    minutes: float,
    packages: tuple[str, ...] = ('mmpretrain',),
    **options: Any,
) -> Step:
    options = {**_TURNS, **options, 'keep_going': True}
    most, work = max(6, 4 * minutes), 'measurements:benchmark'
    return Step(name, tells, minutes, most, work, options, packages=packages)


def _inference(name: str, model: str, minutes: float, *batches: int) -> Step:
    tells = f'calls of CAS-ViT-{model.upper()} in every form, batch {", ".join(map(str, batches))}'
    options: dict[str, Any] = dict(batch=list(batches), forms=list(_INFERENCE))
    options['models'] = [f'casvit_{model}']
    return _benchmark(name, tells, minutes, **options)


def _training(name: str, model: str, of: str, minutes: float, batch: int, **options: Any) -> Step:
    options |= dict(models=[model], train=True, batch=[batch], forms=list(_TRAINING))
    return _benchmark(f'train-{name}', f'a training step of {of}', minutes, **options)


def _roofline(model: str) -> Step:
    tells = f'how far each stage of CAS-ViT-{model.upper()} is from the limits'
    options: dict[str, Any] = dict(roofline=True, batch=[256], forms=list(_ROOFLINE))
    options['models'] = [f'casvit_{model}']
    return _benchmark(f'roofline-{model}', tells, 2.5, **options)


def _peers(name: str, tells: str, minutes: float, form: str) -> Step:
    return _benchmark(name, tells, minutes, peers=[], batch=[64], forms=[form], **_FEW_TURNS)


def _recipe(name: str) -> Step:
    tells = f'{name} trained with --amp, beside the figures of the results page'
    work = 'trainings:train_to_figures'
    return Step(f'train-{name}', tells, 15, 180, work, data=name, packages=('mmdet',))


STEPS: tuple[Step, ...] = (
    Step('limits', 'what the GPU can copy and multiply', 0.5, 5, 'measurements:limits'),
    Step(
        *('tests', 'whether every part that needs a GPU works', 3, 20, 'gpu_tests:run'),
        packages=('pytest',),
    ),
    _inference('inference-xs-256', 'xs', 2, 256),
    _inference('inference-t-256', 't', 2.5, 256),
    _training('classifier', 'casvit_xs', 'CAS-ViT-XS', 2, 256),
    _training(
        *('detector', 'casvit_mm::maskrcnn_casvit_xs_coco.py', 'Mask R-CNN with XS', 2, 4),
        packages=('mmdet',),
        size=['1333x800'],
    ),
    _training(
        *('segmentor', 'casvit_mm::semfpn_casvit_xs_ade20k.py', 'Semantic FPN with XS', 1.5, 8),
        packages=('mmseg',),
        size=['512'],
    ),
    _inference('inference-xs', 'xs', 2, 1, 64),
    _inference('inference-t', 't', 2.5, 1, 64),
    _training('classifier-t', 'casvit_t', 'CAS-ViT-T', 2.5, 256),
    _inference('inference-s', 's', 3, 256, 1, 64),
    _inference('inference-m', 'm', 3, 256, 1, 64),
    _roofline('xs'),
    _roofline('t'),
    _benchmark(
        *('engines', "onnxruntime's and TensorRT's providers, where installed", 4),
        packages=('mmpretrain', 'onnx', 'onnxruntime'),
        models=['casvit_xs'],
        batch=[1, 64],
        forms=list(_ENGINES),
    ),
    _benchmark(
        *('paper', 'the published protocol: eager, float32, batch 64', 1),
        preset='paper',
        forms=['eager'],
    ),
    Step(
        *('data-loader', 'whether reading keeps up with the step', 2, 15, 'trainings:profile'),
        packages=('mmdet',),
    ),
    Step(
        *('two-processes', 'two processes with NCCL and SyncBN beside one', 2, 15),
        'trainings:two_processes',
        gpus=2,
        packages=('mmseg',),
    ),
    _peers('peers', 'models of timm in the same run', 4, 'fused+channels_last+bf16'),
    *map(_recipe, RECIPES),
    _peers('peers-compiled', 'the same, compiled', 25, 'fused+channels_last+compile+bf16'),
)


def choose(names: Sequence[str] | None) -> list[Step]:
    """Return the steps of some names in the order of the plan; all without names.

    Raises:
        InputError: If there is no such step, naming the nearest.
    """
    known = {step.name: step for step in STEPS}
    for name in names or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f'; did you mean {near[0]!r}?' if near else ''
            raise InputError(f'--only {name}: there is no such step{meant} (--list shows all)')
    return [step for step in STEPS if not names or step.name in names]


def why_skipped(step: Step, environment: dict[str, Any], data: dict[str, str]) -> str | None:
    """Return why a step cannot run here, None if it can.

    Args:
        step: The step.
        environment: Of :func:`casvit_mm.gpu_report.environment.describe`.
        data: Files of the datasets that are there, by name.
    """
    if step.data and step.data not in data:
        return f'needs the dataset {step.data}: --{step.data} YAML'
    if environment['gpus'] and environment['gpus'] < step.gpus:
        return f'needs {step.gpus} GPUs, and there is {environment["gpus"]}'
    if step.name == 'tests' and not environment['tests']:
        return 'needs a checkout: an installed package is without its tests'
    absent = [name for name in step.packages if name in environment['absent']]
    return f'needs {" and ".join(absent)}, not installed here' if absent else None
