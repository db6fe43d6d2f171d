"""What Python raises where the machine refuses: said as the errors that a person can act on."""

from __future__ import annotations

import errno

from unetr.errors import InputError, MachineError, UnetrError

_INSTALL = {
    "torch": "unetr[train]",
    "lightning_fabric": "unetr[train]",
    "tensorboard": "unetr[train]",
    "nilearn": "unetr[demo]",
    "onnxruntime": "unetr[onnx]",
    "highdicom": "unetr[dicom]",
    "monai": "unetr[peers]",
    "dynamic_network_architectures": "unetr[peers]",
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_BAD_PATH = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
# What torch says, as a RuntimeError, when an allocation fails on the CPU or on a GPU.
_NO_MEMORY = ("can't allocate memory", "out of memory")


def expected_error(error: BaseException) -> UnetrError | None:
    """What is told in place of `error`: a package that is missing, no memory, a file that the system refuses.

    An UnetrError is itself. None for what nobody could expect, which is a defect.
    """
    if isinstance(error, UnetrError):
        return error
    if isinstance(error, ModuleNotFoundError):
        extra = _INSTALL.get((error.name or "").partition(".")[0])
        if extra is None:
            return None
        return MachineError(f"this needs {error.name}, which is not installed; run: pip install '{extra}'")
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    ):
        return MachineError("not enough memory; close other programs, or use a smaller window or batch in the plan")
    return _refused_file(error) if isinstance(error, OSError) else None


def _refused_file(error: OSError) -> UnetrError | None:
    """What the operating system refused, outside of the writes that already say it."""
    where = str(error.filename or "a file")
    if error.errno in _BAD_PATH:
        return InputError(f"{where[:80]}: {error.strerror}; expected the path of a file or folder")
    if error.errno in _NO_ROOM:
        return MachineError(f"{where}: {error.strerror}; free space or choose another folder")
    return None
