"""From DICOM instances to one regular stack of slices. Knows headers, no pixels."""
