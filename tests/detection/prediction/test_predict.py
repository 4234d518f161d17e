"""Prediction on files: pixels as in training, nothing lost, nothing overwritten."""

import json
import resource
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT, TINY_ARCH, randomize_norms, run_command
from PIL import Image

pytest.importorskip('mmdet')
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from pycocotools import mask as rle

from casvit_mm import InputError
from casvit_mm.config.editing import set_num_classes
from casvit_mm.datasets.images import read_image
from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.datasets.videos import VideoReader
from casvit_mm.detection.prediction.drawing import draw_detections
from casvit_mm.detection.prediction.files import predict
from casvit_mm.detection.prediction.predictor import Predictor
from casvit_mm.engine import evaluate


@pytest.fixture(scope='module')
def model(tmp_path_factory, pixels):
    """A config and an untrained checkpoint: arbitrary boxes, with class names of a user's data."""
    folder = tmp_path_factory.mktemp('model')
    config = folder / 'tiny.py'
    config.write_text(
        f"""_base_ = {str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH})),
    neck=dict(in_channels={list(TINY_ARCH['embed_dims'])}),
)
"""
    )
    cfg = Config.fromfile(config)
    set_num_classes(cfg, len(CLASSES))
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmdet')
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model)
    randomize_norms(detector)
    meta = dict(dataset_meta=dict(classes=list(CLASSES)))
    path = str(folder / 'tiny.pth')
    torch.save(dict(state_dict=detector.state_dict(), meta=meta), path)
    spread_scores(Predictor(config, path, device='cpu'), pixels, detector)
    torch.save(dict(state_dict=detector.state_dict(), meta=meta), path)
    return str(config), path


def spread_scores(predictor, pixels, detector):
    """Set the classifier of ``detector`` so that classes and scores differ between boxes."""
    features = []
    classifier = predictor._model.roi_head.bbox_head.fc_cls
    classifier.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    predictor(pixels)
    mean, std = features[0].mean(0), features[0].std(0)
    weight = torch.randn(4, len(mean)) / (std.norm() / 2)
    target = detector.roi_head.bbox_head.fc_cls
    target.weight.data.copy_(weight)
    target.bias.data.copy_(-weight @ mean)


@pytest.fixture(scope='module')
def predictor(model):
    return Predictor(*model, score_thr=0.05, device='cpu')


@pytest.fixture(scope='module')
def pixels(shapes):
    """RGB pixels (H, W, 3) of one generated image, cut so that it is not square."""
    return np.asarray(Image.open(shapes.parent / 'test/0001.png'))[:48]


def run(model, inputs, out_dir, **options):
    options = dict(score_thr=0.05, device='cpu', out_dir=str(out_dir)) | options
    return predict(*model, [str(path) for path in inputs], **options)


def write_video(path, num_frames, fourcc='MJPG', size=(64, 48)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 10, size)
    for i in range(num_frames):
        writer.write(np.full((size[1], size[0], 3), 20 * i % 256, np.uint8))
    writer.release()
    return path


def test_objects_are_those_of_the_evaluation_route(model, shapes, tmp_path):
    config, checkpoint = model
    evaluate(
        config,
        checkpoint,
        data=str(shapes),
        work_dir=str(tmp_path / 'test'),
        cfg_options={
            'test_evaluator.outfile_prefix': str(tmp_path / 'pred'),
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            'env_cfg.mp_cfg.mp_start_method': 'fork',
        },
    )
    truth = json.loads(shapes.with_name('test.json').read_text())
    names = {category['id']: category['name'] for category in truth['categories']}
    expected = json.loads((tmp_path / 'pred.segm.json').read_text())
    boxes = json.loads((tmp_path / 'pred.bbox.json').read_text())
    result = run(model, [shapes.parent / 'test'], tmp_path / 'out', batch_size=3, max_dets=100)
    assert len(expected) == sum(len(entry['objects']) for entry in result['images']) > 0
    for image, entry in zip(truth['images'], result['images']):
        ours = entry['objects']
        theirs = [(m, b) for m, b in zip(expected, boxes) if m['image_id'] == image['id']]
        theirs.sort(key=lambda pair: -pair[0]['score'])
        assert [o['class'] for o in ours] == [names[m['category_id']] for m, _ in theirs]
        scores = [m['score'] for m, _ in theirs]
        np.testing.assert_allclose([o['score'] for o in ours], scores, atol=2e-5)
        np.testing.assert_allclose(
            [o['bbox'] for o in ours], [b['bbox'] for _, b in theirs], atol=0.02
        )
        assert [o['segmentation'] for o in ours] == [m['segmentation'] for m, _ in theirs]


