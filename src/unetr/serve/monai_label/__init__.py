"""The API of MONAI Label, so that its clients work unchanged: 3D Slicer's module, OHIF's plugin, `client.py`."""
