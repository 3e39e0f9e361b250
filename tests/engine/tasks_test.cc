#include "engine/tasks.h"

#include <gtest/gtest.h>

#include <vector>

namespace spatialmamba::engine {
namespace {

kernels::PackedLinear layer_of(std::int64_t outputs) {
  constexpr std::int64_t kInputs = 2;
  const std::vector<float> weights(static_cast<std::size_t>(outputs * kInputs), 1.0F);
  return {outputs, kInputs, weights.data(), nullptr, kernels::Isa::scalar, kernels::Multiply::full};
}

TEST(TaskGrid, CoversEveryOutputOfEveryRowOnce) {
  std::vector<kernels::PackedLinear> layers;
  for (const std::int64_t outputs : {1, 8, 9, 34, 64, 200}) layers.push_back(layer_of(outputs));
  for (const std::int64_t rows : {1, 2, 5, 13, 14, 15, 49, 100, 196, 785, 3136}) {
    for (const std::int64_t panel_rows : {1, 6, 14, 16}) {
      for (const int threads : {1, 2, 3, 7, 64, 200}) {
        const TaskGrid grid(rows, panel_rows, threads);
        SCOPED_TRACE(testing::Message()
                     << rows << " rows, panels of " << panel_rows << ", " << threads << " threads");
        for (const kernels::PackedLinear& layer : layers) {
          std::vector<int> seen(static_cast<std::size_t>(rows * layer.outputs()));
          for (std::int64_t i = 0; i < grid.count(); ++i) {
            const Task task = grid[i];
            EXPECT_GT(task.count(), 0);
            EXPECT_LE(task.count(), grid.block_rows());
            EXPECT_EQ(task.splits, grid.splits());
            const RowRange columns = task.columns(layer);
            EXPECT_EQ(columns.begin == columns.end || columns.begin % layer.panel_columns() == 0, true);
            for (std::int64_t row = task.rows.begin; row < task.rows.end; ++row) {
              for (std::int64_t j = columns.begin; j < columns.end; ++j) {
                ++seen[static_cast<std::size_t>(row * layer.outputs() + j)];
              }
            }
          }
          EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
        }
        // Work for everybody, unless there is a shortage of rows and outputs are not shared.
        EXPECT_GE(grid.count(), std::min<std::int64_t>(threads, rows));
      }
    }
  }
}

TEST(TaskMemory, PiecesDoNotOverlapAndAreAligned) {
  kernels::GemmScratch scratch;
  TaskMemory memory(scratch, 5 + 17 + 33);
  for (int round = 0; round < 2; ++round) {
    memory.reset();
    const float* end = nullptr;
    for (const std::int64_t floats : {5, 17, 33}) {
      const float* piece = memory.take(floats);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % 64, 0U);
      EXPECT_GE(piece, end);
      end = piece + floats;
    }
  }
}

}  // namespace
}  // namespace spatialmamba::engine
