"""What an evaluation of a detector writes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import ROOT

pytest.importorskip('mmdet')
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image

from casvit_mm import InputError
from casvit_mm.engine import evaluate, evaluation

CONFIG = str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """An untrained Mask R-CNN for the shapes, which detects something everywhere."""
    cfg = Config.fromfile(CONFIG)
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = 3
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    path = tmp_path_factory.mktemp('untrained') / 'c.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


@pytest.fixture
def untrained(checkpoint, shapes, tmp_path):
    """Arguments of an evaluation of the shapes in this process."""
    options = {
        f'{split}_dataloader.{key}': value
        for split in ('val', 'test')
        for key, value in dict(num_workers=0, persistent_workers=False).items()
    }
    return dict(
        config=CONFIG,
        checkpoint=checkpoint,
        data=str(shapes),
        work_dir=str(tmp_path / 'work'),
        cfg_options=options,
    )


def test_an_evaluation_writes_everything_it_is_asked_for(untrained, tmp_path, capsys):
    figures = evaluate(
        **untrained,
        out=str(tmp_path / 'f.json'),
        out_pred=str(tmp_path / 'p.json'),
        analysis=str(tmp_path / 'errors'),
    )
    written = json.loads((tmp_path / 'f.json').read_text())
    assert set(figures) < set(written)
    assert {'coco/bbox_AP_s/circle', 'coco/segm_AR@100/square', 'coco/objects/circle'} <= set(
        written
    )
    boxes = json.loads((tmp_path / 'p.json').read_text())
    masks = json.loads((tmp_path / 'p.segm.json').read_text())
    assert len(boxes) == len(masks) > 0
    assert {box['category_id'] for box in boxes} <= {1, 2, 3}
    pictures = {path.name for path in (tmp_path / 'errors').glob('*.png')}
    assert {'precision_recall_mask.png', 'confusion_matrix.png', 'worst_01.png'} <= pictures
    assert 'Main error: ' in capsys.readouterr().out


def test_pictures_of_images_of_one_name_have_the_folders_of_their_images(
    untrained, shapes, tmp_path, capsys
):
    data = Path(shutil.copytree(shapes.parent, tmp_path / 'data'))
    content = json.loads((data / 'test.json').read_text())
    for folder, image in zip('abcd', content['images'], strict=True):
        (data / 'test' / folder).mkdir()
        (data / 'test' / image['file_name']).rename(data / f'test/{folder}/x.png')
        image['file_name'] = f'{folder}/x.png'
    (data / 'test.json').write_text(json.dumps(content))
    arguments = untrained | dict(data=str(data / 'dataset.yaml'))
    evaluate(**arguments, show_dir=str(tmp_path / 'pictures'), out=str(tmp_path / 'm.json'))
    told = f'Metrics: {tmp_path}/m.json\nPictures of every image: {tmp_path}/pictures\n\nnext:'
    assert told in capsys.readouterr().out
    found = sorted(tmp_path.glob('pictures/*/*.png'))
    assert [path.parent.name for path in found] == list('abcd')
    # Truth and prediction, each enlarged to 640 px, and a gap.
    assert all(Image.open(path).width == 2 * 640 + 8 for path in found)


def test_a_full_disk_costs_neither_the_figures_nor_the_other_results(untrained, tmp_path, capsys):
    (tmp_path / 'f.json.part').symlink_to('/dev/full')
    with pytest.raises(InputError, match=r'f\.json: No space left on device'):
        evaluate(**untrained, out=str(tmp_path / 'f.json'), out_pred=str(tmp_path / 'p.json'))
    assert 'box, per class' in capsys.readouterr().out
    assert json.loads((tmp_path / 'p.json').read_text())


@pytest.mark.parametrize('option', ['out', 'out_pred', 'analysis', 'show_dir'])
def test_a_place_that_cannot_be_written_ends_before_the_evaluation(
    untrained, option, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation, 'build_runner', lambda *_: pytest.fail('it started'))
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=f'--{option.replace("_", "-")} .* cannot be written'):
        evaluate(**untrained, **{option: str(tmp_path / 'file/x')})


def test_predictions_of_another_metric_are_refused(untrained, tmp_path):
    untrained['cfg_options'] |= {
        'test_evaluator.type': 'CocoMetric',
        'test_evaluator.iou_thrs': [0.5],
    }
    with pytest.raises(InputError, match=r"need test_evaluator\.type=CocoAP; .* has 'CocoMetric'"):
        evaluate(**untrained, out_pred=str(tmp_path / 'p.json'))
