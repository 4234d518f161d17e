"""Every cell of the table of docs/reference/commands.md is run on a tiny model and data."""

import json
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import pytest
from helpers import ROOT

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from export_models import write_model, write_photos
from prediction_runs import write_video

from casvit_mm import InputError, load
from casvit_mm.commands import JOBS
from casvit_mm.datasets.shapes import (
    CLASSES,
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)
from casvit_mm.engine import Recipe, Start, TrainOptions, evaluate, train
from casvit_mm.engine.browse import browse
from casvit_mm.engine.convert import convert_data
from casvit_mm.engine.cross_validation import cross_validate
from casvit_mm.engine.data_check import check_dataset
from casvit_mm.engine.packing import pack_data
from casvit_mm.export import export
from casvit_mm.prediction.files import predict
from casvit_mm.prediction.options import PredictOptions
from casvit_mm.visualization.run import visualize
from casvit_mm.weights.reading import class_names
from casvit_mm.weights.reading import load_file as load_checkpoint
from casvit_mm.zoo.card import CardFacts
from casvit_mm.zoo.publish import publish

PAGE = ROOT / 'docs/reference/commands.md'
TASKS = {
    'detection': ('retinanet', generate_shapes, CLASSES),
    'segmentation': ('segmentation', generate_shape_labels, ('ground', *CLASSES)),
    'classification': ('classification', generate_shape_classes, CLASSES),
}
LOADERS = {
    f'{split}_dataloader.{key}': value
    for split in ('train', 'val', 'test')
    for key, value in (('batch_size', 2), ('num_workers', 0), ('persistent_workers', False))
}
SHORT = {
    'detection': {'train_cfg.max_epochs': 1},
    'segmentation': {'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1},
    'classification': {'train_cfg.max_epochs': 1, 'train_dataloader.batch_sampler.sizes': [32]},
}


@dataclass
class Tiny:
    """A tiny model of a task, its data, and what the commands leave behind."""

    task: str
    folder: Path

    def __post_init__(self) -> None:
        kind, generate, classes = TASKS[self.task]
        self.data = generate(self.folder / 'data', sizes=(6, 2, 2), side=64, seed=1)
        self.config, self.checkpoint = write_model(self.folder, kind, classes)
        (self.folder / 'photos').mkdir()
        self.photos = write_photos(self.folder / 'photos')
        self.options = LOADERS | SHORT[self.task]

    def new(self) -> Path:
        """A folder that is not there."""
        return self.folder / f'out{len(list(self.folder.iterdir()))}'

    def train(self, **options) -> Path:
        """Train a step, and return the work dir."""
        out = self.new()
        given = dict(data=str(self.data), cfg_options=self.options) | options
        train(self.config, TrainOptions(work_dir=str(out), **given))
        return out

    @cached_property
    def finetuned(self) -> Path:
        """The work dir of a training on the data."""
        return self.train(start=Start(finetune=self.checkpoint))

    def evaluate(self, checkpoint: str | Path | None = None, **outputs) -> dict[str, float]:
        """Evaluate and return the metrics."""
        given = dict(work_dir=str(self.new()), cfg_options=LOADERS, data=str(self.data))
        return evaluate(self.config, str(checkpoint or self.checkpoint), **given, **outputs)

    def predict(self, source: Path, **options) -> dict:
        """Predict and return the content of the JSON."""
        given = dict(config=self.config, device='cpu', out_dir=str(self.new())) | options
        return predict(self.checkpoint, [str(source)], PredictOptions(**given)).read()

    @cached_property
    def evaluated(self) -> Path:
        """A folder with everything that an evaluation writes."""
        out = self.new()
        predictions = out / ('masks' if self.task == 'segmentation' else 'predictions.json')
        self.evaluate(
            out=str(out / 'metrics.json'),
            out_pred=str(predictions),
            show_dir=str(out / 'pictures'),
            analysis=str(out / 'analysis'),
        )
        return out

    @cached_property
    def exported(self) -> Path:
        """An ONNX file."""
        path = self.folder / 'model.onnx'
        export(None, self.checkpoint, format='onnx', out=str(path), images=str(self.photos))
        return path


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Callable[[str], Tiny]:
    made: dict[str, Tiny] = {}

    def of(task: str) -> Tiny:
        if task not in made:
            made[task] = Tiny(task, tmp_path_factory.mktemp(task))
        return made[task]

    return of


def check_data(tiny: Tiny) -> None:
    out = tiny.new()
    assert check_dataset(tiny.data, out)
    assert json.loads((out / 'report.json').read_text())['trainable']
    assert list(out.glob('samples_train.png'))


def check_config(tiny: Tiny) -> None:
    out = tiny.new()
    assert check_dataset(tiny.data, out, config=tiny.config, read_images=False)
    report = json.loads((out / 'report.json').read_text())
    assert report['config'] == tiny.config


def fix(tiny: Tiny) -> None:
    assert check_dataset(tiny.data, tiny.new(), fix=tiny.new())


def convert(tiny: Tiny) -> None:
    to = 'yolo' if tiny.task == 'classification' else 'coco'
    assert convert_data(tiny.data, to, tiny.new()).is_file()


def browse_data(tiny: Tiny) -> None:
    out = tiny.new()
    report = browse(tiny.config, data=str(tiny.data), count=1, copies=1, out=str(out))
    assert len(list(out.iterdir())) == 2
    assert len(report.lines()) > 3


def train_data(tiny: Tiny) -> None:
    (checkpoint, *_) = tiny.finetuned.glob('*.pth')
    assert class_names(load_checkpoint(checkpoint)) == TASKS[tiny.task][2]


def finetune(tiny: Tiny) -> None:
    (log,) = tiny.finetuned.glob('*/*.log')
    assert 'entries kept; it has the same' in log.read_text()


def epochs(tiny: Tiny) -> None:
    options = {key: value for key, value in tiny.options.items() if key != 'train_cfg.max_epochs'}
    scratch = Start(from_scratch=True)
    out = tiny.train(recipe=Recipe(epochs=1), cfg_options=options, start=scratch, profile_data=1)
    (log,) = out.rglob('*.log')
    assert re.search(r'the schedule of \d+ epochs is rescaled to 1', log.read_text())


def batch_and_patience(tiny: Tiny) -> None:
    options = {key: value for key, value in tiny.options.items() if not key.endswith('batch_size')}
    options['auto_scale_lr.base_batch_size'] = 4
    score = dict(detection='coco/bbox_mAP', segmentation='mIoU', classification='accuracy/top1')
    options['default_hooks.checkpoint.save_best'] = score[tiny.task]
    recipe = Recipe(batch=2, early_stop=1)
    out = tiny.train(recipe=recipe, cfg_options=options, start=Start(from_scratch=True))
    (log,) = out.glob('*/*.log')
    text = log.read_text()
    assert '2 images per step of the optimizer' in text
    assert f'1 validations without a better {score[tiny.task]}' in text


def profile(tiny: Tiny) -> None:
    out = tiny.train(start=Start(from_scratch=True), profile_data=1)
    assert (out / 'profile').is_dir()
    assert not list(out.rglob('*.pth'))


def packed(tiny: Tiny) -> None:
    pytest.importorskip('lmdb')
    from casvit_mm.datasets.packed import PackedBackend

    pack = tiny.new()
    pack_data(tiny.config, pack, str(tiny.data))
    with patch.object(PackedBackend, 'get', autospec=True, side_effect=PackedBackend.get) as get:
        tiny.train(start=Start(from_scratch=True), packed=str(pack))
    kinds = {Path(call.args[1]).parent.name for call in get.call_args_list}
    assert len(kinds) == {'detection': 1, 'segmentation': 2}.get(tiny.task, len(CLASSES))


def folds(tiny: Tiny) -> None:
    text = re.sub(r'^(val|test):.*\n', '', tiny.data.read_text(), flags=re.M)
    path = tiny.data.with_name('folds.yaml')
    path.write_text(text.replace('train:', 'data:') + 'split: {folds: 2}\n')
    out = tiny.new()
    options = TrainOptions(cfg_options=tiny.options, start=Start(from_scratch=True))
    cross_validate(tiny.config, str(path), 2, work_dir=str(out), options=options)
    assert (out / 'summary.json').is_file()


def out_pred(tiny: Tiny) -> None:
    found = [path for path in tiny.evaluated.glob('*') if path.name.startswith(('masks', 'pred'))]
    assert found
    assert not found[0].is_dir() or len(list(found[0].rglob('*.png'))) == 2


def show_dir(tiny: Tiny) -> None:
    assert len(list((tiny.evaluated / 'pictures').rglob('*.png'))) == 2


def analysis(tiny: Tiny) -> None:
    folder = tiny.evaluated / 'analysis'
    assert (folder / 'analysis.json').is_file()
    assert (folder / 'confusion_matrix.png').is_file()


def evaluate_alone(tiny: Tiny) -> None:
    given = dict(data=str(tiny.data), cfg_options=LOADERS)
    metrics = evaluate(None, tiny.checkpoint, work_dir=str(tiny.new()), **given)
    expected = tiny.evaluate()
    assert metrics.keys() & expected.keys()
    for name in metrics.keys() & expected.keys():
        assert metrics[name] == pytest.approx(expected[name], nan_ok=True), name


def out(tiny: Tiny) -> None:
    assert json.loads((tiny.evaluated / 'metrics.json').read_text())['checkpoint']


def tile(tiny: Tiny) -> None:
    assert tiny.evaluate(tile=64)


def predict_tiles(tiny: Tiny) -> None:
    assert len(tiny.predict(tiny.photos, tile=64)['images']) == 3


def export_file(tiny: Tiny) -> None:
    assert tiny.exported.is_file()


def evaluate_file(tiny: Tiny) -> None:
    assert tiny.evaluate(tiny.exported)


def predict_photos(tiny: Tiny) -> None:
    out = tiny.new()
    assert len(tiny.predict(tiny.photos, out_dir=str(out))['images']) == 3
    written = {path.name for path in out.iterdir()}
    more = dict(segmentation={'labels'}, classification={'predictions.csv', 'sheets'})
    assert written >= {'predictions.json', *more.get(tiny.task, {'pictures'})}


def label_photos(tiny: Tiny) -> None:
    out = tiny.new()
    tiny.predict(tiny.photos, out_dir=str(out), pictures=False, labels='label-studio')
    tasks = json.loads((out / 'label-studio/train.json').read_text())
    assert len(tasks) == 3
    assert all('predictions' in task for task in tasks)


def load_model(tiny: Tiny) -> None:
    (checkpoint, *_) = tiny.finetuned.glob('*.pth')
    assert load(str(checkpoint), device='cpu')(str(tiny.photos / '0.png')) is not None


def publish_file(tiny: Tiny) -> None:
    published = publish(tiny.checkpoint, tiny.new())
    assert published.classes == TASKS[tiny.task][2]
    assert tiny.evaluate(published.path)


def publish_card(tiny: Tiny) -> None:
    facts = CardFacts(metrics=tiny.evaluated / 'metrics.json')
    card = publish(tiny.checkpoint, f'{tiny.new()}/', card=facts).card
    assert card is not None
    text = card.read_text()
    overall = dict(detection='box AP', segmentation='mIoU', classification='top-1')[tiny.task]
    assert re.search(rf'^\| {overall} \| [\d.-]+ \|$', text, re.MULTILINE)
    for name in TASKS[tiny.task][2]:
        assert re.search(rf'^\| {name} \|( [\d.-]+ \|){{2,}}$', text, re.MULTILINE)


def draw(tiny: Tiny) -> None:
    photos, out = [str(tiny.photos / '0.png')], str(tiny.new())
    assert visualize(None, tiny.checkpoint, photos, out_dir=out, device='cpu')


def track(tiny: Tiny) -> None:
    if tiny.task == 'detection':
        pytest.importorskip('trackers')
    video = write_video(tiny.folder / 'clip.avi', 2)
    (found,) = tiny.predict(video, pictures=False, track='bytetrack')['videos']
    assert len(found['frames']) == 2


def answer(tiny: Tiny) -> None:
    pytest.importorskip('fastapi')
    from fastapi.testclient import TestClient

    from casvit_mm.serving.app import create_app

    body = (tiny.photos / '0.png').read_bytes()
    kind = {'Content-Type': 'image/png'}
    with TestClient(create_app(load(tiny.checkpoint, device='cpu'))) as client:
        assert client.post('/predict', content=body, headers=kind).status_code == 200


# By the command as the page has it.
CHECKS: dict[str, Callable[[Tiny], None]] = {
    'casvit-mm check-data YAML': check_data,
    'casvit-mm check-data YAML --config CONFIG': check_config,
    'casvit-mm check-data YAML --fix DIR': fix,
    'casvit-mm convert-data YAML OUT --to FORMAT': convert,
    'casvit-mm browse-data CONFIG --data YAML': browse_data,
    'casvit-mm train CONFIG --data YAML': train_data,
    'casvit-mm train CONFIG --finetune CKPT': finetune,
    'casvit-mm train CONFIG --epochs N': epochs,
    'casvit-mm train CONFIG --batch N --early-stop N': batch_and_patience,
    'casvit-mm train CONFIG --profile-data': profile,
    'casvit-mm train CONFIG --packed DIR': packed,
    'casvit-mm cross-validate CONFIG --data YAML --folds N': folds,
    'casvit-mm test CKPT --data YAML': evaluate_alone,
    'casvit-mm test CONFIG CKPT --out JSON': out,
    'casvit-mm test CONFIG CKPT --out-pred PATH': out_pred,
    'casvit-mm test CONFIG CKPT --show-dir DIR': show_dir,
    'casvit-mm test CONFIG CKPT --analysis DIR': analysis,
    'casvit-mm test CONFIG CKPT --tile PX': tile,
    'casvit-mm test CONFIG FILE.onnx': evaluate_file,
    'casvit-mm export CKPT --format FORMAT': export_file,
    'casvit-mm predict CONFIG CKPT PHOTOS': predict_photos,
    'casvit-mm predict CONFIG CKPT PHOTOS --labels FORMAT': label_photos,
    'casvit-mm predict CKPT VIDEO --track': track,
    'casvit-mm predict CONFIG CKPT PHOTOS --tile PX': predict_tiles,
    'casvit_mm.load(CKPT)': load_model,
    'casvit-mm serve MODEL': answer,
    'casvit-mm visualize CKPT PHOTOS': draw,
    'casvit-mm publish-weights CKPT': publish_file,
    'casvit-mm publish-weights CKPT --card --metrics JSON': publish_card,
}
SLOW = (
    'casvit-mm cross-validate CONFIG --data YAML --folds N',  # two trainings per cell
    'casvit-mm train CONFIG --epochs N',  # also by tests/engine/test_schedule.py and test_recipe.py
    'casvit-mm train CONFIG --batch N --early-stop N',
    'casvit-mm train CONFIG --packed DIR',  # quickly by tests/datasets/test_packed.py
)


def read_cells() -> dict[tuple[str, str], str]:
    """Return the cells of the table, by command and task."""
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in PAGE.read_text().splitlines()
        if line.startswith('|')
    ]
    titles, _, *rows = rows
    assert titles == ['command', *TASKS]
    return {(row[0].strip('`'), task): cell for row in rows for task, cell in zip(TASKS, row[1:])}


