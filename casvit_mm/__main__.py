"""Run one of our tools from anywhere, also from an installed wheel.

python -m casvit_mm train casvit_mm::maskrcnn_casvit_s_coco.py --data dataset.yaml
python -m casvit_mm train --help
torchrun --nproc-per-node 8 -m casvit_mm train casvit_mm::casvit_s_imagenet.py --launcher pytorch

casvit_mm::NAME.py is one of our configs; a path of your own does as well. The tools:
"""

import ast
import difflib
import runpy
import sys
from pathlib import Path

from casvit_mm.config.paths import ROOT


def main() -> None:
    """Run the tool that is named first, or list them."""
    tools = {path.stem: path for path in sorted((ROOT / 'tools').glob('*.py'))}
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in tools:
        sys.argv = [str(tools[name]), *sys.argv[2:]]
        runpy.run_path(str(tools[name]), run_name='__main__')
        return
    print(__doc__)
    for tool, path in tools.items():
        print(f'  {tool:18s} {_purpose(path)}')
    if name not in ('-h', '--help'):
        near = difflib.get_close_matches(name, tools, n=1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        print(f'\nerror: there is no tool {name!r}{hint}', file=sys.stderr)
        sys.exit(2)


def _purpose(path: Path) -> str:
    """Return the first line of a tool's help."""
    return (ast.get_docstring(ast.parse(path.read_text())) or '').partition('\n')[0]


if __name__ == '__main__':
    main()
