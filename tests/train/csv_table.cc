#include "train/csv_table.h"

#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace spatialmamba::test {
namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream stream(line);
  for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
  if (line.ends_with(',')) cells.emplace_back();
  return cells;
}

}  // namespace

CsvTable CsvTable::read(const std::filesystem::path& path) {
  CsvTable table;
  std::istringstream text(read_text(path));
  std::string line;
  std::getline(text, line);
  for (const std::string& name : split(line)) table.columns_.emplace(name, table.columns_.size());
  while (std::getline(text, line)) table.rows_.push_back(split(line));
  return table;
}

const std::string& CsvTable::cell(std::size_t row, const std::string& column) const {
  return rows_.at(row).at(columns_.at(column));
}

double CsvTable::number(std::size_t row, const std::string& column) const {
  return std::stod(cell(row, column));
}

std::int64_t CsvTable::integer(std::size_t row, const std::string& column) const {
  return std::stoll(cell(row, column));
}

std::filesystem::path project_folder() {
  return SPATIALMAMBA_SOURCE_DIR;
}

}  // namespace spatialmamba::test
