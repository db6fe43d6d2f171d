"""Python runs this first in every process that has this folder on PYTHONPATH: whatever goes to the Internet is refused,
and that and every write outside the folders given in WATCH_ALLOWED is written to WATCH_LOG, a line each.

Plain Python of the standard library, since it is loaded before everything else.
"""

import os
import socket
import sys

_ALLOWED = tuple(os.environ["WATCH_ALLOWED"].split(os.pathsep))
_LOG = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_INTERNET = {int(socket.AF_INET), int(socket.AF_INET6)}
_LOOPBACK = ("127.", "::1", "localhost")
_NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
_CONNECTIONS = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}
# Event -> which of its arguments are paths, each with its folder's descriptor where it can have one.
_PATHS = {
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.truncate": ((0, None),),
    "os.setxattr": ((0, None),),
}


def _note(kind, what):
    os.write(_LOG, f"{kind} {what!r}\n".encode(errors="backslashreplace"))


def _outside(path, folder=None):
    """The path if it is not in an allowed folder. The interpreter's own compiled modules are allowed."""
    if isinstance(path, int):
        return None
    path = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0 and not path.startswith(os.sep):
        path = os.path.realpath(f"/proc/self/fd/{folder}") + os.sep + path
    found = os.path.realpath(path)
    inside = any(found == allowed or found.startswith(allowed + os.sep) for allowed in _ALLOWED)
    return None if inside or "__pycache__" in found or found in ("/dev/null", "/dev/tty") else path


def _watch(event, arguments):
    if event in _PATHS:
        for place, folder in _PATHS[event]:
            path = _outside(arguments[place], None if folder is None else arguments[folder])
            if path is not None:
                _note("write", f"{event} {path}")
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
        path = _outside(arguments[0])
        if path is not None:
            _note("write", f"open {path}")
    elif event in _NAMES or event in _CONNECTIONS:
        told = str(arguments[0] if event in _NAMES else arguments[1])
        if event in _CONNECTIONS and int(getattr(arguments[0], "family", 0)) not in _INTERNET:
            return
        if os.environ.get("WATCH_LOOPBACK") and any(name in told for name in (*_LOOPBACK, socket.gethostname())):
            return
        _note("socket", f"{event} {told}")
        raise OSError(f"watched: {event} {told}")
    elif event == "subprocess.Popen":
        _note("program", str(arguments[0]))


sys.addaudithook(_watch)
