"""What one timed call computes: the form of the model, and the images that it gets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.host import Host
from casvit_mm.benchmark.inputs import normalise, pixels

__all__ = ['Workload']


@dataclass(frozen=True)
class Workload:
    """A form, a batch size, an image size, and where they run.

    Attributes:
        form: How the model runs.
        batch: Images per call.
        size: Height and width in pixels.
        host: Device, threads and picture.
    """

    form: Form
    batch: int
    size: tuple[int, int]
    host: Host

    def images(self) -> Tensor:
        """Return the normalised images in float32 on the CPU, ``(batch, 3, height, width)``."""
        return normalise(pixels(self.batch, self.size, self.host.image))
