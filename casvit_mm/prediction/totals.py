"""Counts over all images and frames of a prediction, which add up over its parts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ['Totals']

# Of a video what its frames do not say.
_OF_VIDEOS = ('file', 'video', 'damaged_frames', 'reconnected', 'lost_frames')


def _counters() -> defaultdict[str, Counter[str]]:
    return defaultdict(Counter)


@dataclass
class Totals:
    """What the summary says.

    Attributes:
        images: Images that were predicted on.
        frames: Frames of videos, likewise.
        drawn: Images with a picture.
        full: Images and frames that reached the maximum of objects.
        dim: Images that leave upper bits unused.
        first_dim: The first of them.
        counts: Counters by what they count, such as ``'objects'`` by class.
        videos: Entries of videos without their frames.
        tracks: Tracks by class.
    """

    images: int = 0
    frames: int = 0
    drawn: int = 0
    full: int = 0
    dim: int = 0
    first_dim: str = ''
    counts: defaultdict[str, Counter[str]] = field(default_factory=_counters)
    videos: list[dict[str, Any]] = field(default_factory=list)
    tracks: Counter[str] = field(default_factory=Counter)

    @property
    def units(self) -> int:
        """Images and frames."""
        return self.images + self.frames

    def add_image(self, entry: Mapping[str, Any]) -> None:
        """Count an image of the JSON."""
        self.images += 1
        self.drawn += 'picture' in entry
        if 'upper_bits_unused' in entry:
            self.first_dim = self.first_dim or entry['file']
            self.dim += 1

    def add_video(self, entry: Mapping[str, Any]) -> None:
        """Count a video of the JSON."""
        self.frames += len(entry['frames'])
        self.tracks.update(track['class'] for track in entry.get('tracks', ()))
        self.videos.append({key: entry[key] for key in _OF_VIDEOS if key in entry})

    def add(self, other: Totals) -> None:
        """Add those of another part, which comes after this one."""
        for name in ('images', 'frames', 'drawn', 'full', 'dim'):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_dim = self.first_dim or other.first_dim
        for key, counter in other.counts.items():
            self.counts[key].update(counter)
        self.videos += other.videos
        self.tracks.update(other.tracks)

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` takes."""
        return vars(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Totals:
        """Return the totals that were written."""
        totals = cls(**{**content, 'counts': _counters(), 'tracks': Counter(content['tracks'])})
        for key, counter in content['counts'].items():
            totals.counts[key].update(counter)
        return totals
