#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/temporary_folder.h"

namespace spatialmamba::test {

/// Whether the built program has LibTorch and OpenCV in it.
inline constexpr bool kWithTraining = SPATIALMAMBA_WITH_TRAINING;

/// What a run of the built program left.
struct Outcome {
  int code = 0;
  std::string out;
  std::string error;

  /// Standard output as JSON; fails the test where it is anything else.
  nlohmann::json json() const;
};

/// Runs the built program as a user's shell would. `input` becomes its standard input.
Outcome run_program(const std::vector<std::string>& arguments,
                    const std::filesystem::path& input = "/dev/null");

/// Expects exit code `code`, nothing on standard output, and one message that contains every part and looks
/// like one of ours: it starts with the program's name and shows no exception text.
void expect_refusal(const std::vector<std::string>& arguments, int code,
                    const std::vector<std::string>& parts);

}  // namespace spatialmamba::test
