"""Becomes another program that the kernel ends when its parent dies. Run as a script; imports nothing of the project.

``python -I -S launcher.py PARENT_PID SIGNAL UID GID PROGRAM [ARGUMENT…]`` — UID and GID -1 keep the user.

The order matters: the kernel forgets a death signal when credentials change, so the user is changed first; the
parent may have died before the signal was set, so it is looked at afterwards. The signal follows the *thread* that
started this process: a supervisor starts its parts from its main thread. Only Linux has this; elsewhere the program
simply starts.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    program = sys.argv[5:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    os.execve(program[0], program, os.environ)  # noqa: S606 - becoming the program is the purpose


main()
