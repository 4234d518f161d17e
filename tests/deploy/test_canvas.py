from casvit_mm.deploy.canvas import distinct_colours


def test_drawn_colours_are_all_different():
    assert len(set(distinct_colours(255))) == 255
