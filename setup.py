"""Packaging: ranges that should work; the tested versions are pinned in constraints.txt."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'casvit_mm/__init__.py').read_text())
assert VERSION is not None

COMMON = [
    'torchvision>=0.19',
    'faster-coco-eval>=1.6',
    'rich',
    'tensorboard',
    'matplotlib',
    'scipy',
    'shapely',
    'gdown>=6.5',
]


class BuildWithConfigs(build_py):
    """Put configs, tools and the model index where mim looks for them: ``casvit_mm/.mim``.

    An editable installation needs no copy: the package finds them beside itself.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'casvit_mm/.mim'
        shutil.rmtree(target, ignore_errors=True)  # files of an earlier build
        # Two tools work on the checkout itself.
        left_out = shutil.ignore_patterns('__pycache__', 'quickstart.py', 'model_zoo.py')
        for folder in ('configs', 'tools'):
            shutil.copytree(HERE / folder, target / folder, ignore=left_out)
        shutil.copy(HERE / 'model-index.yml', target)


setup(
    name='casvit_mm',
    version=VERSION.group(1),
    description='CAS-ViT backbones for detection, segmentation and pretraining on OpenMMLab',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['casvit_mm', 'casvit_mm.*']),
    entry_points={'console_scripts': ['casvit-mm = casvit_mm.commands:main']},
    package_data={'casvit_mm.serving': ['page/*']},
    cmdclass={'build_py': BuildWithConfigs},
    python_requires='>=3.10',
    install_requires=['torch>=2.4', 'timm>=1.0.26', 'numpy', 'pyyaml', 'rich', 'safetensors'],
    extras_require={
        # The maintained forks; same import names as upstream, so install one of the two.
        'onedl': [
            'onedl-mmengine>=0.10.8',
            'onedl-mmcv>=2.3',
            'onedl-mmdetection>=3.4',
            'onedl-mmsegmentation>=1.4',
            'onedl-mmpretrain>=1.3',
            'ftfy',
            *COMMON,
        ],
        'openmmlab': [
            'mmengine>=0.10.7',
            'mmcv-lite>=2.1,<2.2',
            'mmdet>=3.3',
            'mmsegmentation>=1.2',
            'mmpretrain>=1.2',
            'ftfy',
            'regex',
            *COMMON,
        ],
        # casvit-mm export: every format, int8, and the engines that casvit-mm benchmark times.
        'export': ['onnx>=1.16', 'onnxruntime>=1.18', 'openvino>=2024.4', 'nncf', 'coremltools>=8'],
        # casvit-mm export for phones.
        'ncnn': ['ncnn>=1.0.20260526', 'pnnx>=20260526'],
        'mnn': ['MNN>=3.5', 'onnx>=1.16'],
        # Files for phones. transformers comes with litert-torch; mmpretrain cannot be imported
        # beside its version 5.
        'litert': ['litert-torch>=0.10', 'ai-edge-litert>=2.3', 'transformers<5'],
        # A release is built against one torch, and until 1.4 says so. Needs NumPy 2.
        'executorch': ['executorch>=1.2,<1.5'],
        # casvit-mm visualize: class activation maps.
        'visualize': ['grad-cam>=1.5.5'],
        # casvit-mm pack-data.
        'pack': ['lmdb>=1.4'],
        # Drawn videos that browsers play.
        'video': ['av>=14.2'],
        # Objects followed through videos; needs NumPy 2, which `openmmlab` does not take.
        'track': ['trackers>=2.6'],
        # TIFFs that are read by windows; imagecodecs decodes LZW and JPEG.
        'tiff': ['tifffile>=2025.5', 'imagecodecs>=2025.3'],
        # casvit-mm serve.
        'serve': [
            *('fastapi>=0.115', 'uvicorn>=0.30', 'python-multipart>=0.0.20'),
            *('prometheus-client', 'pillow'),
        ],
        # casvit_mm.deploy alone: pip install --no-deps casvit_mm, and these.
        'deploy': ['numpy', 'opencv-python-headless', 'onnxruntime>=1.18'],
        # make docs.
        'docs': [
            *('mkdocs-material>=9.7', 'mkdocstrings[python]>=1.0', 'mdx-truly-sane-lists'),
            'ruff',  # lays out signatures
        ],
        # examples/notebooks, and the test that executes them.
        'notebook': ['nbclient', 'nbformat', 'ipykernel'],
        'test': [
            *('pytest', 'pytest-timeout', 'pytest-xdist', 'hypothesis'),
            *('ruff', 'mypy', 'types-PyYAML', 'httpx2'),
        ],
    },
)
