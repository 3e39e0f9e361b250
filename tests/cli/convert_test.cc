// `convert`: there and back without loss, and never onto its own input.
#include <gtest/gtest.h>

#include <algorithm>

#include "cli/nano.h"
#include "cli/program.h"

namespace spatialmamba::test {
namespace {

TEST(Convert, ThereAndBackIsTheSame) {
  const TemporaryFolder folder;
  const std::string pth = (folder.path() / "nano.pth").string();
  const std::string back = (folder.path() / "back.safetensors").string();
  ASSERT_EQ(run_program({"convert", nano_weights().string(), pth}).code, 0);
  const Outcome outcome = run_program({"convert", pth, back, "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.error;

  const Weights original = read_weights(nano_weights());
  const Weights result = read_safetensors(back);
  EXPECT_EQ(result.tensors.size(), original.tensors.size());
  EXPECT_EQ(outcome.json().at("tensors"), original.tensors.size());
  for (const auto& [name, tensor] : original.tensors) {
    const Tensor& same = result.tensors.at(name);
    EXPECT_EQ(same.shape(), tensor.shape()) << name;
    ASSERT_EQ(same.bytes(), tensor.bytes()) << name;
    EXPECT_TRUE(std::equal(same.raw(), same.raw() + same.bytes(), tensor.raw())) << name;
  }
}

TEST(Convert, NeverOntoItsInput) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "nano.safetensors";
  std::filesystem::copy_file(nano_weights(), file);
  const std::filesystem::path link = folder.path() / "link.pth";
  std::filesystem::create_symlink(file, link);
  const std::vector<std::byte> before = read_file(file);
  for (const std::filesystem::path& output : {file, link}) {
    expect_refusal({"convert", file.string(), output.string()}, 2, {output.string(), "is the input itself"});
    EXPECT_EQ(read_file(file), before);
  }
}

}  // namespace
}  // namespace spatialmamba::test
