"""Environment and results of a report, made up."""

from typing import Any

import pytest


def row(form: str, faster: float, batch: int = 256, model: str = 'casvit_xs') -> dict[str, Any]:
    """A row of a comparison."""
    return dict(
        model=model,
        form=form,
        batch=batch,
        width=224,
        height=224,
        than=f'{model} eager+amp',
        faster=dict(median=faster, q1=0.9 * faster, q3=1.1 * faster),
        ms=dict(p50=10 / faster),
    )


def piece(name: str, reached: float) -> dict[str, Any]:
    """A row of a roofline."""
    return dict(
        name=name, ms=1.0, bytes=10**6, multiply_adds=10**7, of_bandwidth=reached, of_peak=0.1
    )


@pytest.fixture
def environment() -> dict[str, Any]:
    return dict(
        device='cuda',
        gpu='NVIDIA RTX 3060',
        gpus=1,
        gpu_memory=12 * 2**30,
        capability='8.6',
        capable=True,
        cuda='12.4',
        cudnn=90100,
        torch='2.6.0',
        commit='abc1234',
        cpu='Some processor',
        cores=8,
        half='bf16',
        nvidia_smi=[{'driver_version': '550.1', 'clocks.max.sm': '1807'}],
        others=[],
        absent=['tensorrt'],
        tests=True,
    )


@pytest.fixture
def results() -> dict[str, Any]:
    forms = [row('eager+amp', 1.0), row('fused+amp', 1.4), row('fused+compile+bf16', 4.2)]
    steps = [row('eager+amp', 1.0), row('channels_last+amp', 1.7)]
    line = dict(
        model='casvit_xs',
        form='fused+channels_last+compile+bf16',
        batch=256,
        size=[224, 224],
        bandwidth=3e11,
        peak=2e13,
        pieces=[piece('stem', 0.7), piece('stage 1', 0.6)],
        mixers=[piece('a mixer of stage 1', 0.4), piece('a mixer of stage 2', 0.8)],
    )
    figures = [dict(metric='coco/bbox_mAP', measured=0.597, published=0.6)]
    return {
        'inference-xs-256': dict(kind='inference', rows=forms, table='| forms |', command='run it'),
        'train-classifier': dict(kind='training step', rows=steps, table='| steps |'),
        'roofline-xs': dict(kind='roofline', rooflines=[line], table='| stages |'),
        'train-bccd': dict(
            kind='figures', dataset='bccd', split='test', rows=figures, commands=['casvit-mm train']
        ),
        'tests': dict(
            kind='tests',
            tests=[
                dict(name='test_amp', outcome='passed', reason=''),
                dict(name='test_nccl', outcome='skipped', reason='needs two GPUs | or more'),
            ],
        ),
        'limits': dict(
            kind='limits', rows=[dict(precision='bf16', bandwidth=3e11, multiply_adds=2.5e13)]
        ),
    }
