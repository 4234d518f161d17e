r"""Measure what large sets cost, in CPU seconds and memory, beside the libraries that others use.

python -m casvit_mm.benchmark.large_sets /tmp/large
python -m casvit_mm.benchmark.large_sets /tmp/tiny --images 40 --objects 290 --val-images 10 \
    --label-files 40 --sorted-images 2000 --masks 40
python -m casvit_mm.benchmark.set_costs /tmp/large --tiny /tmp/tiny --out costs.json

Every figure is that of a process of its own; seconds are those that it was computing, from the end
of its imports on. What was read of images before is remembered: the first run is to be repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.benchmark.host import facts
from casvit_mm.benchmark.large_sets import CLASSES
from casvit_mm.cli import cli
from casvit_mm.config.paths import ROOT
from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = ['PROBES', 'main', 'measure']

_DETECTOR = 'maskrcnn_casvit_xs_light.py'
_MARK = 'measured: '
_GIB = 2**20  # kB


def _memory(process: int | str = 'self') -> dict[str, float]:
    """Return what a process holds in GiB: now, at most, and alone; nothing where none can tell."""
    try:
        status = Path(f'/proc/{process}/status').read_text()
        rollup = Path(f'/proc/{process}/smaps_rollup').read_text()
    except OSError:
        return {}
    fields = dict(line.split(':', 1) for line in f'{status}\n{rollup}'.splitlines() if ':' in line)
    kilobytes = {
        'now': int(fields['VmRSS'].split()[0]),
        'peak': int(fields['VmHWM'].split()[0]),
        'alone': sum(int(fields[f'Private_{kind}'].split()[0]) for kind in ('Clean', 'Dirty')),
    }
    return {name: round(value / _GIB, 3) for name, value in kilobytes.items()}


def _children() -> Iterator[int]:
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = path.read_text().rpartition(')')[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            yield int(path.parent.name)


def _tell(seconds: float, **others: Any) -> None:
    told = json.dumps(dict(seconds=round(seconds, 2), **_memory(), **others))
    sys.stdout.write(f'{_MARK}{told}\n')  # at once: another rank writes as well
    sys.stdout.flush()


def _register_hook() -> str:
    """Register what tells of a training after its first iteration, and return its name."""
    from mmengine.hooks import Hook
    from mmengine.registry import HOOKS
    from mmengine.runner import Runner

    @HOOKS.register_module()
    class MeasureHook(Hook):
        def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
            workers = [found for child in _children() if (found := _memory(child))]
            loss = runner.message_hub.get_scalar('train/loss').current()
            _tell(time.process_time(), workers=workers, loss=float(loss), rank=runner.rank)
            os._exit(0)  # at once: it is not to save anything

    return MeasureHook.__name__


def _read_by_pycocotools(data: Path, out: Path) -> None:
    """``pycocotools.COCO`` alone, of the file of train."""
    from pycocotools.coco import COCO

    start = time.process_time()
    api = COCO(data / 'coco' / 'train.json')
    _tell(time.process_time() - start, objects=len(api.anns))


def _start_annotations(description: str) -> Callable[[Path, Path], None]:
    """All that a training does with annotations until it can read its first image."""

    def run(data: Path, out: Path) -> None:
        from casvit_mm.detection import CocoAP, NamedCocoDataset
        from casvit_mm.detection.data.description import read_dataset
        from casvit_mm.detection.data.prepare import prepare_dataset

        start = time.process_time()
        splits = prepare_dataset(
            read_dataset(data / description), ('train', 'val'), out, with_masks=True
        )
        sets = [
            NamedCocoDataset(
                ann_file=str(split.annotations),
                data_prefix=dict(img=str(split.images)),
                metainfo=dict(classes=split.summary.classes),
                filter_cfg=dict(filter_empty_gt=True, min_size=32),
                test_mode=name != 'train',
            )
            for name, split in splits.items()
        ]
        metric = CocoAP(str(splits['val'].annotations), ['bbox', 'segm'])
        seconds = time.process_time() - start
        _tell(seconds, images=[len(one) for one in sets], metric=type(metric).__name__)

    return run


def _check(description: str) -> Callable[[Path, Path], None]:
    """The check of the data by their annotations and the headers of their images."""

    def run(data: Path, out: Path) -> None:
        from casvit_mm.registration import register_late

        register_late()  # as the command does
        from casvit_mm.engine.data_check import check_dataset

        start = time.process_time()
        sound = check_dataset(data / description, out, read_images=False)
        _tell(time.process_time() - start, trainable=sound)

    return run


def _train(description: str, config: str = _DETECTOR) -> Callable[[Path, Path], None]:
    """A training up to its first iteration, imports included."""

    def run(data: Path, out: Path) -> None:
        _first_iteration(config, out, data=str(data / description))

    return run


def _train_as_config_says(data: Path, out: Path) -> None:
    """The same of a config that names the files of COCO itself, without ``--data``."""
    names: dict[str, Any] = {}
    for split in ('train', 'val'):
        place = f'{split}_dataloader.dataset'
        names |= {
            f'{place}.data_root': f'{data / "coco"}/',
            f'{place}.ann_file': f'{split}.json',
            f'{place}.data_prefix.img': f'images/{split}/',
            f'{place}.metainfo': dict(classes=CLASSES),
        }
    names['val_evaluator.ann_file'] = str(data / 'coco' / 'val.json')
    _first_iteration(_DETECTOR, out, **names)


def _first_iteration(config: str, out: Path, data: str | None = None, **cfg_options: Any) -> None:
    from casvit_mm.engine.options import Randomness, Start, TrainOptions
    from casvit_mm.engine.training import train

    cfg_options['custom_hooks'] = [dict(type=_register_hook(), priority='LOWEST')]
    train(
        str(ROOT / 'configs' / config),
        TrainOptions(
            data=data,
            work_dir=str(out),
            start=Start(from_scratch=True),
            randomness=Randomness(seed=0),
            cfg_options=cfg_options,
            launcher='pytorch' if 'LOCAL_RANK' in os.environ else 'none',
        ),
    )


def _score(data: Path, out: Path) -> None:
    """Box AP of the detections by our metric, from the file of the truth on."""
    from casvit_mm.detection import CocoAP

    truth, found, names = _results(data)
    start = time.process_time()
    metric = CocoAP(str(truth))
    metric.dataset_meta = dict(classes=names)
    results: list[Any] = [({}, _arrays(image, of_image)) for image, of_image in found.items()]
    metrics = metric.compute_metrics(results)
    _tell(time.process_time() - start, ap=metrics['bbox_mAP'])


def _score_by_library(data: Path, out: Path) -> None:
    """Box AP of the same detections by faster-coco-eval alone."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth, found, _ = _results(data)
    start = time.process_time()
    api = COCO(str(truth))
    listed = [one for of_image in found.values() for one in of_image]
    evaluator = COCOeval_faster(api, api.loadRes(listed), 'bbox')
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval['precision'][..., 0, -1]
    ap = float(precision[precision > -1].mean())
    _tell(time.process_time() - start, ap=ap)


