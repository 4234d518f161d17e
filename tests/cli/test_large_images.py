"""An image that is read by windows is never whole in memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from casvit_mm.io import PIXEL_LIMIT

tifffile = pytest.importorskip('tifffile', reason="needs pip install 'casvit_mm[tiff]'")

SIDE = 9_000
pytestmark = pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs Linux')

PREDICT = """
import sys
import numpy as np
from casvit_mm.deploy import Detections
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.tiled import TiledModel
from casvit_mm.deploy.tiles import Tiles

class Whites(ImageModel):
    task, classes, device, score_thr, max_dets = 'detection', ('white',), 'cpu', 0.3, None

    def _prepare_pixels(self, pixels):
        return pixels, pixels.shape

    def predict(self, batch):
        return [self._find(one.pixels[..., 0]) for one in batch]

    def _find(self, grey):
        y, x = np.nonzero(grey[::500, ::500])
        boxes = np.stack([x, y, x + 0.5, y + 0.5], 1) * 500
        number = len(boxes)
        return Detections(
            boxes.astype(np.float32), np.ones(number), np.zeros(number, int), ('white',) * number
        )

def peak():
    status = open('/proc/self/status').read()  # getrusage would count the parent's, too
    return int(status.partition('VmHWM:')[2].split()[0]) // 1024

before = peak()
result = TiledModel(Whites(), Tiles(1000, 0))(sys.argv[1])
predicted = peak() - before
result.save(sys.argv[2])
print(len(result.boxes), result.boxes.max(), predicted, peak() - before)
"""


def blocks():
    """Yield black tiles, every tenth of them white."""
    for i in range((-(-SIDE // 1008)) ** 2):
        yield np.full((1008, 1008, 3), 255 * (i % 10 == 9), np.uint8)


def test_memory_follows_from_the_tiles(tmp_path):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(
        path,
        blocks(),
        shape=(SIDE, SIDE, 3),
        dtype=np.uint8,
        photometric='rgb',
        tile=(1008, 1008),
        compression='zlib',
    )
    found = subprocess.run(
        [sys.executable, '-c', PREDICT, path, tmp_path],
        env={**os.environ, PIXEL_LIMIT: '20000000'},
        capture_output=True,
        text=True,
        check=True,
    )
    number, last, predicted, drawn = (float(text) for text in found.stdout.split())
    assert number > 0
    assert last <= SIDE
    assert predicted < 200  # megabytes; the pixels alone are 243
    assert drawn < 240
