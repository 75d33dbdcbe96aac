"""Which SOP classes are images that an analysis can look at; dose reports and the like change no input."""

from __future__ import annotations

IMAGE_SOP_CLASS_UIDS = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
    }
)  # PS3.4 Table B.5-1
