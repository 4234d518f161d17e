"""Loss and metrics of a training run over its iterations."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from casvit_mm.errors import InputError
from casvit_mm.plotting.figures import save_figure

__all__ = ['draw_loss_curve', 'read_scalars']

# Name in the picture: name in the log, and label of the axis.
_METRICS = {
    'box AP': ('coco/bbox_mAP', 'AP'),
    'mask AP': ('coco/segm_mAP', 'AP'),
    'mIoU': ('mIoU', 'mIoU'),
    'top-1': ('accuracy/top1', 'accuracy'),
}


def read_scalars(work_dir: str | Path) -> list[dict[str, float]]:
    """Return the log entries of the last run in ``work_dir``, oldest first.

    Raises:
        InputError: If no run has logged there.
    """
    logs = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not logs:
        raise InputError(f'{work_dir} holds no log (*/vis_data/scalars.json); train there first')
    return [json.loads(line) for line in logs[-1].read_text().splitlines() if line.strip()]


def draw_loss_curve(work_dir: str | Path, out: str | Path) -> Path:
    """Draw the total loss over iterations, and the metrics on the validation set.

    Args:
        work_dir: Folder of the run.
        out: PNG file to write.

    Returns:
        ``out``.

    Raises:
        InputError: If no run has logged there, or the file cannot be written.
    """
    entries = read_scalars(work_dir)
    losses = [(e['iter'], e['loss']) for e in entries if 'loss' in e]
    # A validation entry carries its epoch as step; it follows the training entry it belongs to.
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in _METRICS}
    iteration = 0.0
    for entry in entries:
        iteration = entry.get('iter', iteration) if 'loss' in entry else iteration
        for name, (key, _) in _METRICS.items():
            if key in entry:
                scores[name].append((iteration, entry[key]))

    figure = Figure(figsize=(8, 4.5), dpi=120, layout='constrained')
    axis = figure.add_subplot()
    axis.plot(*zip(*losses, strict=True), color='tab:blue')
    axis.set(xlabel='iteration', ylabel='training loss', ylim=(0, None))
    axis.yaxis.label.set_color('tab:blue')
    axis.grid(alpha=0.3)
    if any(scores.values()):
        right = axis.twinx()
        for (name, points), marker in zip(scores.items(), 'osoo', strict=True):
            if points:
                right.plot(
                    *zip(*points, strict=True), marker=marker, label=name, color='tab:orange'
                )
        measured = next(_METRICS[name][1] for name, points in scores.items() if points)
        right.set(ylabel=f'validation {measured}', ylim=(0, 1))
        right.yaxis.label.set_color('tab:orange')
        right.legend(loc='center right')
    return save_figure(figure, Path(out))
