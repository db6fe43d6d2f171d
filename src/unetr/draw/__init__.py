"""Pictures of scans and labels: what `Prediction.preview`, the command line and the report show."""
