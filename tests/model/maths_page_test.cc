// docs/maths.md points at code as `file:function`: both must exist.
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"

namespace spatialmamba {
namespace {

/// The texts between backquotes that look like `src/FILE:FUNCTION`.
std::vector<std::string> references_of(const std::string& page) {
  std::vector<std::string> references;
  std::istringstream stream(page);
  bool quoted = false;
  for (std::string part; std::getline(stream, part, '`'); quoted = !quoted) {
    const bool is_path = part.starts_with("src/") || part.starts_with("include/");
    if (quoted && is_path && part.find(':') != std::string::npos) references.push_back(part);
  }
  return references;
}

TEST(MathsPage, ReferencesExist) {
  const std::filesystem::path root = SPATIALMAMBA_SOURCE_DIR;
  const std::vector<std::string> references = references_of(read_text(root / "docs/maths.md"));
  EXPECT_GT(references.size(), 20U);
  for (const std::string& reference : references) {
    SCOPED_TRACE(reference);
    const std::size_t colon = reference.find(':');
    const std::filesystem::path file = root / reference.substr(0, colon);
    ASSERT_TRUE(std::filesystem::exists(file));
    EXPECT_NE(read_text(file).find(reference.substr(colon + 1)), std::string::npos);
  }
}

}  // namespace
}  // namespace spatialmamba
