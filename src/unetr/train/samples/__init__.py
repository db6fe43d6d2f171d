"""From a cached case to a training sample: window, augmentation, masks."""
