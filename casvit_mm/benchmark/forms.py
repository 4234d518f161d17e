"""The forms a model is timed in: what was done to it, its precision, and what runs it."""

from __future__ import annotations

import difflib
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from casvit_mm.cli import job_command
from casvit_mm.engine.speed import check_compiler
from casvit_mm.errors import InputError
from casvit_mm.models.wrappers import WholeModel

__all__ = [
    'PRECISIONS',
    'Form',
    'as_input',
    'autocast',
    'check_form',
    'compile_model',
    'mixed_type',
    'prepare',
]

PRECISIONS = ('fp32', 'bf16', 'fp16', 'amp')
_ENGINES = ('torch', 'onnxruntime', 'tensorrt', 'openvino')
_PARTS = ('fused', 'channels_last', 'compile', 'cuda_graph', 'fused_optimizer')
_WORDS = ('eager', *_PARTS, *_ENGINES, *PRECISIONS)


@dataclass(frozen=True)
class Form:
    """One way to run a model, written as words joined by ``+``.

    Attributes:
        name: As the user wrote it, with the precision where that is not float32.
        engine: ``'torch'``, ``'onnxruntime'``, ``'tensorrt'`` (by onnxruntime's provider of it) or
            ``'openvino'``.
        precision: ``'fp32'``; ``'bf16'`` and ``'fp16'`` change the weights, or tell the engine to;
            ``'amp'`` is PyTorch's mixed precision, see :func:`mixed_type`.
        fused: BatchNorms folded by :func:`casvit_mm.fuse`.
        channels_last: Weights and input in the order that convolutions read fastest.
        compile: ``torch.compile``.
        cuda_graph: The kernels of a call are recorded once, and launched together after that.
        fused_optimizer: One kernel per step of the optimizer; for training.
    """

    name: str
    engine: str = 'torch'
    precision: str = 'fp32'
    fused: bool = False
    channels_last: bool = False
    compile: bool = False
    cuda_graph: bool = False
    fused_optimizer: bool = False

    @classmethod
    def parse(cls, text: str, precision: str = 'fp32') -> Form:
        """Read a form such as ``fused+channels_last+compile`` or ``openvino+bf16``.

        Args:
            text: The words.
            precision: For a form that names none.

        Raises:
            InputError: If a word is unknown, or two exclude each other.
        """
        words = text.split('+')
        for word in words:
            if word not in _WORDS:
                near = difflib.get_close_matches(word, _WORDS, n=1)
                raise InputError(
                    f'--forms {text}: {word!r} is unknown{f"; {near[0]!r}?" if near else ""}. '
                    f'Words: {", ".join(_WORDS)}; join them by +, such as fused+compile+bf16'
                )
        for group in (_ENGINES, PRECISIONS, ('eager', 'fused')):
            if len(chosen := [word for word in words if word in group]) > 1:
                raise InputError(f'--forms {text}: {" and ".join(chosen)} exclude each other')
        engine = next((word for word in words if word in _ENGINES), 'torch')
        named = next((word for word in words if word in PRECISIONS), None)
        precision = named or precision
        parts = {word: word in words for word in _PARTS}
        name = text if named or precision == 'fp32' else f'{text}+{precision}'
        form = cls(name, engine, precision, **parts)
        form._check_engine()
        return form

    def _check_engine(self) -> None:
        if self.engine == 'torch':
            return
        if self.channels_last or self.compile or self.cuda_graph or self.precision == 'amp':
            raise InputError(
                f'--forms {self.name}: channels_last, compile, cuda_graph and amp are forms of '
                f'PyTorch; {self.engine} chooses layout and kernels by itself'
            )
        if self.engine in ('onnxruntime', 'tensorrt') and self.precision == 'bf16':
            raise InputError(
                f'--forms {self.name}: {self.engine} takes a file in fp32 or fp16. An int8 one is '
                f'written by {job_command("export")}, and timed by --file'
            )


def check_form(form: Form, device: str) -> None:
    """Refuse a form that this host cannot run, before anything is timed.

    Raises:
        InputError: Naming what is missing.
    """
    on_gpu = device.startswith('cuda')
    if form.engine == 'openvino' and on_gpu:
        raise InputError(f'--forms {form.name}: openvino is timed on the CPU: --device cpu')
    if form.engine == 'onnxruntime' and form.precision == 'fp16' and not on_gpu:
        raise InputError(f'--forms {form.name}: on a CPU onnxruntime computes in fp32')
    if (form.engine == 'tensorrt' or form.cuda_graph) and not on_gpu:
        word = 'tensorrt' if form.engine == 'tensorrt' else 'cuda_graph'
        raise InputError(f'--forms {form.name}: {word} needs a GPU: --device cuda')
    if form.compile:
        try:
            check_compiler()
        except InputError as error:
            text = str(error).replace('--compile', 'the form compile')
            raise InputError(f'--forms {form.name}: {text}') from error


def _half_type(form: Form) -> torch.dtype | None:
    """Return the type of weights and input where that is not float32."""
    return dict(bf16=torch.bfloat16, fp16=torch.float16).get(form.precision)


def prepare(model: nn.Module, form: Form, device: str) -> nn.Module:
    """Return a model in eval mode with layout, precision and device of a form, not yet compiled."""
    model = model.to(device, _half_type(form))
    if form.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def compile_model(model: nn.Module) -> nn.Module:
    """Compile a plain model whole, and backbone and neck of a detector or segmentor.

    Their heads decide by what they find, which would be compiled anew for every picture.
    """
    import torch._dynamo.config as config

    # Models of one run share their code; after eight of them torch would give up compiling it.
    limit = 'recompile_limit' if hasattr(config, 'recompile_limit') else 'cache_size_limit'
    setattr(config, limit, 1024)
    if not isinstance(model, WholeModel):
        return torch.compile(model, dynamic=False)  # type: ignore[return-value]
    for name in ('backbone', 'neck'):
        if getattr(model.model, name, None) is not None:
            part = getattr(model.model, name)
            setattr(model.model, name, torch.compile(part, dynamic=False))
    return model


def as_input(x: Tensor, form: Form, device: str) -> Tensor:
    """Return a float32 input as a form takes it."""
    x = x.to(device, _half_type(form))
    return x.contiguous(memory_format=torch.channels_last) if form.channels_last else x


@cache
def mixed_type(device: str) -> torch.dtype:
    """Return the type of mixed precision: bfloat16, and float16 on a GPU before Ampere."""
    if device.startswith('cuda') and torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float16
    return torch.bfloat16


def autocast(form: Form, device: str) -> torch.autocast | nullcontext:
    """Return PyTorch's mixed precision for ``amp``, and nothing for other forms."""
    if form.precision != 'amp':
        return nullcontext()
    return torch.autocast(device.partition(':')[0], mixed_type(device))
