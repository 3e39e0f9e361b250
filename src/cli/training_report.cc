#include "cli/training_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "base/file.h"
#include "base/progress.h"
#include "cli/evaluation.h"
#include "draw/grid.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

constexpr std::size_t kMistakesShown = 32;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string percent(double share) {
  return fmt::format("{:.2f} %", 100.0 * share);
}

std::string table_row(std::initializer_list<std::string> cells) {
  std::string row = "<tr>";
  for (const std::string& cell : cells) row += "<td>" + escaped(cell) + "</td>";
  return row + "</tr>\n";
}

std::string facts(const nlohmann::ordered_json& summary) {
  const auto count = [&](const char* key) { return summary[key].get<std::int64_t>(); };
  std::string rows = table_row({"top-1", percent(summary["top1"].get<double>())});
  rows += table_row({"top-5", percent(summary["top5"].get<double>())});
  rows += table_row({"weights", summary["weights"].get<std::string>()});
  rows += table_row({"network", fmt::format("{}, {} parameters", summary["variant"].get<std::string>(),
                                            count("parameters"))});
  rows += table_row(
      {"images", fmt::format("{} for training, {} for validation; {} files could not be read",
                             count("train_images"), count("validation_images"), count("broken_files"))});
  rows += table_row({"training", fmt::format("{} epochs, {} updates made, {} skipped", count("epochs"),
                                             count("updates"), count("skipped_updates"))});
  rows += table_row({"cost", fmt::format("{}, at most {:.0f} MiB of memory",
                                         format_duration(summary["train_seconds"].get<double>()),
                                         summary["peak_memory_mib"].get<double>())});
  return rows;
}

/// What class `label` is taken for most often when it is not recognised: "dog (3)"; empty when it always is.
std::string nearest_mistake(const metrics::ConfusionMatrix& confusion, std::size_t label,
                            const std::vector<std::string>& classes) {
  const auto row = static_cast<std::int64_t>(label);
  std::int64_t most = 0;
  std::string found;
  for (std::int64_t c = 0; c < confusion.classes(); ++c) {
    if (c == row || confusion.count(row, c) <= most) continue;
    most = confusion.count(row, c);
    found = fmt::format("{} ({})", classes[static_cast<std::size_t>(c)], most);
  }
  return found;
}

/// The classes that are recognised least come first.
std::string class_rows(const metrics::ConfusionMatrix& confusion, const std::vector<std::string>& classes) {
  const auto shares = confusion.per_class_accuracy();
  std::vector<std::size_t> order;
  for (std::size_t c = 0; c < shares.size(); ++c) {
    if (shares[c]) order.push_back(c);
  }
  std::ranges::stable_sort(order, {}, [&](std::size_t c) { return *shares[c]; });
  std::string rows = table_row({"class", "recognised", "images", "most often taken for"});
  for (const std::size_t c : order) {
    rows += table_row({classes[c], percent(*shares[c]),
                       std::to_string(confusion.samples(static_cast<std::int64_t>(c))),
                       nearest_mistake(confusion, c, classes)});
  }
  return rows;
}

constexpr const char* kStyle =
    "body{font-family:sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
    "td{padding:.1em 1.5em .1em 0}img{max-width:100%}";

}  // namespace

TrainingReport::TrainingReport(const data::Dataset& validation)
    : validation_(validation), confusion_(std::ssize(validation.classes)) {}

void TrainingReport::observe(std::int64_t sample, std::span<const float> logits) {
  const std::int64_t label = validation_.labels[static_cast<std::size_t>(sample)];
  const std::int64_t predicted = metrics::top_k(logits, 1).front();
  confusion_.add(label, predicted);
  if (predicted == label) return;
  mistakes_.push_back({sample, predicted, metrics::softmax(logits)[static_cast<std::size_t>(predicted)]});
}

/// The surest of the wrong answers; false when there is none.
bool TrainingReport::write_mistakes(const std::filesystem::path& path) const {
  std::vector<Mistake> worst = mistakes_;
  std::ranges::stable_sort(worst, std::greater<>(), &Mistake::confidence);
  worst.resize(std::min(worst.size(), kMistakesShown));
  std::vector<draw::Tile> tiles;
  for (const Mistake& mistake : worst) {
    const std::int64_t label = validation_.labels[static_cast<std::size_t>(mistake.sample)];
    tiles.push_back({validation_.load(mistake.sample), validation_.classes[static_cast<std::size_t>(label)],
                     validation_.classes[static_cast<std::size_t>(mistake.predicted)], mistake.confidence});
  }
  if (tiles.empty()) return false;
  image::write_image(path, draw::draw_grid(tiles, "Worst mistakes"));
  return true;
}

void TrainingReport::write(const std::filesystem::path& folder, const nlohmann::ordered_json& summary) const {
  write_confusion(folder, confusion_, validation_.classes);
  const bool any = write_mistakes(folder / "mistakes.png");
  write_text(
      folder / "report.html",
      fmt::format(
          "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Training report</title>"
          "<style>{}</style></head><body>\n<h1>Training report</h1>\n<table>\n{}</table>\n"
          "<h2>Curves</h2>\n<img src=\"curves.png\" alt=\"Curves\">\n"
          "<h2>Worst mistakes</h2>\n{}\n"
          "<h2>Confusion matrix</h2>\n<img src=\"confusion.png\" alt=\"Confusion matrix\">\n"
          "<h2>Classes</h2>\n<table>\n{}</table>\n</body></html>\n",
          kStyle, facts(summary), any ? "<img src=\"mistakes.png\" alt=\"Worst mistakes\">" : "<p>None.</p>",
          class_rows(confusion_, validation_.classes)));
}

}  // namespace spatialmamba::cli
