// The same from C++, with the C++ header if it is installed.

#include <cstdio>
#if __has_include(<unixipc.hpp>)
#include <unixipc.hpp>
#endif

#include "prog.c"
