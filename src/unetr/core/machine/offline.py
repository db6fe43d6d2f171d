"""What keeps this program to itself: no usage events, no code from the current folder.

Run by `import unetr` before it imports anything else, so that it holds in every process: the command, its children,
the workers of torchrun and programs that use the package. It therefore imports nothing that a file in the current
folder could stand in for; not even `__future__`.
"""

import os
import sys

TYPE_CHECKING = False  # read by type checkers as typing's own
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

# Sends an event with a client identifier to an analytics service whenever openvino is imported, and writes ~/intel.
_PACKAGES = ("openvino_telemetry",)
# onnxruntime, on other systems than Windows, sends the names of models and graphs from its native code as soon as it is
# imported, and writes a device's identifier into the home. The releases that do it read one name or the other.
_SWITCHES = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")


def block_telemetry() -> None:
    """Makes the packages of usage events impossible to import, and tells onnxruntime to send none.

    openvino has a stand-in that does nothing for its package.
    """
    os.environ.update(dict.fromkeys(_SWITCHES, "1"))
    for name in _PACKAGES:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python says that a module is not to be had


def load_from_elsewhere() -> None:
    """Lets torch be imported while the current folder is the root of the file system, which nobody else writes to.

    A library that comes with it (cuSPARSELt, whose list of places to look in ends with an empty one) otherwise loads a
    file libcuda.so.1 of the current folder, and so runs what is in it.
    """
    if sys.platform == "linux" and _Elsewhere not in sys.meta_path:
        sys.meta_path.insert(0, _Elsewhere)


class _Elsewhere:
    """A finder of modules: torch is found as ever, and run elsewhere."""

    @staticmethod
    def find_spec(
        name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Python's `importlib.abc.MetaPathFinder.find_spec`."""
        if name != "torch":
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _run_elsewhere(spec.loader.exec_module)  # type: ignore[method-assign, assignment]
        return spec


def _run_elsewhere(run: "Callable[[ModuleType], None]") -> "Callable[[ModuleType], None]":
    if sys.platform != "linux":  # whose calls these are
        return run

    def exec_module(module: "ModuleType") -> None:
        here = os.open(".", os.O_PATH | os.O_DIRECTORY)
        try:
            os.chdir("/")
            run(module)
        finally:
            os.fchdir(here)
            os.close(here)

    return exec_module


def keep_to_given_folders() -> None:
    """For a process that is this program's alone: its libraries reach no service and make no folders of their own."""
    import tempfile

    # pydicom takes requests where it finds it, whose import opens a socket to see what the machine can do.
    sys.modules["requests"] = None  # type: ignore[assignment]
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    # torch's compiler, which is not used here, makes a folder when it is imported; this one is there already.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir())


def leave_current_folder() -> None:
    """Takes the current folder off `sys.path`, where `python -m unetr` put it first; -P or `unetr` never has it there.

    Only where this package itself is what was started: another program's path is its own business.
    """
    if sys.argv[:1] != ["-m"] or sys.flags.safe_path:  # Python's word for a module that it is still looking for
        return
    module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    if module == "unetr" or module.startswith("unetr."):
        del sys.path[0]
