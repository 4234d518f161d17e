"""A data set of coins, made of one photograph: python examples/coins/make_data.py DIR.

The photograph, "Greek coins from Pompeii" of the Brooklyn Museum, has no known copyright
restrictions and comes with scikit-image. Coins are told from the ground by flooding its edges.
Training sees crops of the upper two rows of coins, evaluation the lower two.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import data, filters, measure, segmentation

SIDE = 128  # pixels of a crop
MIDDLE = 152  # row of the photograph between the second and the third row of coins
COUNTS = {'train': 256, 'val': 24}


def find_coins(photo: np.ndarray) -> np.ndarray:
    """Return the number of the coin of each pixel, 0 for the ground, ``(H, W)``."""
    seeds = np.where(photo > 150, 2, np.where(photo < 30, 1, 0))
    flooded = segmentation.watershed(filters.sobel(photo), seeds) == 2
    whole = ndimage.binary_opening(ndimage.binary_fill_holes(flooded), iterations=2)
    numbered = measure.label(whole)
    sizes = np.bincount(numbered.ravel())
    return np.where(sizes[numbered] > 400, numbered, 0)


def cut(photo: np.ndarray, coins: np.ndarray, rng: np.random.Generator) -> tuple:
    """Return a random crop, turned and of another brightness, with the outlines of its coins."""
    top, left = (rng.integers(0, size - SIDE + 1) for size in photo.shape)
    part = (slice(top, top + SIDE), slice(left, left + SIDE))
    turns = rng.integers(4)
    picture, labels = (np.rot90(array[part], turns) for array in (photo, coins))
    picture = 255 * (picture / 255) ** rng.uniform(0.7, 1.4) * rng.uniform(0.7, 1.1)
    outlines = []
    for number in np.unique(labels[labels > 0]):
        rims = measure.find_contours(np.pad(labels == number, 1).astype(float), 0.5)
        rim = np.clip(max(rims, key=len)[:, ::-1] - 1, 0, SIDE - 1)  # (row, column) to (x, y)
        if (labels == number).sum() > 200:  # a sliver at the rim of the crop is no coin to learn
            outlines.append(rim.round(1).ravel().tolist())
    return picture.clip(0, 255).astype(np.uint8), outlines


def main(folder: Path) -> None:
    """Write crops, COCO annotations, ``dataset.yaml`` and the lower half of the photograph."""
    photo = data.coins()
    coins = find_coins(photo)
    rng = np.random.default_rng(0)
    halves = {'train': slice(None, MIDDLE), 'val': slice(MIDDLE, None)}
    for split, rows in halves.items():
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for image_id in range(1, COUNTS[split] + 1):
            picture, outlines = cut(photo[rows], coins[rows], rng)
            name = f'{image_id:04d}.png'
            Image.fromarray(picture).convert('RGB').save(folder / split / name)
            images.append(dict(id=image_id, file_name=name, width=SIDE, height=SIDE))
            for outline in outlines:
                x, y = np.array(outline[::2]), np.array(outline[1::2])
                box = [x.min(), y.min(), np.ptp(x), np.ptp(y)]
                entry = dict(id=len(annotations) + 1, image_id=image_id, category_id=1, iscrowd=0)
                entry |= dict(bbox=box, area=box[2] * box[3], segmentation=[outline])
                annotations.append(entry)
        content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='coin')])
        (folder / f'{split}.json').write_text(json.dumps(content))
    Image.fromarray(photo[MIDDLE:]).convert('RGB').save(folder / 'lower_half.png')
    lines = [f'{split}: {{annotations: {split}.json, images: {split}}}' for split in halves]
    (folder / 'dataset.yaml').write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
