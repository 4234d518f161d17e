"""The thread of the model: batches, order, faults."""

import time

import numpy as np
import pytest
from serving_models import StubModel

from casvit_mm.serving.worker import ModelThread, paying_batch


def prepared(model, height, value=0):
    return model.prepare_image(np.full((height, 8, 3), value, np.uint8))


@pytest.fixture
def held():
    """A model that is at work on a first image until its gate opens, and its thread."""
    model = StubModel()
    thread = ModelThread(model, batch_size=3)
    model.gate.clear()
    first = thread.submit(prepared(model, 4))
    while not model.batches:
        pass
    yield model, thread
    model.gate.set()
    first.result(20)
    thread.close()


def test_images_of_one_shape_that_wait_go_together(held):
    model, thread = held
    waiting = [thread.submit(prepared(model, height)) for height in (4, 4, 6, 4, 4, 6)]
    model.gate.set()
    together = [future.result(20).images for future in waiting]
    assert together == [3, 3, 2, 3, 1, 2]
    assert model.batches == [1, 3, 2, 1]
    assert [future.result().result.size[0] for future in waiting] == [4, 4, 6, 4, 4, 6]


def test_a_given_up_image_is_not_computed(held):
    model, thread = held
    gone, kept = thread.submit(prepared(model, 4)), thread.submit(prepared(model, 4))
    gone.cancel()
    model.gate.set()
    assert kept.result(20).images == 1


def test_an_image_that_fails_costs_no_other_one_its_answer(held):
    model, thread = held
    good, bad = thread.submit(prepared(model, 4)), thread.submit(prepared(model, 4, value=255))
    model.gate.set()
    assert good.result(20).images == 1
    with pytest.raises(RuntimeError, match='fails on white'):
        bad.result(20)
    assert thread.submit(prepared(model, 4)).result(20).images == 1


def test_what_waits_is_answered_before_the_thread_ends(held):
    model, thread = held
    waiting = thread.submit(prepared(model, 4))
    thread.close()
    model.gate.set()
    assert waiting.result(20).images == 1
    with pytest.raises(RuntimeError, match='has ended'):
        thread.submit(prepared(model, 4))


def test_a_thread_that_hangs_is_told(held):
    _, thread = held
    time.sleep(0.02)
    assert thread.stuck(0.01)
    assert not thread.stuck(60)


class Timed(StubModel):
    """A model that takes some seconds per batch and some per image, by a clock of its own."""

    def __init__(self, fixed, each):
        super().__init__()
        self.fixed, self.each, self.now = fixed, each, 0

    def predict(self, batch):
        self.now += self.fixed + self.each * len(batch)
        return super().predict(batch)


@pytest.mark.parametrize(
    ('fixed', 'each', 'size', 'tried'),
    [(0.5, 0.1, 8, [1, 4, 8]), (0, 0.5, 1, [1, 4]), (0.2, 0.4, 4, [1, 4, 8]), (1, 0.1, 1, [1])],
)
def test_a_batch_is_taken_where_it_pays(fixed, each, size, tried, monkeypatch):
    model = Timed(fixed, each)
    monkeypatch.setattr('casvit_mm.serving.worker.time.perf_counter', lambda: model.now)
    found, seconds = paying_batch(model, np.zeros((4, 4, 3), np.uint8))
    assert (found, list(seconds)) == (size, tried)
    assert seconds[1] == pytest.approx(fixed + each)
