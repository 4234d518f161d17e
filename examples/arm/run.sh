#!/usr/bin/env bash
# Run exported files on an emulated 64-bit Arm processor, as phones have, and compare with this one.
#
#   examples/arm/run.sh WORK photos/ model.onnx model.tflite model.ncnn.param model.mnn
#
# WORK is a folder that is filled at the first run: a Debian for arm64 (230 MB) and wheels for aarch64
# (330 MB). Needs: apt-get install qemu-user-static debootstrap, root for debootstrap (or fakeroot in
# front), a Python 3 here with pip, NumPy, OpenCV and the engines of the files. Nothing is installed
# outside of WORK, and no binary format is registered: qemu is called by its name.
#
# Left out: OpenVINO, which needs an .xml of its own engine and whose emulation was not tried, and
# ExecuTorch, whose runtime for Python needs torch. Emulation says nothing about speed.
set -euo pipefail

WORK=${1:?folder to work in}; IMAGES=${2:?folder of images}; shift 2
[ $# -gt 0 ] || { echo "name the exported files" >&2; exit 2; }
HERE=$(cd "$(dirname "$0")/../.." && pwd)
NUMBER=${NUMBER:-4}  # images
for tool in qemu-aarch64-static debootstrap dpkg-deb; do
  command -v "$tool" > /dev/null || {
    echo "error: $tool is missing: apt-get install qemu-user-static debootstrap" >&2; exit 2; }
done
mkdir -p "$WORK"; WORK=$(cd "$WORK" && pwd)

# A root folder with Python, unpacked and not configured: the emulator only reads files from it.
if [ ! -e "$WORK/root/usr/bin/python3" ]; then
  rm -rf "$WORK/root"
  debootstrap --arch=arm64 --foreign --variant=minbase --include=python3,libgomp1 bookworm "$WORK/root"
  for package in "$WORK"/root/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$WORK/root"; done
fi

# Wheels for Debian 12's Python. onnxruntime 1.31 crashes under qemu 7.2 while it is imported, LiteRT 2.3 while
# it reads a file; these versions do not.
if [ ! -e "$WORK/site/.done" ]; then
  rm -rf "$WORK/site"
  python3 -m pip install --quiet --target "$WORK/site" --only-binary=:all: \
    --implementation cp --python-version 3.11 --platform manylinux_2_28_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    numpy==2.2.6 opencv-python-headless==4.12.0.88 onnxruntime==1.23.2 ai-edge-litert==2.1.0 ncnn MNN
  touch "$WORK/site/.done"
fi

run=("$HERE/examples/arm/predict_files.py" run)
PYTHONPATH="$HERE" python3 "${run[@]}" "$WORK/here.npz" --images "$IMAGES" --number "$NUMBER" "$@"
PYTHONPATH="$HERE:$WORK/site" PYTHONDONTWRITEBYTECODE=1 qemu-aarch64-static -cpu cortex-a76 \
  -L "$WORK/root" "$WORK/root/usr/bin/python3.11" "${run[@]}" "$WORK/arm.npz" \
  --images "$IMAGES" --number "$NUMBER" "$@"
PYTHONPATH="$HERE" python3 "$HERE/examples/arm/predict_files.py" compare "$WORK/here.npz" "$WORK/arm.npz"
