// What holds for every verb: help, options that do not exist, exit codes, JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/program.h"

namespace spatialmamba::test {
namespace {

using testing::HasSubstr;

/// The words that begin the lines of the section "Subcommands:" of a help page.
std::vector<std::string> subcommands(const std::string& help) {
  std::vector<std::string> names;
  std::istringstream lines(help);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Subcommands:")) {
      inside = true;
    } else if (inside && line.starts_with("  ") && line.size() > 2 && line[2] != ' ') {
      names.push_back(line.substr(2, line.find(' ', 2) - 2));
    } else if (inside && line.empty()) {
      break;
    }
  }
  return names;
}

TEST(Usage, EveryVerbHasHelpWithAnExample) {
  const Outcome help = run_program({"--help"});
  EXPECT_EQ(help.code, 0);
  const std::vector<std::string> verbs = subcommands(help.out);
  ASSERT_GE(verbs.size(), 3U) << help.out;
  for (const std::string& verb : verbs) {
    const Outcome page = run_program({verb, "--help"});
    EXPECT_EQ(page.code, 0) << verb;
    EXPECT_EQ(page.error, "") << verb;
    EXPECT_THAT(page.out, HasSubstr("Example:\n  spatialmamba " + verb));
    for (const std::string& nested : subcommands(page.out)) {
      EXPECT_EQ(run_program({verb, nested, "--help"}).code, 0) << verb << ' ' << nested;
    }
  }
}

TEST(Usage, MistypedWordsAreAnsweredWithTheNearest) {
  expect_refusal({"docter"}, 2, {"unknown verb 'docter'", "did you mean 'doctor'?"});
  expect_refusal({"zzzzzz"}, 2, {"unknown verb 'zzzzzz'", "doctor", "info"});
  expect_refusal({"doctor", "--jsno"}, 2, {"unknown option '--jsno'", "did you mean '--json'?"});
  expect_refusal({"info", "--varient=tiny"}, 2, {"'--varient=tiny'", "did you mean '--variant'?"});
  expect_refusal({"doctor", "surplus"}, 2, {"unexpected argument 'surplus'"});
  expect_refusal({}, 2, {"a verb is needed"});
  expect_refusal({"--nonsense"}, 2, {"--nonsense"});
  expect_refusal({std::string(5000, 'x')}, 2, {"unknown verb"});
  expect_refusal({"convert", "", "out.pth"}, 2, {"word 2", "empty"});
}

TEST(Usage, ValuesThatMeanNothingAreRefused) {
  expect_refusal({"info", "--variant", "huge"}, 2, {"huge", "tiny", "small", "base"});
  for (const char* size : {"0", "-3", "12x", "x12", "1x2x3", "abc", "1e3", "999999999999999999999"}) {
    expect_refusal({"info", "--variant", "tiny", "--size", size}, 2, {"size", size});
  }
  for (const char* classes : {"0", "-1"}) {
    expect_refusal({"info", "--variant", "tiny", "--num-classes", classes}, 2, {"above 0", classes});
  }
}

TEST(Usage, DoctorDescribesTheMachine) {
  const Outcome plain = run_program({"doctor"});
  EXPECT_EQ(plain.code, 0);
  const nlohmann::json report = run_program({"doctor", "--json"}).json();
  EXPECT_GE(report.at("threads").get<int>(), 1);
  EXPECT_GT(report.at("memory_gib").get<double>(), 0.0);
  const auto supported = report.at("instruction_sets").get<std::vector<std::string>>();
  EXPECT_THAT(supported, testing::Contains(report.at("instruction_set").get<std::string>()));
  EXPECT_THAT(plain.out, HasSubstr(report.at("instruction_set").get<std::string>()));
}

TEST(Usage, DoctorNamesAnInstructionSetThatCannotBe) {
  ASSERT_EQ(setenv("SPATIALMAMBA_ISA", "quantum", 1), 0);
  const Outcome outcome = run_program({"doctor", "--json"});
  unsetenv("SPATIALMAMBA_ISA");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.json().at("problems").dump(), HasSubstr("quantum"));
}

TEST(Usage, AFullStandardOutputIsAFailure) {
  const std::string command = std::string(SPATIALMAMBA_PROGRAM) + " doctor --json > /dev/full 2> /dev/null";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
}

}  // namespace
}  // namespace spatialmamba::test
