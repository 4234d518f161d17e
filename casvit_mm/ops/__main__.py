"""Make the operators that casvit_mm lends mmcv permanent, for tools that never import casvit_mm.

python -m casvit_mm.ops install      writes mmcv/_ext.py in this environment
python -m casvit_mm.ops uninstall    removes it
python -m casvit_mm.ops status       says where mmcv's operators come from
"""

import argparse
import sys

from casvit_mm.errors import InputError
from casvit_mm.ops import install, operator_source, uninstall

_STATUS = {
    'compiled': "mmcv's own compiled operators",
    'pointer': "torchvision's, for every program of this environment (mmcv/_ext.py)",
    'lent': "torchvision's, for programs that import casvit_mm",
    'absent': 'mmcv is not installed',
}


def main() -> None:
    """Run the chosen action and print what it did."""
    parser = argparse.ArgumentParser(
        prog='python -m casvit_mm.ops',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('action', choices=['install', 'uninstall', 'status'])
    action = parser.parse_args().action
    try:
        if action == 'status':
            print(_STATUS[operator_source()])
        else:
            print(install() if action == 'install' else uninstall())
    except InputError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
