"""What a PACS is asked for: new series, by Orthanc's own interface or by DICOMweb. Nobody else is ever asked."""
