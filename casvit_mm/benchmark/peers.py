"""Models of timm in the accuracy range of CAS-ViT, in the form they are meant to be deployed."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import timm
from timm.layers import BatchNormAct2d
from timm.utils.model import reparameterize_model
from torch import nn
from torch.fx.experimental import optimization
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm.models.casvit import ARCHS
from casvit_mm.weights.published import METRICS, TOP1

__all__ = [
    'OURS',
    'PEERS',
    'Peer',
    'count_norms',
    'fold_norms',
    'peers_of',
    'reparameterise',
]


@dataclass(frozen=True)
class Peer:
    """A model of timm with its published accuracy.

    Attributes:
        family: The architecture's name.
        top1: ImageNet-1k top-1 in percent, trained on ImageNet-1k alone.
        pixels: Side of the images that it belongs to.
        source: Where it is published.
    """

    family: str
    top1: float
    pixels: int
    source: str


# Published ImageNet-1k top-1 in percent, at 224 px.
OURS = {f'casvit_{variant}': METRICS[f'casvit_{variant}_imagenet'][TOP1] for variant in ARCHS}

_SWIFT, _REPVIT = 'arXiv 2303.15446', 'arXiv 2307.09283, 300 epochs'
_FAST, _FORMER2 = 'arXiv 2303.14189', 'arXiv 2212.08059'
_VIT2, _VIT, _EDGE = 'arXiv 2206.02680', 'arXiv 2205.14756', 'arXiv 2206.10589'
_POOL, _NEXT, _VISION = 'arXiv 2111.11418', 'arXiv 2201.03545', 'torchvision, IMAGENET1K_V2'
_MOBILE4 = 'timm model card'

PEERS = {
    'mobilenetv3_large_100': Peer('MobileNetV3', 75.2, 224, 'arXiv 1905.02244'),
    'mobilenetv4_conv_medium': Peer('MobileNetV4', 79.1, 224, _MOBILE4),
    'mobilenetv4_hybrid_medium': Peer('MobileNetV4', 80.4, 224, _MOBILE4),
    'mobilenetv4_conv_large': Peer('MobileNetV4', 83.0, 384, _MOBILE4),
    'repvit_m0_9': Peer('RepViT', 78.7, 224, _REPVIT),
    'repvit_m1_5': Peer('RepViT', 82.3, 224, _REPVIT),
    'repvit_m2_3': Peer('RepViT', 83.3, 224, _REPVIT),
    'efficientformerv2_s1': Peer('EfficientFormerV2', 79.0, 224, _FORMER2),
    'efficientformerv2_s2': Peer('EfficientFormerV2', 81.6, 224, _FORMER2),
    'efficientformerv2_l': Peer('EfficientFormerV2', 83.5, 224, _FORMER2),
    'swiftformer_s': Peer('SwiftFormer', 78.5, 224, _SWIFT),
    'swiftformer_l1': Peer('SwiftFormer', 80.9, 224, _SWIFT),
    'swiftformer_l3': Peer('SwiftFormer', 83.0, 224, _SWIFT),
    'fastvit_t12': Peer('FastViT', 79.1, 256, _FAST),
    'fastvit_sa12': Peer('FastViT', 80.6, 256, _FAST),
    'fastvit_sa24': Peer('FastViT', 82.6, 256, _FAST),
    'fastvit_ma36': Peer('FastViT', 83.9, 256, _FAST),
    'mobilevitv2_100': Peer('MobileViTv2', 78.1, 256, _VIT2),
    'mobilevitv2_150': Peer('MobileViTv2', 80.4, 256, _VIT2),
    'mobilevitv2_200': Peer('MobileViTv2', 81.2, 256, _VIT2),
    'efficientvit_b1': Peer('EfficientViT', 79.4, 224, _VIT),
    'efficientvit_b2': Peer('EfficientViT', 82.1, 224, _VIT),
    'efficientvit_b3': Peer('EfficientViT', 83.5, 224, _VIT),
    'edgenext_small': Peer('EdgeNeXt', 79.4, 256, _EDGE),
    'edgenext_base': Peer('EdgeNeXt', 82.5, 256, _EDGE),
    'poolformer_s12': Peer('PoolFormer', 77.2, 224, _POOL),
    'poolformer_s24': Peer('PoolFormer', 80.3, 224, _POOL),
    'poolformer_m48': Peer('PoolFormer', 82.5, 224, _POOL),
    'convnext_tiny': Peer('ConvNeXt', 82.1, 224, _NEXT),
    'convnext_small': Peer('ConvNeXt', 83.1, 224, _NEXT),
    'resnet50': Peer('ResNet', 80.9, 224, _VISION),
    'resnet152': Peer('ResNet', 82.3, 224, _VISION),
}


def peers_of(variants: list[str]) -> list[str]:
    """Return the peers whose published accuracy is nearest to one of ours.

    Args:
        variants: Of ours, such as ``'casvit_s'``.
    """

    def nearest(top1: float) -> str:
        return min(OURS, key=lambda name: abs(OURS[name] - top1))

    return [name for name, peer in PEERS.items() if nearest(peer.top1) in variants]


def count_norms(model: nn.Module) -> int:
    """Return the number of BatchNorms."""
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


def reparameterise(name: str) -> nn.Module:
    """Return a model of timm in eval mode, its training branches merged where it has any.

    Args:
        name: Of the model; the weights are random.
    """
    return reparameterize_model(timm.create_model(name).eval())


def fold_norms(model: nn.Module) -> nn.Module:
    """Return a copy with the BatchNorms folded into the convolutions before them.

    A norm stays where nothing says what comes before it: after another operation, and between
    modules whose forward torch.fx cannot follow.
    """
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BatchNormAct2d):
                setattr(parent, name, _without_activation(child))
    return _fold(model)


def _fold(module: nn.Module) -> nn.Module:
    """Fold a module as a whole, or each of its children where it cannot be followed."""
    if not count_norms(module):
        return module
    try:
        return optimization.fuse(module, inplace=True).eval()
    except Exception:  # tracing runs the module's own code on stand-ins for tensors
        for name, child in module.named_children():
            setattr(module, name, _fold(child))
        return module


def _without_activation(norm: BatchNormAct2d) -> nn.Sequential:
    """Return timm's norm with activation as the two that torch.fx knows."""
    plain = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine).eval()
    plain.load_state_dict(norm.state_dict())
    return nn.Sequential(plain, norm.drop, norm.act)
