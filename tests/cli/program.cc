#include "cli/program.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>

#include "base/file.h"

namespace spatialmamba::test {
namespace {

std::string quoted(const std::string& word) {
  std::string escaped;
  for (const char c : word) escaped.append(c == '\'' ? std::string_view("'\\''") : std::string_view(&c, 1));
  return fmt::format("'{}'", escaped);
}

}  // namespace

nlohmann::json Outcome::json() const {
  nlohmann::json value = nlohmann::json::parse(out, nullptr, false);
  EXPECT_FALSE(value.is_discarded()) << "not JSON: " << out << error;
  return value;
}

Outcome run_program(const std::vector<std::string>& arguments, const std::filesystem::path& input) {
  const TemporaryFolder folder;
  const std::filesystem::path out = folder.path() / "out";
  const std::filesystem::path error = folder.path() / "error";
  std::string command = quoted(SPATIALMAMBA_PROGRAM);
  for (const std::string& argument : arguments) command += ' ' + quoted(argument);
  command +=
      fmt::format(" < {} > {} 2> {}", quoted(input.string()), quoted(out.string()), quoted(error.string()));
  const int status = std::system(command.c_str());
  EXPECT_TRUE(WIFEXITED(status)) << command;
  return {WEXITSTATUS(status), read_text(out), read_text(error)};
}

void expect_refusal(const std::vector<std::string>& arguments, int code,
                    const std::vector<std::string>& parts) {
  SCOPED_TRACE(testing::PrintToString(arguments));
  const Outcome outcome = run_program(arguments);
  EXPECT_EQ(outcome.code, code) << outcome.error;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.error, testing::StartsWith("spatialmamba"));
  for (const std::string& part : parts) EXPECT_THAT(outcome.error, testing::HasSubstr(part));
  for (const char* raw : {"std::", "c10::", "Exception", "terminate", "libtorch", "defect"}) {
    EXPECT_THAT(outcome.error, testing::Not(testing::HasSubstr(raw)));
  }
}

}  // namespace spatialmamba::test
