"""Lets the package see a system like Windows, imports all of it, and runs a command of it.

    python tests/core/other_system.py [ARGUMENT OF unetr ...]

What only POSIX has is absent for the package's own code, and for that alone: its libraries stay those of this system.
Folders cannot be opened, and what was opened for reading cannot be flushed.
"""

from __future__ import annotations

import builtins
import importlib
import os
import pkgutil
import signal
import stat
import sys
from types import ModuleType
from typing import Any

MODULES = {"resource", "fcntl", "pwd", "grp", "termios", "posix", "tty", "pty", "syslog", "_posixsubprocess"}
_CALLS = (
    "fork wait wait3 wait4 waitid getuid geteuid getgid getegid setsid killpg sysconf mkfifo mknod sched_getaffinity "
    "sched_setaffinity chown fchown fchmod fchdir statvfs getloadavg uname nice posix_fadvise posix_fallocate sendfile "
    "pread pwrite O_NOFOLLOW O_NONBLOCK O_PATH O_DIRECTORY O_CLOEXEC O_SYNC WNOHANG WIFEXITED chroot"
)
_SIGNALS = (
    "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGPIPE SIGQUIT SIGCONT SIGSTOP alarm setitimer pause sigwait "
    "pthread_sigmask pthread_kill"
)

_import = builtins.__import__


class Seen(ModuleType):
    """A module as the package sees it: without some names, and with others in place of the real ones."""

    def __init__(self, real: ModuleType, absent: set[str], changed: dict[str, Any]) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _absent=absent, _changed=changed)

    def __getattr__(self, name: str) -> Any:
        if name in self._absent:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return self._changed[name] if name in self._changed else getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


def open_no_folder(path: Any, flags: int, *rest: Any, **more: Any) -> int:
    handle = os.open(path, flags, *rest, **more)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.close(handle)
        raise PermissionError(13, "Permission denied", str(path))
    return handle


def flush_what_may_be_written(handle: int) -> None:
    import fcntl

    if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(9, "Bad file descriptor")
    os.fsync(handle)


SEEN = {
    "os": Seen(os, set(_CALLS.split()), {"name": "nt", "open": open_no_folder, "fsync": flush_what_may_be_written}),
    "sys": Seen(sys, set(), {"platform": "win32"}),
    "signal": Seen(signal, set(_SIGNALS.split()), {}),
}


def seen_import(name: str, of: Any = None, *rest: Any, **more: Any) -> Any:
    if not (of or {}).get("__name__", "").startswith("unetr"):
        return _import(name, of, *rest, **more)
    if name.partition(".")[0] in MODULES:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    return SEEN.get(name) or _import(name, of, *rest, **more)


def main() -> None:
    builtins.__import__ = seen_import
    import unetr

    for found in pkgutil.walk_packages(unetr.__path__, "unetr."):
        if found.name != "unetr.__main__":
            importlib.import_module(found.name)
    if len(sys.argv) > 1:
        from unetr.app.cli import main as command

        command()


if __name__ == "__main__":
    main()
