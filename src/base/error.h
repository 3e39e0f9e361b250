#pragma once

#include <fmt/format.h>

#include "spatialmamba/error.h"

namespace spatialmamba {

/// Throws Error with a formatted message: the thing, what was expected, what was found.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws UsageError (exit code 2) with a formatted message.
template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace spatialmamba
