"""What a training is asked for: options that belong together stand in one group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from casvit_mm.config.value_checks import MAX_SEED
from casvit_mm.errors import InputError

__all__ = ['Randomness', 'Recipe', 'Speed', 'Start', 'TrainOptions']


@dataclass(frozen=True)
class Start:
    """What a training starts from; without any of these, the pretrained weights of its config.

    Attributes:
        resume: Checkpoint to go on from, or ``'auto'`` for the last one in the work dir, if any.
            Where it finds a checkpoint, the other three are not used.
        from_scratch: Train without pretrained weights, with the norms of the backbone learning.
        pretrained: File of weights for the backbone, instead of the one that the config names.
        finetune: Trained model, whatever its classes; see :mod:`casvit_mm.engine.finetune`.

    Raises:
        InputError: If two of them exclude each other.
    """

    resume: str | None = None
    from_scratch: bool = False
    pretrained: str | None = None
    finetune: str | None = None

    def __post_init__(self) -> None:
        starts = {
            f'--pretrained {self.pretrained}': self.pretrained is not None,
            f'--finetune {self.finetune}': self.finetune is not None,
            '--from-scratch': self.from_scratch,
            # 'auto' goes with the others: it is the same command once more.
            f'--resume {self.resume}': (
                self.finetune is not None and self.resume not in (None, 'auto')
            ),
        }
        given = [option for option, is_given in starts.items() if is_given]
        if len(given) > 1:
            raise InputError(f'{" and ".join(given)} name two places to start from')


@dataclass(frozen=True)
class Speed:
    """What makes a training of the same model faster; see :mod:`casvit_mm.engine.speed`.

    Attributes:
        amp: Mixed precision with float16, on a GPU only.
        bf16: Mixed precision with bfloat16, on a GPU or a CPU.
        channels_last: Keep the weights in the order that convolutions read fastest.
        compile_backbone: Compile the backbone with ``torch.compile``.

    Raises:
        InputError: If two precisions are given.
    """

    amp: bool = False
    bf16: bool = False
    channels_last: bool = False
    compile_backbone: bool = False

    def __post_init__(self) -> None:
        if self.amp and self.bf16:
            raise InputError('--amp (float16) and --bf16 are two precisions: give one of them')


@dataclass(frozen=True)
class Randomness:
    """What makes a training repeatable.

    Attributes:
        seed: Random seed; drawn and logged if None.
        deterministic: Only operators that give the same result every time.

    Raises:
        InputError: If the seed is out of range.
    """

    seed: int | None = None
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise InputError(f'--seed {self.seed} is not between 0 and {MAX_SEED}')


@dataclass(frozen=True)
class Recipe:
    """What a training changes of the recipe in its config; see :mod:`casvit_mm.engine.recipe`.

    Attributes:
        epochs: Length of a training that counts epochs; the whole schedule is stretched to it.
        iterations: Length of one that counts iterations, likewise.
        batch: Images per step of one process, with the rate scaled to it; ``'auto'`` measures the
            largest that fits into memory.
        lr: Learning rate, taken as it is.
        early_stop: Validations without a better score after which training ends.

    Raises:
        InputError: If a number is not positive, or two lengths are given.
    """

    epochs: int | None = None
    iterations: int | None = None
    batch: int | Literal['auto'] | None = None
    lr: float | None = None
    early_stop: int | None = None

    def __post_init__(self) -> None:
        for option, value in (
            ('--epochs', self.epochs),
            ('--iters', self.iterations),
            ('--batch', self.batch),
            ('--lr', self.lr),
            ('--early-stop', self.early_stop),
        ):
            if value is not None and value != 'auto' and not 0 < value < math.inf:
                raise InputError(f'{option} {value} is not a positive number')
        if self.epochs is not None and self.iterations is not None:
            raise InputError('--epochs and --iters are two lengths: give one of them')


@dataclass(frozen=True)
class TrainOptions:
    """Everything that a training can be asked for beside its config.

    Attributes:
        data: ``dataset.yaml`` of a custom dataset; see :mod:`casvit_mm.datasets.description`.
        work_dir: Folder for logs and checkpoints; ``work_dirs/<config>`` if None, followed by the
            name of the data where ``data`` is given.
        start: What the training starts from.
        recipe: What it changes of the config's recipe.
        speed: What makes it faster.
        randomness: What makes it repeatable.
        auto_scale_lr: Scale the learning rate linearly with the total batch size, even where the
            config does not ask for it.
        loggers: Trackers of experiments to log to as well; see :mod:`casvit_mm.engine.loggers`.
        profile_data: Number of batches to time; instead of training, tells whether reading the data
            or computing the model is the limit. See :mod:`casvit_mm.engine.profiling`.
        save_minutes: Minutes from one saved state to the next inside an epoch; None saves at its
            end alone.
        packed: Pack that the images are read from; see :mod:`casvit_mm.engine.packing`.
        cfg_options: Config entries to set, by dotted name.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.
    """

    data: str | None = None
    work_dir: str | None = None
    start: Start = Start()
    recipe: Recipe = Recipe()
    speed: Speed = Speed()
    randomness: Randomness = Randomness()
    auto_scale_lr: bool = False
    loggers: tuple[str, ...] = ()
    profile_data: int | None = None
    save_minutes: float | None = None
    packed: str | None = None
    cfg_options: dict[str, Any] | None = None
    launcher: str = 'none'
