"""The published files of weights and the published metrics, by name.

Links and metrics are those of the authors' model zoo (:data:`MODEL_ZOO`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from casvit_mm.errors import InputError

__all__ = ['FILES', 'MODEL_ZOO', 'WeightFile', 'find_file', 'how_to_get']


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights.

    Attributes:
        name: Stem of its name under ``checkpoints/``, which configs refer to.
        link: Where its authors published it.
        data: What it was trained on.
        config: Config of the whole model in it; None where no config of ours is.
        sha256: Its SHA-256, or the first digits of it; empty where its authors name none.
    """

    name: str
    link: str
    data: str
    config: str | None = None
    sha256: str = ''

    @property
    def filename(self) -> str:
        """Its name under ``checkpoints/``."""
        return f'{self.name}.pth'


# Google Drive's ids, by the name of the file.
_DRIVE = {
    'cas-vit-xs': '16wKcwF6QMW5w_lyPYnDKjMNuoxQDfrLK',
    'cas-vit-s': '1facFRq8s8oelYUtK1fj3fcfdoWoKDBQQ',
    'cas-vit-m': '13sQpSEf0h_uuh0jRy9V0yIW6ZsbDpVGy',
    'cas-vit-t': '1NqoIUPbwBC91RTjTUvubAbOfGqo1VYT0',
    'cas-vit-xs-384': '1kwRPtJ4FdmNeTm2MsiFN7N2DJpou3Pgl',
    'cas-vit-s-384': '1UagCihMWmNCmYGC1DV5euAvA5TONI818',
    'cas-vit-m-384': '1pTwKKRLPA7vBfk_KTgJ4J1Jq3ttkh3O2',
    'cas-vit-t-384': '1N5Y81Vcyf2ox41TC3wlRBxgQPYaEndTW',
    'retinanet_casvit_xs_coco': '1n3NKegRLC6wz8EgY-dKWaoPETKumfPlO',
    'retinanet_casvit_s_coco': '18msm_na7s25aNV7AfBPpJRMGFChpnC5-',
    'retinanet_casvit_m_coco': '1k5S6by4i6vEmr0P_w35z1ipyTFu59T7z',
    'retinanet_casvit_t_coco': '1tp6x0pP-6zZvyPGQlvFtMBpw3WpomGac',
    'maskrcnn_casvit_xs_coco': '1E8ZhO708_5J7iCmqN1Hc7HH0OAGmlMsH',
    'maskrcnn_casvit_s_coco': '1Kttud7Pqc_Tvw--F19knbfF4haJdJOG8',
    'maskrcnn_casvit_m_coco': '1zI_N7YCfpi95L6Jr0FLhVIT4u-Y2sidO',
    'maskrcnn_casvit_t_coco': '1CKGqkFC763gHEmNtXbalF0YBDN6Dhv7_',
    'semfpn_casvit_xs_ade20k': '1gCWmdNNQEa9EEwsxIuL2daIavJPcnGny',
    'semfpn_casvit_s_ade20k': '1fRY5RZXF7inaDgGKQhLKPpexz5t9p7w2',
    'semfpn_casvit_m_ade20k': '1QgBkh006WXqOrw23ehWOHPZM_V_O84c6',
    'semfpn_casvit_t_ade20k': '14tn6hctKu16GKNBeUiwuUzJml-qsxdkh',
}


def _published_files() -> Iterator[WeightFile]:
    """Yield the authors' files, and the one of another project that a config of ours names."""
    for name, drive_id in _DRIVE.items():
        if name.startswith('cas-vit-'):
            variant, _, side = name.removeprefix('cas-vit-').partition('-')
            config = f'casvit_{variant}_imagenet' + ('_ft384' if side else '')
            data = f'ImageNet at {side or 224} px'
        else:
            config = name
            data = 'ADE20K' if name.endswith('ade20k') else 'COCO'
        link = f'https://drive.google.com/file/d/{drive_id}/view'
        yield WeightFile(name, link, data, config)
    yield WeightFile(
        'regnety_160',
        'https://dl.fbaipublicfiles.com/deit/regnety_160-a5fe301d.pth',
        'ImageNet, a teacher',
        sha256='a5fe301d',
    )


MODEL_ZOO = 'https://github.com/Tianfang-Zhang/CAS-ViT/blob/main/MODEL_ZOO.md'


_COMMAND = 'python -m casvit_mm download_weights'


FILES: dict[str, WeightFile] = {file.name: file for file in _published_files()}


def find_file(name: str) -> WeightFile:
    """Return a published file by its name, or by the name of its config.

    Raises:
        InputError: If there is none of that name; it lists those that are near.
    """
    asked = name.removeprefix('checkpoints/').removeprefix('configs/')
    asked = asked.removesuffix('.pth').removesuffix('.py')
    for file in FILES.values():
        if asked in (file.name, file.config):
            return file
    near = difflib.get_close_matches(asked, FILES, n=3, cutoff=0.5)
    raise InputError(
        f'no published file is called {name!r}. '
        + (f'Did you mean {" or ".join(near)}? ' if near else '')
        + f'All names: {_COMMAND}'
    )


def how_to_get(path: str) -> str:
    """Return what to do about a file of weights that is not at ``path``."""
    for file in FILES.values():
        if path.endswith(f'checkpoints/{file.filename}'):
            return f'Get it: {_COMMAND} {file.name}'
    return f'Published files: {_COMMAND} lists and fetches them.'


# Names that other metafiles have.
TOP1, BOX_AP, MASK_AP, MIOU = 'Top 1 Accuracy', 'box AP', 'mask AP', 'mIoU'


# Published figures, in the order XS, S, M, T.
METRICS: dict[str, list[dict[str, float]]] = {
    'casvit_{}_imagenet': [{TOP1: figure} for figure in (78.3, 80.9, 82.8, 83.9)],
    'casvit_{}_imagenet_ft384': [{TOP1: figure} for figure in (78.7, 81.1, 83.0, 84.1)],
    'retinanet_casvit_{}_coco': [{BOX_AP: figure} for figure in (36.5, 38.6, 40.9, 41.9)],
    'maskrcnn_casvit_{}_coco': [
        {BOX_AP: box, MASK_AP: mask}
        for box, mask in ((37.4, 34.9), (39.8, 36.7), (42.3, 38.9), (43.5, 39.6))
    ],
    'semfpn_casvit_{}_ade20k': [{MIOU: figure} for figure in (37.1, 41.3, 43.6, 45.0)],
}
