"""Run exported files on images and write what they say, or compare two such runs; needs no torch.

python examples/arm/predict_files.py run here.npz --images photos/ model.onnx model.tflite
python examples/arm/predict_files.py compare here.npz arm.npz
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

import numpy as np

from casvit_mm import deploy
from casvit_mm.deploy.predictor import prepare_tensor

# Of the mean difference, as a share of the largest value of an output, by precision: x86 computes
# half precision in float32, Arm does not.
LIMITS = dict(fp32=1e-4, fp16=0.01, int8=0.1)


def run(out: str, files: list[str], images: str, number: int) -> None:
    """Write the raw outputs and the results of each file on each image."""
    photos = sorted(path for path in Path(images).iterdir() if path.is_file())[:number]
    found: dict[str, np.ndarray] = {'machine': np.array(platform.machine())}
    for file in files:
        model = deploy.load(file, threads=1)
        found[f'{Path(file).name}|precision'] = np.array(model.spec.precision)
        for photo in photos:
            outputs = model.run(prepare_tensor(model.prepare(photo).pixels, model.spec))
            for name, values in outputs.items():
                found[f'{Path(file).name}|{photo.name}|{name}'] = values
            result = model(photo)
            for name in ('labels', 'scores', 'boxes', 'masks'):
                values = getattr(result, name, None)
                if values is not None:
                    found[f'{Path(file).name}|{photo.name}|= {name}'] = np.asarray(values)
        print(f'{Path(file).name}: {model.device}, {len(photos)} images', flush=True)
    np.savez_compressed(out, **found)


def compare(first: str, second: str) -> bool:
    """Print how far two runs differ, file by file; return whether all are the same to rounding."""
    ours, theirs = np.load(first), np.load(second)
    print(f'{ours["machine"]} and {theirs["machine"]}')
    if set(ours.files) != set(theirs.files):
        print(f'not the same outputs: {sorted(set(ours.files) ^ set(theirs.files))[:4]}')
        return False
    good = True
    for file in sorted({name.partition('|')[0] for name in ours.files} - {'machine'}):
        names = [name for name in ours.files if name.startswith(f'{file}|') and name.count('|') > 1]
        precision = str(ours[f'{file}|precision'])
        raw = [_difference(ours[name], theirs[name]) for name in names if '|= ' not in name]
        results = [_agreement(ours[name], theirs[name]) for name in names if '|= ' in name]
        mean, most = float(np.mean([each[0] for each in raw])), max(each[1] for each in raw)
        same = mean <= LIMITS[precision]
        good &= same
        agreement = 100 * float(np.mean(results))
        print(
            f'{file}, {precision}: outputs differ by {most:.1e} at most and {mean:.1e} on average, '
            f'results agree to {agreement:.3f} %{"" if same else "  NOT THE SAME"}'
        )
    return good


def _difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return mean and largest difference, as shares of the largest value."""
    if ours.shape != theirs.shape:
        return np.inf, np.inf
    differences = np.abs(ours.astype(np.float64) - theirs)
    scale = max(float(np.abs(ours).max(initial=0.0)), 1e-9)
    return float(differences.mean()) / scale, float(differences.max(initial=0.0)) / scale


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the share of equal values, of floats those that are equal to a thousandth."""
    if ours.shape != theirs.shape:
        return 0.0
    if not ours.size:
        return 1.0
    if ours.dtype.kind == 'f':
        return float(np.isclose(ours, theirs, rtol=1e-3, atol=1e-3).mean())
    return float((ours == theirs).mean())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    jobs = parser.add_subparsers(dest='job', required=True)
    one = jobs.add_parser('run')
    one.add_argument('out')
    one.add_argument('files', nargs='+')
    one.add_argument('--images', required=True, metavar='FOLDER')
    one.add_argument('--number', type=int, default=4, help='images to run')
    two = jobs.add_parser('compare')
    two.add_argument('first')
    two.add_argument('second')
    args = parser.parse_args()
    if args.job == 'run':
        run(args.out, args.files, args.images, args.number)
    elif not compare(args.first, args.second):
        sys.exit(1)


if __name__ == '__main__':
    main()
