"""Where voxels are: volumes, the moves between two grids, and when two grids are one. Knows no file format."""
