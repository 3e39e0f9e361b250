#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace spatialmamba::test {

/// A CSV without quotes, with a header line.
class CsvTable {
 public:
  static CsvTable read(const std::filesystem::path& path);

  std::size_t rows() const { return rows_.size(); }
  /// Fail (throw) for a column that there is not.
  double number(std::size_t row, const std::string& column) const;
  std::int64_t integer(std::size_t row, const std::string& column) const;

 private:
  const std::string& cell(std::size_t row, const std::string& column) const;

  std::map<std::string, std::size_t> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// The folder of the project's sources.
std::filesystem::path project_folder();

}  // namespace spatialmamba::test
