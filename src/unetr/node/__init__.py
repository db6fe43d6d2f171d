"""The DICOM node: series come from scanners and PACS, results go back, each exactly once."""
