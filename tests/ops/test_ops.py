"""The file that makes the lent operators permanent."""

import pytest

from casvit_mm import InputError, ops


def test_a_foreign_ext_file_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(ops, '_mmcv_folder', lambda: tmp_path)
    (tmp_path / '_ext.py').write_text('# theirs')
    for action in (ops.install, ops.uninstall):
        with pytest.raises(InputError, match='not ours'):
            action()
    assert (tmp_path / '_ext.py').read_text() == '# theirs'
