"""The whole image of a sample and its labels, as the network sees them."""

from blitznet.data.geometry import view_sample, whole_view
from blitznet.structures import Sample


def resize_sample(sample: Sample, size: int) -> Sample:
    """Stretched to (size, size)."""
    return view_sample(sample, whole_view(*sample.size), size)
