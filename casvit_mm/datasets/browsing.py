"""What a network gets to see of an image: the original beside augmented inputs, for any task.

A task says in a class of its own what is drawn on them and what is counted, such as
:class:`casvit_mm.detection.data.browse.ObjectArtist`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS
from mmengine.runner import set_random_seed

from casvit_mm.datasets.pipeline_trace import PipelineTrace
from casvit_mm.datasets.views import View

__all__ = ['InputCounts', 'Panel', 'SampleArtist']


@dataclass
class InputCounts:
    """What was seen while drawing network inputs; a task adds what it counts.

    Attributes:
        inputs: (height, width) of every network input.
        rejected: Inputs that the pipeline refused, so that training takes another image.
    """

    inputs: list[tuple[int, int]] = field(default_factory=list)
    rejected: int = 0

    def lines(self) -> list[str]:
        """Return what augmentation does, as lines to print; each begins with a word of 10 cells."""
        return []

    def warnings(self) -> list[str]:
        """Return what the user should know before training."""
        return []


@dataclass(frozen=True)
class Panel:
    """What every view of a sample shows.

    Attributes:
        packed: ``inputs``, a tensor ``(3, H, W)``, and ``data_samples`` of the task's framework.
        preprocessing: Config of what has changed the values of ``inputs``; empty for nothing.
        content: (height, width) of the image proper, at the top left; the rest is padding.
        lines: To stand above it; the task adds its own.
    """

    packed: dict[str, Any]
    preprocessing: dict[str, Any]
    content: tuple[int, int]
    lines: list[str]

    @property
    def truth(self) -> Any:
        """The framework's data sample."""
        return self.packed['data_samples']


class SampleArtist(ABC):
    """Makes the views of one image after the other, and counts what it sees.

    Args:
        cfg: The config; its data preprocessor is built.
        dataset: Built from it, in the default scope; watched by ``trace``.
        trace: Follows each sample.
        counts: Is filled while drawing.
        training: Whether the preprocessor works as in training.
    """

    preprocessor_type: str  # that the framework takes where a config names none

    def __init__(
        self,
        cfg: Config,
        dataset: Any,
        trace: PipelineTrace,
        counts: InputCounts,
        training: bool,
    ) -> None:
        self.dataset, self.trace, self.counts = dataset, trace, counts
        self._training = training
        settings = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
        self._preprocessing = dict(settings)
        self._preprocessor = MODELS.build({'type': self.preprocessor_type, **settings})
        classes = dataset.metainfo.get('classes') or ()
        self.classes = (classes,) if isinstance(classes, str) else tuple(classes)

    @abstractmethod
    def views_of_original(self, panel: Panel) -> list[View]:
        """Return the views of an image as it was loaded."""

    @abstractmethod
    def views_of_input(self, panel: Panel, used: bool) -> list[View]:
        """Return the views of a network input, as many, and add it to the counts.

        Args:
            panel: The input.
            used: Whether it shows the image that was asked for; False after a rejection.
        """

    def draw(self, index: int, seeds: Sequence[int]) -> list[View]:
        """Return the views of an original, then those of one network input per seed."""
        views: list[View] = []
        for number, seed in enumerate(seeds, 1):
            self.trace.reset()
            set_random_seed(seed)
            sample = self.dataset[index]
            if not views:
                views += self.views_of_original(self._original())
            views += self._input(sample, number)
        return views

    def _original(self) -> Panel:
        packed = self.trace.loaded[0]
        height, width = packed['inputs'].shape[1:]
        name = Path(packed['data_samples'].img_path).name
        lines = [f'original: {_shortened(name)}, {height} x {width}']
        return Panel(packed, {}, (height, width), lines)

    def _input(self, sample: dict, number: int) -> list[View]:
        batch = self._preprocessor(pseudo_collate([sample]), training=self._training)
        packed = dict(inputs=batch['inputs'][0], data_samples=batch['data_samples'][0])
        info = packed['data_samples']
        height, width = packed['inputs'].shape[1:]
        content = tuple(info.get('img_shape', (height, width))[:2])
        lines = [f'input {number}: tensor 3 x {height} x {width}']
        if content != (height, width):
            lines.append(f'padded from {content[0]} x {content[1]}')
        wanted = self.trace.loaded[0]['data_samples'].img_path
        used = info.get('img_path', wanted)
        if used != wanted:
            lines.append(f'rejected; training takes {_shortened(Path(used).name)}')
        if info.get('flip'):
            lines.append(f'{info.flip_direction} flip')
        self.counts.inputs.append((height, width))
        self.counts.rejected += used != wanted
        panel = Panel(packed, self._preprocessing, content, lines)
        return self.views_of_input(panel, used == wanted)


def _shortened(name: str) -> str:
    return name if len(name) <= 30 else f'{name[:15]}...{name[-12:]}'
