# casvit_mm with the versions of constraints.txt, on a CPU or an NVIDIA GPU.
#
# Not built where this was written, which has no Docker: tell us what fails.
#
#   docker build -t casvit_mm .
#   docker build -t casvit_mm --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .   # a tenth of the size
#   docker run --rm -it --gpus all --shm-size 8g -v "$PWD:/work" casvit_mm \
#       train casvit_mm::rtmdet_casvit_xs_photos.py --data photos/dataset.yaml --from-scratch
#
# Data workers share batches through /dev/shm, of which Docker gives 64 MB unless it is told.
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://pypi.org/simple
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# Versions alone first: a change of the code does not install torch again.
COPY constraints.txt /src/
RUN pip install --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple \
        -c /src/constraints.txt torch torchvision

COPY setup.py pyproject.toml MANIFEST.in README.md model-index.yml /src/
COPY casvit_mm /src/casvit_mm
COPY configs /src/configs
COPY tools /src/tools
# mmcv asks for opencv-python, which needs a desktop's libGL.
RUN pip install -c /src/constraints.txt '/src[onedl,serve,video]' onnxruntime \
    && pip install --force-reinstall --no-deps -c /src/constraints.txt opencv-python-headless \
    && rm -rf /src

RUN useradd --create-home user
USER user
WORKDIR /work
ENTRYPOINT ["casvit-mm"]
CMD ["--help"]
