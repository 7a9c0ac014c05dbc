"""compare_cdef.py CDEF LIBRARY: prints a C program that compares the structures and constants that
cffi reads from CDEF with unixipc.h. Fails if the library lacks a function."""

import re
import sys

import cffi

ffi = cffi.FFI()
with open(sys.argv[1]) as file:
    declarations = file.read()
ffi.cdef(declarations)
lib = ffi.dlopen(sys.argv[2])


def check(expression, value):
    print(f'_Static_assert({expression} == {value}, "{expression}");')


structures = re.findall(r"^struct (ipc_\w+) {", declarations, re.M)
constants = re.findall(r"^enum { (\w+) =", declarations, re.M)
functions = re.findall(r"\b(ipc_\w+)\(", declarations)
for found in structures, constants, functions:
    assert len(found) > 10, found

print("#include <stddef.h>\n#include <unixipc.h>")
for name in structures:
    structure = f"struct {name}"
    check(f"sizeof({structure})", ffi.sizeof(structure))
    for member, info in ffi.typeof(structure).fields:
        check(f"offsetof({structure}, {member})", info.offset)
        check(f"sizeof((({structure} *)0)->{member})", ffi.sizeof(info.type))
for name in constants:
    check(name, getattr(lib, name))
for name in functions:
    getattr(lib, name)
