// What launchers leave in the environment.
#include "launch/place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"

namespace spatialmamba::launch {
namespace {

using testing::HasSubstr;

std::optional<Place> place(const std::map<std::string, std::string>& variables) {
  return place_from_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string refusal(const std::map<std::string, std::string>& variables) {
  try {
    place(variables);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Place, NobodyStartedUs) {
  EXPECT_FALSE(place({}));
  EXPECT_FALSE(place({{"RANK", "0"}}));
  // In a batch script, where srun started nothing.
  EXPECT_FALSE(place({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "7"}}));
}

TEST(Place, TorchrunAndOurOwnLauncher) {
  const auto found = place({{"RANK", "3"},
                            {"WORLD_SIZE", "8"},
                            {"LOCAL_RANK", "2"},
                            {"LOCAL_WORLD_SIZE", "4"},
                            {"MASTER_ADDR", "node7"},
                            {"MASTER_PORT", "29400"},
                            {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                            {"TORCHELASTIC_RESTART_COUNT", "2"}});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rank, 3);
  EXPECT_EQ(found->ranks, 8);
  EXPECT_EQ(found->local_rank, 2);
  EXPECT_EQ(found->local_ranks, 4);
  EXPECT_EQ(found->address, "node7");
  EXPECT_EQ(found->port, 29400);
  EXPECT_TRUE(found->has_store);
  EXPECT_EQ(found->attempt, "2");
}

TEST(Place, OpenMpi) {
  const std::map<std::string, std::string> one_machine = {{"OMPI_COMM_WORLD_RANK", "1"},
                                                          {"OMPI_COMM_WORLD_SIZE", "2"},
                                                          {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                                          {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                                          {"PMIX_NAMESPACE", "1234@1"}};
  const auto found = place(one_machine);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rank, 1);
  EXPECT_EQ(found->local_rank, 1);
  EXPECT_EQ(found->address, "127.0.0.1");
  EXPECT_GT(found->port, 1023);
  auto two_machines = one_machine;
  two_machines["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";
  EXPECT_THAT(refusal(two_machines), HasSubstr("MASTER_ADDR"));
  two_machines["MASTER_ADDR"] = "node1";
  EXPECT_EQ(place(two_machines)->address, "node1");
}

TEST(Place, Slurm) {
  std::map<std::string, std::string> step = {{"SLURM_PROCID", "5"},
                                             {"SLURM_LOCALID", "1"},
                                             {"SLURM_STEP_NUM_TASKS", "8"},
                                             {"SLURM_JOB_ID", "42"},
                                             {"SLURM_STEP_ID", "0"},
                                             {"SLURM_NTASKS", "9"},
                                             {"SLURM_STEP_NODELIST", "gpu[003-005,9],x1"}};
  const auto found = place(step);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rank, 5);
  EXPECT_EQ(found->local_rank, 1);
  EXPECT_EQ(found->ranks, 8);
  EXPECT_EQ(found->address, "gpu003");
  const std::uint16_t port = found->port;
  for (const auto& [nodes, first] : {std::pair("cpu1,cpu[2-4]", "cpu1"), {"cpu1", "cpu1"}, {"a[7]", "a7"}}) {
    step["SLURM_STEP_NODELIST"] = nodes;
    EXPECT_EQ(place(step)->address, first);
  }
  EXPECT_EQ(place(step)->port, port);  // all of a step agree
  step["SLURM_STEP_ID"] = "1";
  EXPECT_NE(place(step)->port, port);
}

TEST(Place, NonsenseIsNamed) {
  const std::map<std::string, std::string> good = {
      {"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "1234"}};
  ASSERT_TRUE(place(good));
  for (const auto& [name, value] : {std::pair("RANK", "2"),
                                    {"RANK", "-1"},
                                    {"RANK", "1x"},
                                    {"RANK", ""},
                                    {"WORLD_SIZE", "0"},
                                    {"MASTER_PORT", "70000"},
                                    {"LOCAL_WORLD_SIZE", "many"}}) {
    auto bad = good;
    bad[name] = value;
    EXPECT_THAT(refusal(bad), HasSubstr(name)) << name << "=" << value;
  }
  auto without_port = good;
  without_port.erase("MASTER_PORT");
  EXPECT_THAT(refusal(without_port), HasSubstr("MASTER_PORT is missing"));
}

}  // namespace
}  // namespace spatialmamba::launch
