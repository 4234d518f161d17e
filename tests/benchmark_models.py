"""Tiny models of each task, a clock of ours and short runs, for the tests of the benchmark."""

from pathlib import Path

from helpers import ROOT, TINY_ARCH

from casvit_mm.benchmark import Settings
from casvit_mm.benchmark.host import Host

CLASSIFIER = f"""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['casvit_mm.classification'])
model = dict(
    type='ImageClassifier',
    backbone=dict(type='CASViT', arch=dict({TINY_ARCH!r}), out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='CASViTClsHead', num_classes=7, in_channels=20))
"""
DETECTOR = f"""
_base_ = '{ROOT}/configs/maskrcnn_casvit_xs_shapes.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH!r})),
    neck=dict(in_channels=[8, 12, 16, 20]))
"""
SEGMENTOR = f"""
_base_ = '{ROOT}/configs/semfpn_casvit_xs_shapes.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH!r})),
    neck=dict(in_channels=[8, 12, 16, 20]))
"""
CPU = Host('cpu', 1)


def write_configs(folder: Path) -> dict[str, str]:
    """Write a config of each task; return its file by ``'classifier'`` and so on."""
    texts = dict(classifier=CLASSIFIER, detector=DETECTOR, segmentor=SEGMENTOR)
    for name, text in texts.items():
        (folder / f'{name}.py').write_text(text)
    return {name: str(folder / f'{name}.py') for name in texts}


class Clock:
    """A clock that moves only when a call says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def passing(self, seconds):
        def call(*_):
            self.now += seconds

        return call


def quick(**options):
    """Settings of the shortest run."""
    return Settings(**{'rounds': 2, 'calls': 1, 'settle': 0.0, 'device': 'cpu', **options})
