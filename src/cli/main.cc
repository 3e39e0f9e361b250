#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/nearest.h"
#include "cli/verbs.h"
#include "launch/lost_rank.h"
#include "spatialmamba/version.h"

namespace spatialmamba::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;  // 128 + SIGINT

int report(const std::string& verb, const std::string& message, int code) {
  std::fflush(stdout);
  fmt::print(stderr, "spatialmamba{}{}: {}\n", verb.empty() ? "" : " ", verb, message);
  return code;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string match = nearest(word, candidates);
  return match.empty() ? std::string() : fmt::format("; did you mean '{}'?", match);
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

bool is_verb(std::string_view word) {
  return std::ranges::any_of(verbs(), [&](const Verb& verb) { return word == verb.name; });
}

std::string unknown_verb(const std::string& word) {
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) names.emplace_back(verb.name);
  const std::string hint = suggestion(word, names);
  return fmt::format("unknown verb '{}'{}", word,
                     hint.empty() ? fmt::format("; the verbs are {}", fmt::join(names, ", ")) : hint);
}

/// The verb, or the part of a verb ("visualize states"), that the words chose.
const CLI::App& chosen_part(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : chosen_part(*chosen.front());
}

std::vector<std::string> part_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* part : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(part->get_name());
  return names;
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& part = chosen_part(app);
  const std::vector<std::string> parts = part_names(part);
  const std::vector<std::string> extras = app.remaining(true);
  if (extras.empty() && parts.empty()) return error.what();
  if (extras.empty()) return fmt::format("expected one of {} as the next word", fmt::join(parts, ", "));
  const std::string& word = extras.front();
  if (!word.starts_with('-') && !parts.empty())
    return fmt::format("expected one of {}, found '{}'", fmt::join(parts, ", "), word);
  if (!word.starts_with('-')) return fmt::format("unexpected argument '{}'", word);
  return fmt::format("unknown option '{}'{}", word,
                     suggestion(word.substr(0, word.find('=')), option_names(part)));
}

int run_verb(const std::string& name, const Run& run) {
  try {
    run();
    // A full disk or a closed pipe shows only now.
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail("standard output: cannot write");
    return 0;
  } catch (const Interrupted&) {
    return kInterrupted;
  } catch (const UsageError& error) {
    return report(name, error.what(), kUsage);
  } catch (const launch::LostRank& error) {
    return report(name, error.what(), launch::kLostRank);
  } catch (const Error& error) {
    return report(name, error.what(), kFailed);
  } catch (const std::bad_alloc&) {
    return report(name, "out of memory; try a smaller --batch or --size", kFailed);
  } catch (const std::exception& error) {
    const auto sentence = describe_foreign(error);
    return report(name, sentence ? *sentence : fmt::format("a defect of this program: {}", error.what()),
                  kFailed);
  }
}

int run_program(int argc, char** argv) {
  CLI::App app("Spatial-Mamba: a visual state-space model, trained and run in C++.", "spatialmamba");
  app.set_version_flag("--version", std::string(kVersion));
  app.require_subcommand(1);
  app.footer("`spatialmamba VERB --help` shows the options of a verb and an example.");
  std::vector<std::pair<CLI::App*, Run>> runs;
  for (const Verb& verb : verbs()) {
    CLI::App* child = app.add_subcommand(verb.name, verb.summary);
    child->footer(fmt::format("Example:\n  {}", verb.example));
    runs.emplace_back(child, verb.add(*child));
  }
  if (argc < 2) return report("", "a verb is needed; see `spatialmamba --help`", kUsage);
  if (argv[1][0] != '-' && !is_verb(argv[1])) {
    return report("", unknown_verb(argv[1]), kUsage);
  }
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] == '\0') return report("", fmt::format("word {} of the command is empty", i), kUsage);
  }
  const auto parsed_verb = [&]() -> std::string {
    const auto chosen = app.get_subcommands();
    return chosen.empty() ? "" : chosen.front()->get_name();
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return report(parsed_verb(), usage_message(app, error), kUsage);
  } catch (const UsageError& error) {
    return report(parsed_verb(), error.what(), kUsage);
  }
  for (const auto& [child, run] : runs) {
    if (child->parsed()) return run_verb(child->get_name(), run);
  }
  return kUsage;
}

}  // namespace
}  // namespace spatialmamba::cli

int main(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("spatialmamba"));
  spdlog::set_pattern("%^%l%$: %v");
  return spatialmamba::cli::run_program(argc, argv);
}
