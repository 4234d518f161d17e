"""The classifier on top of CAS-ViT: one linear layer, or two where it learns from a teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

__all__ = ['CASViTClsHead']


@MODELS.register_module()
class CASViTClsHead(ClsHead):
    """Linear classifier with an optional second head for distillation.

    The second head is DeiT's (https://arxiv.org/abs/2012.12877, section 4): it learns from the
    teacher, the first one from the labels, and evaluation takes the mean of their logits.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the pooled feature.
        distilled: Whether there is a second head. Without a teacher it learns from the labels too.
        loss: Config of the loss on the labels; None is cross entropy.
        topk: Accuracies to log where ``cal_acc``.
        cal_acc: Whether to log the accuracy on the training batches.
        init_cfg: How to initialise; None draws the weights with a deviation of 0.02, biases 0.

    Shape:
        Tuple of features, the last one ``(B, in_channels)``, ``-> (B, num_classes)``.

    Raises:
        ValueError: If ``num_classes`` is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        distilled: bool = False,
        loss: dict | None = None,
        topk: Sequence[int] = (1,),
        cal_acc: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f'num_classes must be positive, got {num_classes}')
        super().__init__(
            loss=loss or dict(type='CrossEntropyLoss', loss_weight=1.0),
            topk=tuple(topk),
            cal_acc=cal_acc,
            init_cfg=init_cfg or dict(type='TruncNormal', layer='Linear', std=0.02),
        )
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.fc = nn.Linear(in_channels, num_classes)
        if distilled:
            self.fc_dist = nn.Linear(in_channels, num_classes)

    @property
    def distilled(self) -> bool:
        """Whether there is a second head."""
        return hasattr(self, 'fc_dist')

    def logits(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the logits of each head, ``(B, num_classes)``; the teacher's one is the second."""
        x = self.pre_logits(feats)
        return (self.fc(x), self.fc_dist(x)) if self.distilled else (self.fc(x),)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the mean of the heads' logits, ``(B, num_classes)``."""
        logits = self.logits(feats)
        return sum(logits[1:], logits[0]) / len(logits)

    @torch.no_grad()
    def fuse(self) -> CASViTClsHead:
        """Make one linear layer of two, in place; the mean of their logits is linear as well."""
        if self.distilled:
            for name, value in self.fc.named_parameters():
                second = self.fc_dist.get_parameter(name)
                value.copy_((value.cpu().double() + second.cpu().double()) / 2)
            del self.fc_dist
        return self

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the loss on the labels, the mean over the heads."""
        if not self.distilled:
            return super().loss(feats, data_samples)
        each = [self._get_loss(logits, data_samples) for logits in self.logits(feats)]
        return {name: sum(one[name] for one in each) / len(each) for name in each[0]}
