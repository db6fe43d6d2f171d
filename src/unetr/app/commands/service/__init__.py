"""Commands that serve others: a page, a DICOM node, tools for language models."""
