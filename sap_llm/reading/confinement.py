"""What the reader process gives up before it touches a foreign file: files, network, children, memory.

Belongs here: limits that a process can put on itself without privileges. Time is watched by the parent (`sandbox`), and
by a limit on CPU seconds here, for the case that the parent is gone.

Linux' Landlock leaves reading below a few folders, seccomp takes sockets, new programs and other processes. Both hold
for root as well. Where the kernel has neither, the limits of `setrlimit` remain.
"""

import ctypes
import math
import os
import platform
import resource
import struct
import sys
from pathlib import Path

_OPEN_FILES = 64
_PROCESSES = 64  # threads count; root is not bound by it, seccomp binds all
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2  # prctl(2)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # landlock(7), on every architecture
_WRITE_FILE, _READ_FILE, _READ_FOLDER, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_RIGHTS_BY_ABI = (13, 14, 15, 15, 16)  # how many rights on files each version knows
_CONNECT_RIGHTS, _NETWORK_ABI = 0b11, 4
_SYSTEM_FOLDERS = ("/usr", "/lib", "/lib64", "/etc/fonts", "/etc/ld.so.cache", "/dev/urandom")
_WRITABLE = Path(os.devnull)  # Tesseract's messages go there, and it does not survive it when it cannot

_FORBIDDEN = {  # machine: its name for the kernel; forbidden calls; clone
    # socket, socketpair, execve, execveat, ptrace, process_vm_readv, process_vm_writev, kill, unshare,
    # io_uring_setup; and where the machine has them, fork and vfork
    "x86_64": (0xC000003E, (41, 53, 59, 322, 101, 310, 311, 62, 272, 425, 57, 58), 56),
    "aarch64": (0xC00000B7, (198, 199, 221, 281, 117, 270, 271, 129, 97, 425), 220),
}
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF instructions
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000  # the latter with an error number
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data


def confine(*, memory_bytes: int, readable: list[Path]) -> None:
    """Limit this process for good.

    Args:
        memory_bytes: Address space.
        readable: Folders and files to be read besides Python and the system's libraries.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    if sys.platform != "linux":  # elsewhere the others are not honoured or refused
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent if (package.parent / "pyproject.toml").is_file() else None  # documents may lie below it
    libraries = [path for path in map(Path, filter(None, sys.path)) if path.resolve() != checkout]
    system = [*map(Path, _SYSTEM_FOLDERS), Path(sys.prefix), Path(sys.base_prefix)]
    _limit_files(libc, [*system, *libraries, package, *readable])
    _limit_calls(libc)


def limit_cpu(seconds: float) -> None:
    """End this process by a signal after so many further CPU seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1, hard))


def _limit_files(libc: ctypes.CDLL, readable: list[Path]) -> None:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    rights = (1 << _RIGHTS_BY_ABI[min(version, len(_RIGHTS_BY_ABI)) - 1]) - 1
    handled = struct.pack("<QQ", rights, _CONNECT_RIGHTS)[: 16 if version >= _NETWORK_ABI else 8]
    rules = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return
    for path in (*readable, _WRITABLE):
        if path.exists():
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            granted = _READ_FILE | (_READ_FOLDER if path.is_dir() else 0)
            granted |= (_WRITE_FILE | _TRUNCATE) & rights if path == _WRITABLE else 0
            libc.syscall(_ADD_RULE, rules, 1, struct.pack("<Qi", granted, descriptor), 0)
            os.close(descriptor)
    libc.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _limit_calls(libc: ctypes.CDLL) -> None:
    machine = _FORBIDDEN.get(platform.machine())
    if machine is None:
        return
    architecture, forbidden, clone = machine
    refuse, absent = _REFUSE | 1, _REFUSE | 38  # EPERM; ENOSYS, whereupon the C library falls back to clone
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, refuse),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for number in forbidden:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    program += [
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, absent),
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    libc.prctl(_SET_SECCOMP, _FILTER, head, 0, 0)
