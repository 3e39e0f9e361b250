#pragma once

#include <filesystem>

#include "data/dataset.h"
#include "train/checkpoint.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace spatialmamba::test {

/// Pictures of three classes that differ in where they are bright, with noise; made on the fly.
data::Dataset make_pictures(std::int64_t count, std::uint64_t seed);

/// A network and a recipe of everything that draws random numbers (mixing, erasing, drop path) and keeps
/// state (EMA, MESA), small enough for a run in a second: 3 epochs of 4 updates of 2 passes on 38 pictures.
train::Recipe small_recipe();

/// What small_recipe() is trained on and judged by.
struct SmallData {
  data::Dataset training = make_pictures(38, 1);
  data::Dataset validation = make_pictures(15, 2);
};

/// Everything of a checkpoint that a repeated run must repeat: all tensors' bytes and the position, without
/// the seconds that it took. Empty on equality, else what differs.
std::string difference(const std::filesystem::path& first, const std::filesystem::path& second);

}  // namespace spatialmamba::test
