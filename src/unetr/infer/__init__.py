"""From a prepared image to a segmentation on the scan's own grid. Never imports training."""
