#pragma once

#include <gtest/gtest.h>

#include <string>

#include "spatialmamba/error.h"

namespace spatialmamba::test {

/// The message of the error that `action` throws; fails the test where it throws none.
template <typename ErrorType = Error, typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const ErrorType& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace spatialmamba::test
