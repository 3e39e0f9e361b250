#pragma once

#include <stdexcept>
#include <string>

namespace spatialmamba {

/// Everything the library throws on bad input. what() is one sentence for the user: the thing (file, tensor,
/// option), what was expected and what was found. The command line prints it and exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A command or a configuration that cannot mean anything, whatever the files hold. Exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace spatialmamba
