"""What keeps this program to itself: no usage events, no code from the current folder.

Run by `import unetr` before it imports anything else, so that it holds in every process: the command, its children,
the workers of torchrun and programs that use the package. It therefore imports nothing that a file in the current
folder could stand in for; not even `__future__`.
"""

import sys

# Sends an event with a client identifier to an analytics service whenever openvino is imported, and writes ~/intel.
_TELEMETRY = ("openvino_telemetry",)


def block_telemetry() -> None:
    """Makes the packages of usage events impossible to import; openvino has a stand-in that does nothing for it."""
    for name in _TELEMETRY:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python says that a module is not to be had


def leave_current_folder() -> None:
    """Takes the current folder off `sys.path`, where `python -m unetr` put it first; -P or `unetr` never has it there.

    Only where this package itself is what was started: another program's path is its own business.
    """
    if sys.argv[:1] != ["-m"] or sys.flags.safe_path:  # Python's word for a module that it is still looking for
        return
    module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    if module == "unetr" or module.startswith("unetr."):
        del sys.path[0]
