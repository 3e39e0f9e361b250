#include <algorithm>
#include <cctype>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/file_dataset.h"

namespace spatialmamba::data {
namespace {

using Row = std::vector<std::string>;

/// Reads one record of RFC 4180 CSV at a time; line breaks inside of quotes are not supported.
class CsvReader {
 public:
  explicit CsvReader(std::string text) : text_(std::move(text)) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text_.starts_with(kByteOrderMark)) text_.erase(0, kByteOrderMark.size());
  }

  /// False at the end. Empty lines are passed over.
  bool next(Row& row) {
    while (at_ < text_.size()) {
      const std::size_t end = std::min(text_.find('\n', at_), text_.size());
      std::string_view line = std::string_view(text_).substr(at_, end - at_);
      at_ = end + 1;
      ++line_;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty()) continue;
      row = split(line);
      return true;
    }
    return false;
  }

  std::int64_t line() const { return line_; }

 private:
  static Row split(std::string_view line) {
    Row row(1);
    bool quoted = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const char c = line[i];
      if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
        row.back() += '"';
        ++i;
      } else if (c == '"') {
        quoted = !quoted;
      } else if (c == ',' && !quoted) {
        row.emplace_back();
      } else {
        row.back() += c;
      }
    }
    return row;
  }

  std::string text_;
  std::size_t at_ = 0;
  std::int64_t line_ = 0;
};

std::size_t column_of(const std::filesystem::path& csv, const Row& header, const std::string& name) {
  const auto column = std::find(header.begin(), header.end(), name);
  if (column == header.end()) {
    fail("{}: expected a header with the columns filename and label, found no column '{}'", csv.string(),
         name);
  }
  return static_cast<std::size_t>(column - header.begin());
}

bool is_number(const std::string& text) {
  constexpr std::size_t kMaxDigits = 9;
  return !text.empty() && text.size() <= kMaxDigits &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::vector<std::string> sorted_classes(const std::vector<std::string>& labels) {
  const std::set<std::string> distinct(labels.begin(), labels.end());
  std::vector<std::string> classes(distinct.begin(), distinct.end());
  if (std::all_of(classes.begin(), classes.end(), is_number)) {
    std::stable_sort(classes.begin(), classes.end(),
                     [](const std::string& a, const std::string& b) { return std::stol(a) < std::stol(b); });
  }
  return classes;
}

}  // namespace

Dataset csv_dataset(const std::filesystem::path& csv, const DatasetOptions& options) {
  CsvReader reader(read_text(csv));
  Row row;
  if (!reader.next(row))
    fail("{}: expected a CSV with the columns filename and label, found an empty file", csv.string());
  const std::size_t filename = column_of(csv, row, "filename");
  const std::size_t label = column_of(csv, row, "label");
  LabelledFiles files;
  while (reader.next(row)) {
    if (row.size() <= std::max(filename, label) || row[filename].empty() || row[label].empty()) {
      fail("{}: line {} lacks a filename or a label", csv.string(), reader.line());
    }
    files.files.push_back(csv.parent_path() / row[filename]);
    files.labels.push_back(row[label]);
  }
  if (files.files.empty()) fail("{}: lists no pictures", csv.string());
  std::vector<std::string> classes = sorted_classes(files.labels);
  return file_dataset(csv, std::move(files), std::move(classes), options);
}

}  // namespace spatialmamba::data
