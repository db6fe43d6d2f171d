"""DICOM: series to a Volume, and labels to DICOM results."""
