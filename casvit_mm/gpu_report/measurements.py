"""The steps that are runs of ``casvit-mm benchmark``, and the limits of the GPU."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from casvit_mm.benchmark import Settings
from casvit_mm.benchmark import benchmark as run_benchmark
from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.peers import PEERS
from casvit_mm.benchmark.report import brief_markdown
from casvit_mm.benchmark.roofline import machine_calls, machine_limits
from casvit_mm.engine.timing import Schedule, make_timer, time_calls
from casvit_mm.errors import InputError
from casvit_mm.gpu_report.task import Task
from casvit_mm.models.memory import lacks_memory

__all__ = ['as_command', 'benchmark', 'limits', 'smoked']

_SMALLEST = 8  # images; a batch that does not fit is halved down to it
# Steps that also compile in a smoke run; each form takes the C++ compiler a minute.
_COMPILED_IN_SMOKE = ('train-segmentor',)


def limits(task: Task) -> dict[str, Any]:
    """Measure what the device copies per second, and multiplies in each precision."""
    kinds = ['fp32', task.half] if task.smoke else ['fp32', 'fp16', 'bf16']
    schedule = Schedule(2, 1, 0.0, 0) if task.smoke else Schedule(10, 5, 0.05, 0)
    rows = []
    for kind in [kind for kind in kinds if kind != 'bf16' or task.half == 'bf16']:
        calls = machine_calls(kind, task.device)
        copy, multiply = time_calls(calls, make_timer(task.device), schedule)
        bandwidth, peak = machine_limits(copy, multiply, task.device)
        rows.append(dict(precision=kind, bandwidth=bandwidth, multiply_adds=peak))
    return dict(kind='limits', rows=rows)


def benchmark(task: Task) -> dict[str, Any]:
    """Run the benchmark of a step; a batch that does not fit is halved, and the result says so.

    Raises:
        InputError: If nothing could be timed.
    """
    options = {**task.plan.options, 'forms': _in_half(task.plan.options['forms'], task.half)}
    if task.smoke:
        options = smoked(options, compiled=task.step in _COMPILED_IN_SMOKE)
    options['device'] = task.device
    said: list[str] = []
    while True:
        settings = Settings(**options, out=task.folder)
        result, lacking = _try(settings)
        too_large = [batch for batch in lacking if batch > _SMALLEST]
        if result is not None and not too_large:
            break
        said += [
            f'Batch {batch} does not fit into memory: half of it follows.' for batch in too_large
        ]
        halved = [batch // 2 if batch in too_large else batch for batch in settings.batches]
        options['batch'] = list(dict.fromkeys(halved))
    return result | dict(command=as_command(options), said=said, table=brief_markdown(result))


def _in_half(forms: Sequence[str], half: str) -> list[str]:
    """Return forms with the half precision that a GPU has, each once."""
    return list(dict.fromkeys(form.replace('bf16', half) for form in forms))


def _try(settings: Settings) -> tuple[dict[str, Any] | None, set[int]]:
    """Return the result, None if memory sufficed for nothing, and the batches that did not fit.

    Raises:
        InputError: If something else is wrong, or the smallest batch does not fit.
    """
    try:
        result = run_benchmark(settings)
    except (InputError, RuntimeError) as error:
        largest = max(settings.batches)
        if not lacks_memory(error) or largest <= _SMALLEST:
            raise
        return None, {largest}
    failures = result.get('failures', [])
    ours = [one for one in failures if one['memory'] and one['model'] not in PEERS]
    return result, {one['batch'] for one in ours}


def as_command(options: dict[str, Any]) -> str:
    """Return the command that runs the benchmark with some options."""
    words = ['casvit-mm', 'benchmark', *options.get('models', [])]
    for name, value in options.items():
        if name != 'models' and value is not False:
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += ['--' + name.replace('_', '-'), *map(str, values)]
    return shlex.join(words)


def smoked(options: dict[str, Any], compiled: bool) -> dict[str, Any]:
    """Return the options of a run on a CPU that takes the same way in seconds.

    Args:
        options: Of :class:`casvit_mm.benchmark.Settings`.
        compiled: Whether forms with ``compile`` stay.
    """
    forms = [form for form in options['forms'] if _on_a_cpu(Form.parse(form))]
    # What has compiled forms alone runs uncompiled.
    kept = [form for form in forms if compiled or 'compile' not in form]
    shorter: dict[str, Any] = dict(forms=kept or [form.replace('+compile', '') for form in forms])
    shorter |= dict(size=['96x64' if 'size' in options else '64'], batch=[2], threads=1)
    if 'peers' in options:  # some of timm's take no smaller images
        shorter |= dict(peers=['casvit_t'], size=['224'], batch=[1])
    if 'preset' in options:
        shorter |= dict(models=['casvit_xs', 'casvit_s'])
    return {**options, **shorter, 'rounds': 2, 'calls': 1, 'settle': 0.0}


def _on_a_cpu(form: Form) -> bool:
    return not form.cuda_graph and form.engine != 'tensorrt' and form.name != 'onnxruntime+fp16'
