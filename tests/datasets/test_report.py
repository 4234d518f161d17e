import io

from casvit_mm.datasets.report import console


def test_tables_of_a_file_are_wide_enough():
    screen = console()
    screen.file = io.StringIO()
    assert screen.width >= 120 or screen.is_terminal
