"""Asking a PACS by DICOMweb: which series it has, and their instances as files. Below the doors that need it."""