def test_heads_follow_from_the_classes_of_the_checkpoint(model, predictor):
    assert Config.fromfile(model[0]).model.roi_head.bbox_head.num_classes == 80
    assert predictor.classes == CLASSES


def test_a_config_from_a_work_dir_needs_neither_data_nor_pretrained_weights(
    model, predictor, pixels, tmp_path
):
    cfg = Config.fromfile(model[0])
    cfg.test_dataloader.dataset.update(
        type='NamedCocoDataset', ann_file='/gone/a.json', metainfo=dict(classes=CLASSES)
    )
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='/gone/w.pth')
    cfg.dump(tmp_path / 'copied.py')
    copied = Predictor(tmp_path / 'copied.py', model[1], score_thr=0.05, device='cpu')
    assert copied(pixels) == predictor(pixels)


def test_a_detector_without_masks_gives_boxes(pixels, tmp_path):
    (tmp_path / 'retina.py').write_text(
        f"""_base_ = {str(ROOT / 'configs/retinanet_casvit_xs_coco.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH})),
    neck=dict(in_channels={list(TINY_ARCH['embed_dims'][1:])}),
)
"""
    )
    cfg = Config.fromfile(tmp_path / 'retina.py')
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmdet')
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'retina.pth')
    small = {'test_dataloader.dataset.pipeline.1.scale': (64, 64)}
    retina = Predictor(
        tmp_path / 'retina.py',
        tmp_path / 'retina.pth',
        score_thr=0.0,
        device='cpu',
        cfg_options=small,
    )
    objects = retina(pixels)
    assert len(objects) == retina.max_dets == 100
    assert set(objects[0]) == {'class', 'score', 'bbox'}
    assert objects[0]['class'] in retina.classes
    assert len(retina.classes) == 80


def test_the_threshold_replaces_the_configs(model, pixels):
    counts = [
        len(Predictor(*model, score_thr=score_thr, max_dets=300, device='cpu')(pixels))
        for score_thr in (0.0, 0.05, 0.5)  # 0.05 is the config's
    ]
    assert counts[0] > counts[1] > counts[2] > 0


def test_reaching_the_limit_of_objects_is_said(model, pixels, tmp_path, capsys):
    path = save(pixels, tmp_path / 'a.png')
    run(model, [path], tmp_path / 'out', score_thr=0.5)
    assert '1 picture reached the 20 objects' in capsys.readouterr().out
    result = run(model, [path], tmp_path / 'out', score_thr=0.5, max_dets=100)
    assert len(result['images'][0]['objects']) > 20
    assert 'reached' not in capsys.readouterr().out


def test_objects_do_not_depend_on_the_batch(predictor, pixels):
    images = [pixels, pixels[::-1].copy(), pixels[:, :40].copy(), pixels]
    alone = [predictor(image) for image in images]
    together = [found for *_, found in predictor.stream(enumerate(images), batch_size=4)]
    for ours, theirs in zip(together, alone):
        assert [o['class'] for o in ours] == [o['class'] for o in theirs]
        np.testing.assert_allclose(
            [o['bbox'] for o in ours], [o['bbox'] for o in theirs], atol=0.02
        )


