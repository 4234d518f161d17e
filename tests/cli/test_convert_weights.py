"""``tools/convert_weights.py`` as a command."""

import torch
from helpers import Malicious, run_job


def test_code_in_a_file_is_refused_in_one_message_and_does_not_run(tmp_path):
    marker = tmp_path / 'ran'
    torch.save(dict(state_dict=dict(weight=Malicious(marker))), tmp_path / 'w.pth')
    result = run_job('convert_weights', tmp_path / 'w.pth', tmp_path / 'out.pth')
    assert result.returncode == 2
    assert 'posix.mkdir' in result.stderr
    assert 'Traceback' not in result.stderr
    assert not marker.exists()
    assert not (tmp_path / 'out.pth').exists()
