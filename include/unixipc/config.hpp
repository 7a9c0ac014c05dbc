// unixipc: the language features that the compiler and the C++ library have.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_CONFIG_HPP
#define UNIXIPC_CONFIG_HPP

#if !defined(__cplusplus) || __cplusplus < 201703L
#error "unixipc.hpp needs C++17 or newer"
#endif

#include <unixipc.h>

#if __has_include(<version>)
#include <version>
#endif

// The functions that throw exist only if the compiler supports exceptions. With -fno-exceptions,
// the functions that begin with try_ remain.
#if defined(__cpp_exceptions)
#define UNIXIPC_HAS_EXCEPTIONS 1
#else
#define UNIXIPC_HAS_EXCEPTIONS 0
#endif

#if defined(__cpp_lib_span)
#define UNIXIPC_HAS_SPAN 1
#else
#define UNIXIPC_HAS_SPAN 0
#endif

#if defined(__cpp_lib_expected)
#define UNIXIPC_HAS_EXPECTED 1
#else
#define UNIXIPC_HAS_EXPECTED 0
#endif

// The inline namespace names the version of the interface, and the standard types in it. Object
// files that disagree about these types do not link, instead of exchanging different ones.
#if UNIXIPC_HAS_EXPECTED && UNIXIPC_HAS_SPAN
#define UNIXIPC_ABI v0_span_expected
#elif UNIXIPC_HAS_SPAN
#define UNIXIPC_ABI v0_span
#else
#define UNIXIPC_ABI v0
#endif

#endif // UNIXIPC_CONFIG_HPP
