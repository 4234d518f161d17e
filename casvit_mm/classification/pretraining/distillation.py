"""Training a classifier on labels and on a teacher's answers (https://arxiv.org/abs/2012.12877)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as F
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from casvit_mm.config.reading import read_config
from casvit_mm.errors import InputError, first_names
from casvit_mm.weights.finite import check_finite
from casvit_mm.weights.matching import read_checkpoint
from casvit_mm.weights.official_keys import as_classifier
from casvit_mm.weights.sources import local_file

__all__ = ['Distillation', 'DistilledClassifier', 'Teacher', 'hard_loss', 'soft_loss']


@dataclass(frozen=True)
class Distillation:
    """How a student learns from its teacher.

    Attributes:
        type: ``'hard'`` or ``'soft'``, as :func:`hard_loss` and :func:`soft_loss` say.
        alpha: Share of the teacher in the loss, 0 to 1; the labels have the rest.
        tau: Temperature of the soft loss.

    Raises:
        ValueError: If one is out of its range.
    """

    type: str = 'hard'
    alpha: float = 0.5
    tau: float = 1.0

    def __post_init__(self) -> None:
        if self.type not in ('hard', 'soft'):
            raise ValueError(f"distillation.type must be 'hard' or 'soft', got {self.type!r}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f'distillation.alpha must be from 0 to 1, got {self.alpha}')
        if self.tau <= 0:
            raise ValueError(f'distillation.tau must be above 0, got {self.tau}')

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of the student's logits ``(B, C)`` under the teacher's, unweighted."""
        if self.type == 'hard':
            return hard_loss(student, teacher)
        return soft_loss(student, teacher, self.tau)


