"""From a path to cases: datasets, scans to predict, folds. Opens scans only to read a case."""