@pytest.mark.parametrize('size', [(1, 1), (1000, 3), (3, 1000), (1, 700), (37, 5)])
def test_any_size_goes_through(predictor, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for found in predictor(image):
        x, y, w, h = found['bbox']
        assert x >= 0 <= y
        assert x + w <= size[1] + 0.01
        assert y + h <= size[0] + 0.01
        assert found['segmentation']['size'] == list(size)
    assert draw_detections(image, predictor(image), CLASSES).ndim == 3


def save(image, path, **options):
    Image.fromarray(image).save(path, **options)
    return path


def test_unused_high_bits_are_noticed(model, pixels, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'dim.tif'), pixels.astype(np.uint16) * 16)
    cv2.imwrite(str(tmp_path / 'full.tif'), pixels.astype(np.uint16) * 257)
    save(pixels // 8, tmp_path / 'night.png')
    result = run(model, [tmp_path], tmp_path / 'out')
    marked = [Path(e['file']).name for e in result['images'] if e.get('upper_bits_unused')]
    assert marked == ['dim.tif']
    assert '1 image (first' in capsys.readouterr().out


def test_folders_are_searched_and_other_files_counted(model, pixels, tmp_path, capsys):
    (tmp_path / 'in/deep').mkdir(parents=True)
    save(pixels, tmp_path / 'in/a.JPG')
    save(pixels, tmp_path / 'in/deep/b.png')
    save(pixels, tmp_path / 'in/.hidden.png')
    (tmp_path / 'in/notes.txt').write_text('no image')
    write_video(tmp_path / 'in/clip.avi', 2)
    result = run(model, [tmp_path / 'in'], tmp_path / 'out')
    assert [e['picture'] for e in result['images']] == ['pictures/a.JPG.png', 'pictures/deep/b.png']
    assert result['skipped_files'] == 2
    assert '2 other files in the folders skipped' in capsys.readouterr().out


def test_inputs_of_one_name_get_a_picture_each(model, pixels, tmp_path):
    names = ['x/a.png', 'x/a.jpg', 'x/a.jpg.png', 'y/a.png']
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(pixels, tmp_path / name)
    result = run(model, [tmp_path / name for name in names], tmp_path / 'out')
    pictures = [e['picture'] for e in result['images']]
    assert pictures[0] == 'pictures/x/a.png'
    assert len(set(pictures)) == 4
    assert all((tmp_path / 'out' / picture).is_file() for picture in pictures)


def test_earlier_results_inside_the_input_folder_are_no_input(model, pixels, tmp_path):
    save(pixels, tmp_path / 'a.png')
    for _ in range(2):
        result = run(model, [tmp_path], tmp_path / 'out')
        assert len(result['images']) == 1
    with pytest.raises(InputError, match=r'lies where results .*Name another --out-dir'):
        run(model, [tmp_path / 'out/pictures/a.png'], tmp_path / 'out')


def test_inputs_stay_as_they_are(model, pixels, tmp_path):
    path = save(pixels, tmp_path / 'a.png')
    before = path.read_bytes()
    run(model, [path], tmp_path)  # results beside it
    assert path.read_bytes() == before


def test_json_and_pictures_say_the_same_as_the_returned_result(model, pixels, tmp_path):
    result = run(model, [save(pixels, tmp_path / 'a.png')], tmp_path / 'out')
    assert json.loads((tmp_path / 'out/predictions.json').read_text()) == result
    (entry,) = result['images']
    assert (entry['width'], entry['height']) == (64, 48)
    found = entry['objects'][0]
    assert set(found) == {'class', 'score', 'bbox', 'segmentation'}
    assert rle.decode(found['segmentation']).shape == (48, 64)
    drawn = cv2.imread(str(tmp_path / 'out/pictures/a.png'))
    expected = draw_detections(read_image(tmp_path / 'a.png'), entry['objects'], CLASSES)
    np.testing.assert_array_equal(drawn, expected)


def test_no_pictures_writes_json_only(model, pixels, tmp_path):
    path = save(pixels, tmp_path / 'a.png')
    video = write_video(tmp_path / 'clip.avi', 2)
    run(model, [path, video], tmp_path / 'out', pictures=False)
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['predictions.json']


def test_every_frame_of_a_video_is_done_and_timed(model, tmp_path):
    video = write_video(tmp_path / 'clip.avi', 7)
    (entry,) = run(model, [video], tmp_path / 'out', batch_size=3)['videos']
    assert entry['video'] == 'videos/clip.avi.mp4'
    assert [f['frame'] for f in entry['frames']] == list(range(7))
    assert [f['time'] for f in entry['frames']] == pytest.approx([i / 10 for i in range(7)])
    assert (entry['fps'], entry['width'], entry['height']) == (10, 64, 48)
    assert VideoReader(tmp_path / 'out' / entry['video']).num_frames == 7


def test_frames_can_be_left_out(model, tmp_path):
    video = write_video(tmp_path / 'clip.avi', 9)
    (entry,) = run(model, [video], tmp_path / 'out', every=2, max_frames=3)['videos']
    assert [f['frame'] for f in entry['frames']] == [0, 2, 4]
    annotated = VideoReader(tmp_path / 'out' / entry['video'])
    assert (annotated.num_frames, annotated.fps) == (3, 5)


def damage(kind, pixels, folder):
    """Write a file that cannot be read and return it."""
    path = folder / {'text': 'a.png', 'no frames': 'a.avi', 'cut video': 'a.mp4'}.get(kind, 'a.jpg')
    if kind == 'text':
        path.write_text('not an image')
    elif kind in ('empty', 'no frames'):
        path.write_bytes(b'')
    elif kind == 'cut video':
        write_video(path, 5, 'mp4v')
        path.write_bytes(path.read_bytes()[:-200])
    else:
        save(pixels, path)
        path.write_bytes(path.read_bytes()[: -1 if kind == 'last byte' else 900])
    return path


@pytest.mark.parametrize(
    ('kind', 'reason'),
    [
        ('text', 'cannot be decoded'),
        ('empty', r'is empty \(0 bytes\)'),
        ('cut', r'\(900 bytes\) cannot be decoded: it is cut short'),
        ('last byte', 'cut short'),
        ('no frames', 'cannot be opened as a video'),
        ('cut video', 'cannot be opened as a video'),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_and_the_rest_done(
    model, pixels, tmp_path, capsys, kind, reason
):
    bad = damage(kind, pixels, tmp_path)
    good = [save(pixels, tmp_path / name) for name in ('0.png', 'z.png')]
    result = run(model, [good[0], bad, good[1]], tmp_path / 'out')
    assert [entry['file'] for entry in result['images']] == [str(path) for path in good]
    (failed,) = result['unreadable']
    assert failed['file'] == str(bad)
    with pytest.raises(InputError, match=reason):
        raise InputError(failed['reason'])
    printed = capsys.readouterr().out
    assert '1 file not read' in printed
    assert failed['reason'] in printed


def test_a_video_cut_short_keeps_the_frames_it_has(model, tmp_path):
    video = write_video(tmp_path / 'clip.avi', 40)
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    result = run(model, [video], tmp_path / 'out', pictures=False)
    (entry,), (failed,) = result['videos'], result['unreadable']
    assert 5 < len(entry['frames']) < 30
    assert f'ends after {len(entry["frames"])} of 40 frames' in failed['reason']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(inputs=['gone.jpg']), r'input gone\.jpg does not exist'),
        (dict(inputs=['empty']), r'folder empty holds no image \(1 other files\)'),
        (dict(config='gone.py'), r'config gone\.py does not exist'),
        (dict(checkpoint='gone.pth'), r"'gone\.pth' does not exist"),
        (dict(score_thr=30), '--score-thr must be from 0 to 1'),
        (dict(batch_size=0), '--batch-size must be at least 1'),
        (dict(max_dets=0), '--max-dets must be at least 1'),
        (dict(every=0), '--every must be at least 1'),
        (dict(max_frames=0), '--max-frames must be at least 1'),
        (dict(device='gpu'), "--device 'gpu' is unknown"),
        (dict(device='cuda:99'), r'--device cuda:99: torch finds \d+ GPU'),
        (dict(out_dir='a.png'), r'results cannot be written to a\.png'),
        (dict(cfg_options={'model.backbone.drop_pat': 0}), "no argument 'drop_pat'"),
    ],
)
def test_bad_input_is_refused(model, pixels, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    save(pixels, tmp_path / 'a.png')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty/notes.txt').write_text('')
    arguments = dict(
        config=model[0], checkpoint=model[1], inputs=['a.png'], out_dir='out', device='cpu'
    )
    with pytest.raises(InputError, match=message):
        predict(**(arguments | options))
    assert not (tmp_path / 'out/predictions.json').exists()


def edited_checkpoint(model, path, change):
    content = torch.load(model[1], weights_only=True)
    change(content)
    torch.save(content, path)
    return str(path)


def test_a_checkpoint_of_another_model_is_refused(model, tmp_path):
    path = edited_checkpoint(
        model, tmp_path / 'c.pth', lambda c: c['state_dict'].pop('neck.fpn_convs.0.conv.weight')
    )
    with pytest.raises(InputError, match=r'(?s)\d+/\d+ keys matched.*missing: neck\.fpn_convs\.0'):
        Predictor(model[0], path)


def test_a_checkpoint_without_class_names_takes_the_configs_and_says_so(
    model, pixels, tmp_path, capsys
):
    path = edited_checkpoint(model, tmp_path / 'c.pth', lambda c: c.pop('meta'))
    named = {'test_dataloader.dataset.metainfo': dict(classes=['A', 'B', 'C'])}
    image = save(pixels, tmp_path / 'a.png')
    run((model[0], path), [image], tmp_path / 'out', cfg_options=named)
    assert 'holds no class names; the 3 of' in capsys.readouterr().out
    with pytest.raises(InputError, match=r'(?s)shape: .*holds no class names; the 80 of'):
        Predictor(model[0], path)  # COCO's, which do not fit


def test_a_pipeline_that_reads_images_in_its_own_way_is_refused(model):
    options = {'test_dataloader.dataset.pipeline.0.color_type': 'grayscale'}
    with pytest.raises(InputError, match=r"'grayscale'.*color_type='color' only"):
        Predictor(*model, cfg_options=options)


@pytest.mark.skipif(sys.platform == 'win32', reason='needs a limit on file sizes')
@pytest.mark.parametrize('kind', ['json', 'picture', 'video'])
def test_a_full_disk_ends_with_a_message_and_the_old_json(
    model, predictor, pixels, tmp_path, monkeypatch, kind
):
    inputs = [save(pixels, tmp_path / 'a.png')]
    if kind == 'video':
        inputs = [write_video(tmp_path / 'clip.avi', 30)]
    old = tmp_path / 'out/predictions.json'
    old.parent.mkdir()
    old.write_text('{"old": true}')
    monkeypatch.setattr(
        'casvit_mm.detection.prediction.files.Predictor', lambda *_, **__: predictor
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(InputError, match=r'left as it was|is as it was before'):
            run(model, inputs, tmp_path / 'out', pictures=kind != 'json')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert old.read_text() == '{"old": true}'


def objects_at(*boxes):
    return [{'class': name, 'score': 0.9, 'bbox': list(box)} for name, box in zip(CLASSES, boxes)]


def test_small_images_are_enlarged_and_frames_of_one_size_stay_so():
    image = np.zeros((48, 64, 3), np.uint8)
    empty = draw_detections(image, [], CLASSES)
    full = draw_detections(image, objects_at((0, 0, 9, 9), (30, 30, 5, 5)), CLASSES)
    assert empty.shape == full.shape
    assert empty.shape[1] == 640
    assert image.max() == 0


def test_labels_do_not_hide_small_neighbours():
    image = np.zeros((600, 800, 3), np.uint8)
    target = objects_at((400, 300, 12, 12))
    crowd = [
        {**target[0], 'bbox': [370 + 20 * i, 278 + 13 * j, 10, 10]}
        for i in range(5)
        for j in range(5)
    ]
    drawn = draw_detections(image, crowd, CLASSES)
    # Filled labels would paint the inside of the boxes; only their lines may.
    for found in crowd[6:9]:
        x, y, w, h = map(int, found['bbox'])
        assert drawn[y + 3 : y + h - 3, x + 3 : x + w - 3].max() == 0


def test_every_class_has_a_colour_of_its_own():
    names = [str(i) for i in range(80)]
    corners = [(80 * (i % 10) + 5, 80 * (i // 10) + 25) for i in range(80)]
    objects = [
        {'class': name, 'score': 1.0, 'bbox': [x, y, 50, 40]}
        for name, (x, y) in zip(names, corners)
    ]
    drawn = draw_detections(np.zeros((680, 800, 3), np.uint8), objects, names)
    assert len({tuple(drawn[y + 20, x]) for x, y in corners} - {(0, 0, 0)}) == 80


def test_the_command_line_works_as_documented(model, pixels, tmp_path):
    image = save(pixels, tmp_path / 'a.png')
    options = ('--out-dir', tmp_path / 'out', '--score-thr', 0.05, '--device', 'cpu')
    result = run_command(sys.executable, 'tools/predict.py', *model, image, *options)
    assert result.returncode == 0, result.stderr
    for text in ('20 objects scored 0.05 or more in 1 image:', 'img/s on cpu', 'predictions.json'):
        assert text in result.stdout


@pytest.mark.parametrize(('name', 'status'), [('empty.png', 1), ('gone.png', 2)])
def test_the_status_tells_what_went_wrong(model, tmp_path, monkeypatch, capsys, name, status):
    (tmp_path / 'empty.png').write_bytes(b'')
    monkeypatch.setattr(
        sys,
        'argv',
        ['predict.py', *model, str(tmp_path / name), '--out-dir', str(tmp_path / 'out')],
    )
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / 'tools/predict.py'), run_name='__main__')
    assert caught.value.code == status
    assert name in ''.join(capsys.readouterr())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_finds_what_the_cpu_finds(model, predictor, pixels):
    ours = Predictor(*model, score_thr=0.05)(pixels)
    theirs = predictor(pixels)
    np.testing.assert_allclose([o['score'] for o in ours], [o['score'] for o in theirs], atol=1e-3)