def hard_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the cross entropy with the teacher's most probable class for the label.

    Args:
        student: Logits, ``(B, C)``.
        teacher: The same.
    """
    return F.cross_entropy(student.float(), teacher.argmax(1))


def soft_loss(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """Return the divergence of the softened probabilities from the teacher's, times ``tau ** 2``.

    The sum is divided by B * C, as DeiT's code does, and not by B as the formula has it, so that
    values of alpha found with that code carry over.

    Args:
        student: Logits, ``(B, C)``.
        teacher: The same.
        tau: Temperature that both are divided by.
    """
    divergence = F.kl_div(
        F.log_softmax(student.float() / tau, 1),
        F.log_softmax(teacher.float() / tau, 1),
        reduction='sum',
        log_target=True,
    )
    return divergence * tau**2 / student.numel()


class Teacher:
    """A trained classifier that only predicts.

    It is not an nn.Module, and copies of the student share it, so that state dicts, optimizers, DDP
    and averaged copies of the student leave it out. Its file is read when it is first needed.

    Args:
        model: What to build: ``dict(type='timm', name=...)`` with further arguments of
            timm.create_model, ``dict(config=...)`` with the path of a config or the name of one of
            mmpretrain's (``'mmpretrain::resnet/resnet50_8xb32_in1k.py'``), or the config of an
            mmpretrain model itself.
        checkpoint: File of its weights.
        mean: Of its normalisation of the pixels, from 0 to 255, in the student's order of channels.
            None: it gets the student's input.
        std: The same.

    Raises:
        ValueError: If only one of ``mean`` and ``std`` is given.
    """

    def __init__(
        self,
        model: dict[str, Any],
        checkpoint: str,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        if (mean is None) != (std is None):
            raise ValueError('model.teacher needs both mean and std, or neither')
        self.checkpoint = checkpoint
        self._config = model
        self._normalisation = None if mean is None or std is None else (list(mean), list(std))
        self._model: nn.Module | None = None

    def __deepcopy__(self, memo: dict) -> Teacher:
        return self

    def load(self) -> nn.Module:
        """Build the model and read its file, unless that was done, and return it.

        Raises:
            InputError: If there is no such model or file, the file is not one of tensors alone, or
                a key is missing, unexpected or of another shape.
        """
        if self._model is None:
            if not local_file(self.checkpoint).is_file():
                raise InputError(
                    f'weights of the teacher {self.checkpoint!r} (model.teacher.checkpoint) do not '
                    'exist. Place the file there, or name another by --cfg-options '
                    'model.teacher.checkpoint=PATH'
                )
            model = _build(self._config)
            _fill(model, self.checkpoint)
            self._model = model.eval().requires_grad_(False)
            millions = sum(p.numel() for p in model.parameters()) / 1e6
            MMLogger.get_current_instance().info(
                f'teacher: {millions:.1f} M parameters from {self.checkpoint}'
            )
        return self._model

    # The first call reads a file, which no compiler can follow.
    @torch.compiler.disable
    @torch.no_grad()
    def __call__(self, images: Tensor, preprocessor: nn.Module) -> Tensor:
        """Return the teacher's logits, ``(B, C)``.

        Args:
            images: As the student gets them, ``(B, 3, H, W)``.
            preprocessor: The student's, whose normalisation is undone for a teacher with its own.
        """
        model = self.load()
        if next(model.parameters()).device != images.device:
            model.to(images.device)
        if self._normalisation is not None:
            mean, std = (
                torch.tensor(values, device=images.device).view(-1, 1, 1)
                for values in self._normalisation
            )
            if getattr(preprocessor, 'mean', None) is not None:
                images = images * preprocessor.get_buffer('std') + preprocessor.get_buffer('mean')
            images = (images - mean) / std
        return model(images)


def _build(config: dict[str, Any]) -> nn.Module:
    """Build a teacher, its weights not loaded.

    Raises:
        InputError: If there is no such model or config.
        ValueError: If there is more than ``config``, or timm is given a file to load itself.
    """
    if config.get('type') == 'timm':
        options = {key: value for key, value in config.items() if key not in ('type', 'name')}
        if 'checkpoint_path' in options:
            raise ValueError("model.teacher: the file of its weights is checkpoint, for timm's too")
        if not timm.is_model(config['name']):
            raise InputError(f'model.teacher: timm has no model {config["name"]!r}')
        return timm.create_model(config['name'], pretrained=False, **options)
    if 'config' in config:
        if set(config) != {'config'}:
            raise ValueError(f'model.teacher: config goes alone, got {sorted(config)}')
        path = config['config']
        # Configs named so lie inside mmpretrain.
        found = get_config(path) if path.startswith('mmpretrain::') else read_config(path)
        return MODELS.build(found.model)
    return MODELS.build(config)


def _fill(model: nn.Module, path: str) -> None:
    """Load a teacher's weights.

    Raises:
        InputError: If the file cannot be read or does not fit.
    """
    own, state = model.state_dict(), as_classifier(read_checkpoint(path)['state_dict'], model)
    groups = {
        'missing': [key for key in own if key not in state],
        'unexpected': [key for key in state if key not in own],
        'of another shape': [k for k in own if k in state and own[k].shape != state[k].shape],
    }
    misfits = [
        f'  {len(keys)} {name}: {first_names(keys, 3)}' for name, keys in groups.items() if keys
    ]
    if misfits:
        matched = len(own) - len(groups['missing']) - len(groups['of another shape'])
        lines = [f'{path!r} does not fit the teacher: {matched}/{len(own)} keys matched.', *misfits]
        raise InputError('\n'.join([*lines, 'model.teacher must describe the model of that file.']))
    check_finite(state, path, own)
    model.load_state_dict(state)


@MODELS.register_module()
class DistilledClassifier(ImageClassifier):
    """An image classifier that learns from labels and from a teacher, as DeiT does.

    The loss has two parts, logged apart and weighted already: ``loss_label``, (1 - alpha) times
    the head's own loss of its first output, and ``loss_distill``, alpha times the distillation loss
    of its last output, which is the same one where the head has but one. The teacher sees the
    images that the student sees, augmented and in the same size.

    Evaluation needs no teacher. A training reads it when it initialises the weights, by
    :meth:`check_teacher`, which can be called before.

    Args:
        backbone: As ImageClassifier takes it.
        head: The same; must have ``logits(feats)``, a tuple of ``(B, C)``, as ``CASViTClsHead``.
        teacher: ``checkpoint`` and maybe ``mean`` and ``std`` as :class:`Teacher` has them; the
            rest of it describes the model.
        distillation: Arguments of :class:`Distillation`.
        neck: As ImageClassifier takes it.
        train_cfg: The same.
        data_preprocessor: The same.
        init_cfg: The same.

    Raises:
        ValueError: If the head has no ``logits``, the teacher no ``checkpoint``, or an argument is
            out of its range.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        teacher: dict,
        distillation: dict,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            backbone,
            neck=neck,
            head=head,
            train_cfg=train_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if not hasattr(self.head, 'logits'):
            raise ValueError(
                f'{type(self.head).__name__} has no logits(feats), which distillation needs; use '
                "head=dict(type='CASViTClsHead', distilled=True)"
            )
        if 'checkpoint' not in teacher:
            raise ValueError('model.teacher needs checkpoint, the file of its weights')
        own = ('checkpoint', 'mean', 'std')
        model = {key: value for key, value in teacher.items() if key not in own}
        self.teacher = Teacher(model, **{key: teacher[key] for key in own if key in teacher})
        self.distillation = Distillation(**distillation)

    def init_weights(self) -> None:
        """Initialise the weights before a training, and see that the teacher is there.

        Raises:
            InputError: As :meth:`check_teacher`.
        """
        self.check_teacher()
        super().init_weights()

    def check_teacher(self) -> None:
        """Read the teacher's file, and compare its number of classes where the model has one.

        Raises:
            InputError: If the file is missing, runs code, does not fit, or has other classes.
        """
        teacher = self.teacher.load()
        taught = getattr(getattr(teacher, 'head', None), 'num_classes', None)
        taught = getattr(teacher, 'num_classes', taught)
        own = getattr(self.head, 'num_classes', None)
        if taught is not None and own is not None:
            self._check_classes(taught, own)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return ``loss_label`` and ``loss_distill`` of a batch.

        Raises:
            InputError: If teacher and student differ in their number of classes.
        """
        logits = self.head.logits(self.extract_feat(inputs))
        taught = self.teacher(inputs, self.data_preprocessor)
        self._check_classes(taught.shape[1], logits[-1].shape[1])
        if 'gt_score' in data_samples[0]:  # mixed images have the share of each class
            target = torch.stack([sample.gt_score for sample in data_samples])
        else:
            target = torch.cat([sample.gt_label for sample in data_samples])
        label = self.head.loss_module(logits[0], target, avg_factor=len(data_samples))
        alpha = self.distillation.alpha
        return dict(
            loss_label=(1 - alpha) * label,
            loss_distill=alpha * self.distillation.loss(logits[-1], taught),
        )

    def _check_classes(self, taught: int, own: int) -> None:
        if taught != own:
            raise InputError(
                f'the teacher {self.teacher.checkpoint!r} has {taught} classes and the student '
                f'{own}; a teacher must have been trained on the same classes in the same '
                'order'
            )
