"""The work dirs in tests/fixtures, unpacked as a user would have them."""

import lzma
import shutil
from pathlib import Path
from types import SimpleNamespace

RUNS = Path(__file__).parent / 'fixtures/run_20bf7df'


def unpack_run(task: str, work_dir: Path) -> SimpleNamespace:
    """Copy the run of a task to a new folder; returns its paths ``config`` and ``checkpoint``."""
    shutil.copytree(RUNS / task, work_dir)
    (packed,) = work_dir.glob('*.xz')
    checkpoint = packed.with_suffix('')
    checkpoint.write_bytes(lzma.decompress(packed.read_bytes()))
    return SimpleNamespace(config=str(next(work_dir.glob('*.py'))), checkpoint=str(checkpoint))