CELLS = read_cells()


def test_every_row_has_a_check_and_names_a_tool_with_its_options():
    assert {command for command, _ in CELLS} == set(CHECKS)
    for command in CHECKS:
        if command.startswith('casvit_mm'):
            assert callable(pkgutil.resolve_name(command.partition('(')[0]))
            continue
        tool, *words = command.removeprefix('casvit-mm ').split()
        job = tool.replace('-', '_')
        assert job in JOBS
        text = (ROOT / f'casvit_mm/commands/{job}.py').read_text()
        assert all(f"'{word}'" in text for word in words if word.startswith('--')), command


def test_no_cell_is_empty_and_every_no_has_a_reason():
    assert all(len(cell) > 3 for cell in CELLS.values())
    assert all(len(cell) > 8 for cell in CELLS.values() if cell.startswith('no'))


@pytest.mark.parametrize(
    ('command', 'task'),
    [
        pytest.param(*key, marks=[pytest.mark.slow] * (key[0] in SLOW), id=f'{key[1]}-{key[0]}')
        for key in CELLS
    ],
)
def test_the_command_does_what_the_cell_says(tiny, command, task):
    cell = CELLS[command, task]
    if not cell.startswith('no:'):
        CHECKS[command](tiny(task))
        return
    with pytest.raises(InputError):
        CHECKS[command](tiny(task))