def _results(data: Path) -> tuple[Path, dict[int, list[dict[str, Any]]], list[str]]:
    truth = data / 'coco' / 'val.json'
    names = [one['name'] for one in json.loads(truth.read_text())['categories']]
    found: dict[int, list[dict[str, Any]]] = {}
    for one in json.loads((data / 'detections.json').read_text()):
        # As a model gives them, in float32.
        x, y, w, h = np.array(one['bbox'], dtype=np.float32).tolist()
        one.update(bbox=[x, y, w, h], score=float(np.float32(one['score'])))
        found.setdefault(one['image_id'], []).append(one)
    return truth, found, names


def _arrays(image: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    boxes = np.array([one['bbox'] for one in found], dtype=np.float64)
    boxes[:, 2:] += boxes[:, :2]
    return dict(
        img_id=image,
        bboxes=boxes,
        scores=np.array([one['score'] for one in found]),
        labels=np.array([one['category_id'] - 1 for one in found]),
    )


PROBES: dict[str, Callable[[Path, Path], None]] = {
    'pycocotools': _read_by_pycocotools,
    'annotations': _start_annotations('coco/dataset.yaml'),
    'check': _check('coco/dataset.yaml'),
    'training': _train('coco/dataset.yaml'),
    'config training': _train_as_config_says,
    'yolo annotations': _start_annotations('yolo/data.yaml'),
    'yolo check': _check('yolo/data.yaml'),
    'yolo training': _train('yolo/data.yaml'),
    'folders check': _check('folders/dataset.yaml'),
    'folders training': _train('folders/dataset.yaml', 'casvit_xs_light.py'),
    'masks check': _check('masks/dataset.yaml'),
    'masks training': _train('masks/dataset.yaml', 'segformer_casvit_xs_light.py'),
    'faster-coco-eval': _score_by_library,
    'AP': _score,
}


def measure(name: str, data: Path, ranks: int = 1) -> list[dict[str, Any]]:
    """Run a probe in a process of its own, or in one for each rank of a training.

    Args:
        name: Of :data:`PROBES`.
        data: What :func:`casvit_mm.benchmark.large_sets.write_sets` wrote.
        ranks: Processes of a training.

    Returns:
        What each process has told, by rank: ``seconds``, ``now``, ``peak`` and ``alone`` in GiB,
        and more.

    Raises:
        InputError: If it fails.
    """
    module = ['-m', 'casvit_mm.benchmark.set_costs', str(data), '--probe', name, '--work-dir']
    several = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={ranks}']
    command = [sys.executable, *(several if ranks > 1 else []), *module]
    with tempfile.TemporaryDirectory() as folder:  # of all ranks
        done = subprocess.run([*command, folder], capture_output=True, text=True)
    told = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if len(told) < ranks:
        raise InputError(f'{name} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}')
    found = [json.loads(line.removeprefix(_MARK)) for line in told]
    return sorted(found, key=lambda one: one.get('rank', 0))


def _row(name: str, found: dict[str, Any]) -> str:
    numbers = ''.join(
        f'{found[key]:10.2f}' if key in found else f'{"-":>10}'
        for key in ('seconds', 'now', 'peak', 'alone')
    )
    return f'{name:32s}{numbers}'


def _run_all(args: argparse.Namespace) -> None:
    report: dict[str, Any] = dict(host=facts('cpu', 1), figures={})
    print(f'{"":32s}{"CPU s":>10}{"GiB":>10}{"GiB peak":>10}{"GiB alone":>10}')
    sets = {'': args.data, **({', tiny': args.tiny} if args.tiny else {})}
    for name in args.only or PROBES:
        for suffix, data in sets.items() if 'training' in name else [('', args.data)]:
            ranks = args.ranks if 'training' in name else 1
            for number, found in enumerate(measure(name, Path(data), ranks)):
                title = f'{name}{suffix}' + (f', rank {number}' if ranks > 1 else '')
                report['figures'][title] = found
                print(_row(title, found), flush=True)
                for worker in found.get('workers', ()):
                    print(_row(f'{title}, worker', worker), flush=True)
    if args.out:
        write_json(args.out, report)


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', metavar='DIR', help='folder that large_sets has made')
    parser.add_argument('--tiny', metavar='DIR', help='another, small one, for the difference')
    parser.add_argument('--only', nargs='+', choices=PROBES, metavar='NAME', help='of these alone')
    parser.add_argument('--ranks', type=int, default=1, metavar='N', help='of a training')
    parser.add_argument('--out', metavar='FILE', help='JSON file to write')
    parser.add_argument('--probe', choices=PROBES, help=argparse.SUPPRESS)
    parser.add_argument('--work-dir', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.probe is None:
        _run_all(args)
        return
    PROBES[args.probe](Path(args.data), Path(args.work_dir))


if __name__ == '__main__':
    cli(main)
