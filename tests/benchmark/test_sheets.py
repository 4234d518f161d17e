"""Large images put together from small ones, with their truth."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from casvit_mm import InputError
from casvit_mm.benchmark.sheets import main, write_sheets

BOX = dict(category_id=2, bbox=[1.0, 2.0, 4.0, 3.0], area=12.0)
MASK = np.zeros((16, 24), np.uint8, order='F')
MASK[3:6, 10:20] = 1


@pytest.fixture
def data(tmp_path):
    """Five images of 24 x 16 and one of 8 x 8, each of its own grey, with three kinds of truth."""
    (tmp_path / 'images').mkdir()
    rle = coco.encode(MASK)
    rle['counts'] = rle['counts'].decode()
    kinds = [
        BOX,
        {**BOX, 'segmentation': [[1, 2, 5, 2, 5, 5, 1, 5]]},
        dict(category_id=1, bbox=[10.0, 3.0, 10.0, 3.0], area=30.0, segmentation=rle),
    ]
    images, annotations = [], []
    for number in range(1, 7):
        width, height = (8, 8) if number == 2 else (24, 16)
        name = f'{number}.png'
        picture = np.full((height, width, 3), 10 * number, np.uint8)
        cv2.imwrite(str(tmp_path / 'images' / name), picture)
        images.append(dict(id=number, file_name=name, width=width, height=height))
        if number != 2:
            one = dict(kinds[number % 3], id=number, image_id=number, iscrowd=0)
            annotations.append(one)
    categories = [dict(id=1, name='cell'), dict(id=2, name='rod')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / 'all.json').write_text(json.dumps(content))
    source = '{annotations: all.json, images: images}'
    description = f'train: {source}\nval: {source}\nmax_dets: 50\n'
    (tmp_path / 'data.yaml').write_text(description)
    return tmp_path / 'data.yaml'


def test_images_and_truth_keep_their_place_to_each_other(data, tmp_path):
    written = write_sheets(data, 'val', (2, 2), tmp_path / 'out')
    assert (written.sheets, written.objects, written.left) == (1, 4, 2)
    sheet = cv2.imread(str(tmp_path / 'out/images/001.png'))
    assert sheet.shape == (32, 48, 3)
    assert sheet[::16, ::24, 0].tolist() == [[10, 30], [40, 50]]  # 2.png has another size
    content = json.loads((tmp_path / 'out/sheets.json').read_text())
    polygon, box, moved, mask = content['annotations']
    assert polygon['segmentation'] == [[1, 2, 5, 2, 5, 5, 1, 5]]
    assert (box['bbox'], box['category_id'], box['area']) == ([25, 2, 4, 3], 2, 12)
    assert moved['segmentation'] == [[1, 18, 5, 18, 5, 21, 1, 21]]
    assert mask['bbox'] == [34, 19, 10, 3]
    expected = np.zeros((32, 48), np.uint8)
    expected[16:, 24:] = MASK
    assert np.array_equal(coco.decode(mask['segmentation']), expected)
    assert content['categories'] == [dict(id=1, name='cell'), dict(id=2, name='rod')]


def test_the_sheets_are_a_dataset_again(data, tmp_path, monkeypatch, capsys):
    words = f'sheets --data {data} --split train --grid 1x2 --out {tmp_path}/out'
    monkeypatch.setattr('sys.argv', words.split())
    main()
    assert '2 sheets with 4 objects; 2 images' in capsys.readouterr().out
    again = write_sheets(tmp_path / 'out/dataset.yaml', 'val', (2, 1), tmp_path / 'again')
    assert (again.sheets, again.objects) == (1, 4)
    assert 'max_dets: 200' in again.data.read_text()  # 50 an image, 2 images, 2 of these sheets


def test_too_few_images_and_an_unknown_split_are_told(data, tmp_path):
    with pytest.raises(InputError, match='takes 6 images of one size, and val has 6'):
        write_sheets(data, 'val', (3, 2), tmp_path / 'out')
    with pytest.raises(InputError, match="no split 'test'; it has train, val"):
        write_sheets(data, 'test', (2, 2), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
