"""The options of a run, and what follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product

import torch

from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.host import Host
from casvit_mm.benchmark.inputs import parse_size
from casvit_mm.benchmark.peers import OURS
from casvit_mm.benchmark.scaling import check_sizes
from casvit_mm.benchmark.workload import Workload
from casvit_mm.config.building import check_device
from casvit_mm.engine.timing import Schedule
from casvit_mm.errors import InputError

__all__ = ['PRESETS', 'Settings']


@dataclass(frozen=True)
class Preset:
    """A published protocol.

    Attributes:
        batch: Images per call.
        size: Of the image.
        forms: By kind of device.
    """

    batch: int
    size: str
    forms: dict[str, str]


# arXiv 2408.03703 gives throughput with batches of 64, on a GPU and by onnxruntime on a CPU.
PRESETS = {'paper': Preset(64, '224', dict(cuda='eager', cpu='onnxruntime'))}
_NONE = Preset(1, '224', dict(cuda='eager', cpu='eager'))
_MODES = ('sizes', 'roofline', 'train', 'by_part')


@dataclass(frozen=True)
class Settings:
    """The options of ``casvit-mm benchmark``, as read from its command line.

    Attributes:
        models: Names of models; see :func:`casvit_mm.benchmark.model_specs.find_model_spec`.
        files: Files of ours or of others to time as networks; ``+bf16`` or ``+fp16`` after the name
            sets OpenVINO's precision.
        predict: Exported files, likewise, and checkpoints, timed from pixels to results.
        score_thr: Minimum score of a detection in ``predict``.
        forms: See :class:`casvit_mm.benchmark.forms.Form`.
        batch: Images per call.
        size: Such as ``'224'`` or ``'640x480'``.
        sizes: Sizes to measure the growth of time and memory over, instead.
        part: ``'model'`` or ``'backbone'``.
        device: None takes a GPU where there is one.
        dtype: Precision of forms that name none.
        threads: Of the CPU; None leaves it to PyTorch.
        checkpoint: Weights for the config.
        image: Picture to put in.
        rounds: Turns of each model and form.
        calls: Timed calls per turn.
        settle: Seconds of calls before those, not timed.
        seed: Of the order in each round.
        peers: Our variants whose peers take part.
        official: Checkout of the published code.
        preset: Name of a protocol.
        by_part: Also tell where the time of a whole model goes.
        roofline: Compare each stage with the machine's limits, instead.
        train: Time the training step, instead.
        keep_going: Leave out what fails, and say so, instead of ending the run.
        out: Folder for tables, JSON and pictures.
    """

    models: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    predict: list[str] = field(default_factory=list)
    score_thr: float | None = None
    forms: list[str] | None = None
    batch: list[int] | None = None
    size: list[str] | None = None
    sizes: list[str] | None = None
    part: str = 'model'
    device: str | None = None
    dtype: str = 'fp32'
    threads: int | None = None
    checkpoint: str | None = None
    image: str | None = None
    rounds: int = 20
    calls: int = 5
    settle: float = 0.05
    seed: int = 0
    peers: list[str] | None = None
    official: str | None = None
    preset: str | None = None
    by_part: bool = False
    roofline: bool = False
    train: bool = False
    keep_going: bool = False
    out: str | None = None

    def __post_init__(self) -> None:
        chosen = [name for name in _MODES if getattr(self, name)]
        if len(chosen) > 1:
            raise InputError(f'{" and ".join(map(_option, chosen))}: ask for one at a time')
        if self.rounds < 2 or self.calls < 1:
            raise InputError('--rounds must be 2 or more and --calls 1 or more')
        if not 0 <= self.settle < math.inf:
            raise InputError(f'--settle must be seconds from 0, got {self.settle}')
        counts = [*(self.batch or []), *([] if self.threads is None else [self.threads])]
        if any(count < 1 for count in counts):
            raise InputError('--batch and --threads must be 1 or more')
        if not (self.model_names or self.files or self.predict):
            raise InputError(
                'name a model: casvit_xs to casvit_t, a config, a model of timm; or give --peers, '
                '--official, --preset, --file or --predict'
            )
        if self.checkpoint and len(self.models) != 1:
            raise InputError('--checkpoint belongs to one config: name that alone')
        if self.part == 'backbone' and (self.official or self.peers is not None):
            raise InputError('--part backbone: --official and --peers are whole classifiers')
        others = self.files or self.predict or self.official or self.peers is not None
        if others and (self.sizes or self.roofline):
            raise InputError(
                '--sizes and --roofline are for our models and configs: name those, without '
                '--file, --predict, --official and --peers'
            )
        if self.sizes:
            check_sizes(self.image_sizes)

    @property
    def model_names(self) -> list[str]:
        """Names of the models: those given, or our variants where others are asked for."""
        if self.models or self.peers:
            return self.models or self.peers or []
        whole = self.peers is not None or self.official or self.preset
        return list(OURS) if whole else []

    @property
    def schedule(self) -> Schedule:
        """How often and in which order cases are timed."""
        return Schedule(self.rounds, self.calls, self.settle, self.seed)

    @property
    def host(self) -> Host:
        """Where the run takes place."""
        threads = self.threads or torch.get_num_threads()
        device = check_device(self.device)
        if not device.startswith(('cpu', 'cuda')):
            raise InputError(f'--device {device}: only cpu and cuda can be timed')
        return Host(device, threads, self.image)

    @property
    def chosen_forms(self) -> list[Form]:
        """The forms, from the preset where none is given."""
        device = self.host.device.partition(':')[0]
        forms = self.forms or [self._preset.forms[device]]
        return [Form.parse(text, self.dtype) for text in forms]

    @property
    def batches(self) -> list[int]:
        """Images per call."""
        return self.batch or [self._preset.batch]

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """Heights and widths."""
        return [parse_size(text) for text in self.sizes or self.size or [self._preset.size]]

    @property
    def workloads(self) -> list[Workload]:
        """Every form with every batch and size."""
        host = self.host
        return [
            Workload(form, batch, size, host)
            for size, form, batch in product(self.image_sizes, self.chosen_forms, self.batches)
        ]

    @property
    def _preset(self) -> Preset:
        return PRESETS[self.preset] if self.preset else _NONE


def _option(name: str) -> str:
    return '--' + name.replace('_', '-')
