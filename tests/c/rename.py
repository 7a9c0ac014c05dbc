"""The eleven names from Python, by ctypes and by Python's own modules; what it prints
is the same from run to run. The test runs it with rename.c preloaded and without.
"""

import ctypes
import errno
import os
import socket
import stat
import sys

IPC_PRIVATE, IPC_CREAT, IPC_RMID = 0, 0o1000, 0
IPC_NOWAIT, GETVAL, GETALL, SETVAL = 0o4000, 12, 13, 16

libc = ctypes.CDLL(None, use_errno=True)
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmat.restype = ctypes.c_void_p
libc.shmdt.argtypes = [ctypes.c_void_p]
libc.semop.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]


class SemBuf(ctypes.Structure):
    _fields_ = [(name, ctypes.c_short) for name in ("num", "op", "flg")]


class TimeSpec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def show(what, result):
    failed = result in (-1, ctypes.c_void_p(-1).value)
    print(what, result, errno.errorcode[ctypes.get_errno()] if failed else "")


path = sys.argv[1].encode()

pair = (ctypes.c_int * 2)()
show("socketpair", libc.socketpair(socket.AF_UNIX, socket.SOCK_STREAM, 0, pair))
os.write(pair[0], b"pair")
print(os.read(pair[1], 8))
os.close(pair[0])
os.close(pair[1])
show("socketpair", libc.socketpair(socket.AF_UNIX, 12345, 0, pair))
one, two = socket.socketpair()
one.send(b"python's own")
print(two.recv(16))

show("mkfifo", libc.mkfifo(path, 0o640))
show("mkfifo", libc.mkfifo(path, 0o640))
print(oct(os.stat(path).st_mode))
os.unlink(path)
os.mkfifo(path, 0o600)
print(stat.S_ISFIFO(os.stat(path).st_mode))
os.unlink(path)
show("ftok", libc.ftok(b"/", ord("x")))
show("ftok", libc.ftok(path, ord("x")))

shm = libc.shmget(IPC_PRIVATE, 100, IPC_CREAT | 0o600)
show("shmget", min(shm, 0))
memory = libc.shmat(shm, None, 0)
ctypes.memmove(memory, b"shared", 7)
print(ctypes.string_at(memory))
show("shmctl", libc.shmctl(shm, IPC_RMID, None))
show("shmdt", libc.shmdt(memory))
show("shmdt", libc.shmdt(None))
show("shmat", libc.shmat(-1, None, 0))

sem = libc.semget(IPC_PRIVATE, 2, IPC_CREAT | 0o600)
show("semget", min(sem, 0))
show("SETVAL", libc.semctl(sem, 1, SETVAL, 5))
ops = (SemBuf * 2)(SemBuf(0, 2, 0), SemBuf(1, -1, 0))
show("semop", libc.semop(sem, ops, 2))
show("semop", libc.semop(sem, ctypes.byref(SemBuf(0, -3, IPC_NOWAIT)), 1))
late = libc.semtimedop(sem, ctypes.byref(SemBuf(0, -3, 0)), ctypes.c_size_t(1),
                       ctypes.byref(TimeSpec(0, 1000000)))
show("semtimedop", late)
show("GETVAL", libc.semctl(sem, 0, GETVAL))
values = (ctypes.c_ushort * 2)()
show("GETALL", libc.semctl(sem, 0, GETALL, values))
print(list(values))
show("IPC_RMID", libc.semctl(sem, 0, IPC_RMID))
show("IPC_RMID", libc.semctl(-1, 0, IPC_RMID))
