#pragma once

#include <array>
#include <csetjmp>

namespace spatialmamba::image {

/// Where libjpeg and libpng jump to on an error, and what they had to say.
struct CErrors {
  std::jmp_buf jump;
  std::array<char, 256> message = {};
};

/// Runs calls into a C library whose error handler does longjmp(errors.jump, 1); false when it did. Such a
/// jump runs no destructors, so `calls` creates nothing that has one: C++ allocates between guarded calls.
template <typename Calls>
bool guarded(CErrors& errors, const Calls& calls) {
  if (setjmp(errors.jump) != 0) return false;
  calls();
  return true;
}

}  // namespace spatialmamba::image
