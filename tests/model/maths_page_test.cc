// docs/maths.md points at code as `file:function`: both must exist.
#include <gtest/gtest.h>

#include <regex>

#include "base/file.h"

namespace spatialmamba {
namespace {

TEST(MathsPage, ReferencesExist) {
  const std::filesystem::path root = SPATIALMAMBA_SOURCE_DIR;
  const std::string page = read_text(root / "docs/maths.md");
  const std::regex reference("`((?:src|include)/[^`:]+):([A-Za-z_]+)`");
  std::size_t count = 0;
  for (std::sregex_iterator match(page.begin(), page.end(), reference), end; match != end; ++match) {
    SCOPED_TRACE((*match)[0].str());
    ASSERT_TRUE(std::filesystem::exists(root / (*match)[1].str()));
    const std::string code = read_text(root / (*match)[1].str());
    EXPECT_TRUE(std::regex_search(code, std::regex("\\b" + (*match)[2].str() + "\\b")));
    ++count;
  }
  EXPECT_GT(count, 20U);
}

}  // namespace
}  // namespace spatialmamba
