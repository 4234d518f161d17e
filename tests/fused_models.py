"""Models to fuse: small, in float64, with norms that are far from the identity."""

from unittest.mock import patch

import pytest
import torch
from helpers import ROOT, TINY_ARCH, randomize_norms
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm import CASViT

WIDTHS = list(TINY_ARCH['embed_dims'])


def shaken(model: nn.Module) -> nn.Module:
    """The model in eval mode with norms that are far from the identity, some of them degenerate."""
    randomize_norms(model)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.running_mean, module.bias):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            spread = torch.rand(module.running_var.shape, generator=generator)
            module.running_var.copy_(2 * spread + 0.01)
            module.weight[::2] *= -1
            module.weight[1] = 0
    return model.eval()


def norms(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if isinstance(m, _BatchNorm)]


def images(height: int = 64, width: int = 96, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)


def assert_equal(ours, theirs, tolerance: float = 1e-10) -> None:
    """Compare relative to the largest value."""
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1, float(b.abs().max())))


def backbone(dtype: torch.dtype = torch.float64, **options) -> CASViT:
    torch.manual_seed(0)
    return shaken(CASViT(TINY_ARCH, **options)).to(dtype)


def build(config: str, scope: str, options: dict | None = None) -> nn.Module:
    """A config's model on a tiny backbone, with weights that give many detections, in float64."""
    registry = pytest.importorskip(f'{scope}.registry').MODELS
    cfg = Config.fromfile(ROOT / 'configs' / f'{config}.py')
    init_default_scope(scope)
    cfg.model.backbone.update(arch=TINY_ARCH, init_cfg=None)
    cfg.merge_from_dict({f'model.{key}': value for key, value in (options or {}).items()})
    torch.manual_seed(0)
    return shaken(registry.build(cfg.model)).double()


def classifier(options: dict | None = None) -> nn.Module:
    pytest.importorskip('mmpretrain')
    import casvit_mm.classification  # noqa: F401

    sizes = {'head.in_channels': WIDTHS[3], 'head.num_classes': 7}
    return build('casvit_xs_imagenet', 'mmpretrain', {**sizes, **(options or {})})


def retinanet(options: dict | None = None) -> nn.Module:
    sizes = {
        'neck.in_channels': WIDTHS[1:],
        'neck.out_channels': 16,
        'bbox_head.in_channels': 16,
        'bbox_head.feat_channels': 16,
        'bbox_head.num_classes': 3,
    }
    return build('retinanet_casvit_xs_coco', 'mmdet', {**sizes, **(options or {})})


def mask_rcnn(options: dict | None = None) -> nn.Module:
    sizes = {'neck.in_channels': WIDTHS}
    return build('maskrcnn_casvit_xs_shapes', 'mmdet', {**sizes, **(options or {})})


def semantic_fpn(options: dict | None = None) -> nn.Module:
    sizes = {'neck.in_channels': WIDTHS}
    return build('semfpn_casvit_xs_shapes', 'mmseg', {**sizes, **(options or {})})


def upernet(options: dict | None = None) -> nn.Module:
    sizes = {
        'decode_head.in_channels': WIDTHS,
        'decode_head.channels': 16,
        'decode_head.num_classes': 5,
        'auxiliary_head.in_channels': WIDTHS[2],
        'auxiliary_head.channels': 8,
    }
    return build('upernet_casvit_s_ade20k', 'mmseg', {**sizes, **(options or {})})


def segformer(options: dict | None = None) -> nn.Module:
    sizes = {'decode_head.in_channels': WIDTHS, 'decode_head.channels': 16}
    return build('segformer_casvit_xs_light', 'mmseg', {**sizes, **(options or {})})


def detections(model: nn.Module) -> list:
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head
    from mmdet.structures import DetDataSample

    paste = fcn_mask_head._do_paste_mask
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0), pad_shape=(64, 96))
    samples = [DetDataSample(metainfo=meta) for _ in range(2)]

    def paste_in_float32(masks, boxes, *rest, **options):
        return paste(masks.float(), boxes.float(), *rest, **options)

    with patch.object(fcn_mask_head, '_do_paste_mask', paste_in_float32):  # it knows no other
        return [sample.pred_instances for sample in model.predict(images(), samples)]
