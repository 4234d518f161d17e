"""The pictures of a run."""

from casvit_mm.benchmark.plots import draw_accuracy, draw_growth


def rows_for_picture():
    return [
        dict(model=name, form='eager', batch=1, width=224, height=224, top1=top1, ms=dict(p50=ms))
        for name, top1, ms in (('casvit_xs', 78.3, 10.0), ('repvit_m0_9', 78.7, 12.0))
    ]


def test_the_picture_is_a_png(tmp_path):
    path = draw_accuracy(rows_for_picture(), tmp_path / 'accuracy.png', 'some machine')
    assert path.read_bytes().startswith(b'\x89PNG')


def test_growth_is_drawn_for_every_curve(tmp_path):
    curve = dict(
        model='casvit_s',
        form='eager',
        sizes=[(512, 512), (1024, 1024)],
        ms=[dict(p50=1.0), dict(p50=4.1)],
        bytes=[2**20, 2**22],
        time_exponent=1.02,
        memory_exponent=1.0,
    )
    engine = {**curve, 'form': 'openvino', 'bytes': None, 'memory_exponent': None}
    path = draw_growth([curve, engine], tmp_path / 'growth.png')
    assert path.read_bytes().startswith(b'\x89PNG')
