#pragma once

#include <new>
#include <stdexcept>

#include "base/error.h"

namespace spatialmamba::engine {

/// Calls body(). Want of memory becomes an Error that says what needs it: the text of describe().
template <typename Describe, typename Body>
decltype(auto) with_memory(const Describe& describe, const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    fail("out of memory: {} needs more than there is", describe());
  } catch (const std::length_error&) {
    fail("out of memory: {} needs more than there can be", describe());
  }
}

}  // namespace spatialmamba::engine
