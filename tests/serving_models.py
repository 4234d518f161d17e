"""A model that answers at once, and a server for it, for the tests of serving."""

import socket
import threading
import time
from contextlib import contextmanager

import numpy as np

from casvit_mm.deploy import Classification, Detections, ImageModel, Segmentation
from casvit_mm.serving import Limits

CLASSES = ('cat', 'dog', 'tree')


class StubModel(ImageModel):
    """A model whose prediction follows from the mean of the image; ``gate`` can hold it up."""

    device = 'nowhere'
    classes = CLASSES

    def __init__(self, task='detection', seconds=0.0):
        self.task, self.seconds = task, seconds
        self.score_thr = 0.05 if task == 'detection' else None
        self.gate = threading.Event()
        self.gate.set()
        self.batches = []
        self.threads = set()

    def _prepare_pixels(self, pixels):
        return pixels, pixels.shape

    def predict(self, batch):
        self.threads.add(threading.current_thread().name)
        self.batches.append(len(batch))
        self.gate.wait(20)
        time.sleep(self.seconds)
        return [self._result(one.pixels) for one in batch]

    def _result(self, pixels):
        height, width = pixels.shape[:2]
        if pixels.mean() > 254:
            raise RuntimeError('/secret/place/model.onnx fails on white')
        rest = dict(classes=CLASSES, size=(height, width), source=pixels)
        if self.task == 'segmentation':
            labels = np.zeros((height, width), np.uint8)
            labels[:, width // 2 :] = 2
            return Segmentation(labels, **rest)
        scores = np.array([0.9, 0.4, 0.1], np.float32)
        if self.task == 'classification':
            return Classification(scores, np.array([1, 0, 2]), ('dog', 'cat', 'tree'), **rest)
        boxes = np.array([[0, 0, 9, 8], [3, 2, 9, 9], [1, 1, 4, 4]], np.float32)
        masks = np.zeros((3, height, width), bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int)):
            mask[y1:y2, x1:x2] = True
        labels = np.array([1, 0, 2])
        return Detections(boxes, scores, labels, ('dog', 'cat', 'tree'), masks, **rest)


@contextmanager
def running(model, limits=None, **options):
    """Serve on a free port of loopback; yields the port."""
    from casvit_mm.serving.app import create_app
    from casvit_mm.serving.run import server_of

    limits = limits or Limits()
    listener = socket.create_server(('127.0.0.1', 0), backlog=256)
    server = server_of(create_app(model, limits=limits, **options), limits)
    thread = threading.Thread(target=server.run, kwargs=dict(sockets=[listener]))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
