#include "engine/upsampled.h"

#include <algorithm>
#include <array>
#include <optional>

#include "kernels/resize_map.h"
#include "kernels/upsampled_taps.h"

namespace spatialmamba::engine {
namespace {

using kernels::Neighbours;
using kernels::neighbours_of;
using kernels::PackedRows;
using kernels::WeightedRow;

constexpr std::int64_t kKernel = 3;

/// A map's rows in groups that are mixed together: as many as make good use of the weights that pass by.
class RowGroups {
 public:
  explicit RowGroups(const MapShape& shape)
      : height_(shape.height),
        width_(shape.width),
        rows_(std::clamp<std::int64_t>(kPixels / shape.width, 1, shape.height)) {}

  std::int64_t rows() const { return rows_; }
  std::int64_t pixels() const { return rows_ * width_; }
  std::int64_t count() const { return divide_up(height_, rows_); }  ///< of an image
  RowRange operator[](std::int64_t i) const { return {i * rows_, std::min((i + 1) * rows_, height_)}; }

 private:
  static constexpr std::int64_t kPixels = 112;  // 8 of the highest panels but AMX's

  std::int64_t height_;
  std::int64_t width_;
  std::int64_t rows_;
};

std::int64_t packed_size(const UpsampledInput& input) {
  const RowGroups groups(input.map.shape);
  return input.map.shape.images * groups.count() *
         input.convolution->blocks.front().packed_size(groups.pixels());
}

/// Where a group of rows of an image is packed.
PackedRows packed_group(const UpsampledInput& input, float* packed, std::int64_t image, std::int64_t group) {
  const RowGroups groups(input.map.shape);
  const RowRange rows = groups[group];
  const std::int64_t size = input.convolution->blocks.front().packed_size(groups.pixels());
  return {packed + (image * groups.count() + group) * size, (rows.end - rows.begin) * input.map.shape.width};
}

void pack(const UpsampledInput& input, float* packed, const Executor& run) {
  const MapShape& shape = input.map.shape;
  const RowGroups groups(shape);
  const PackedLinear& any = input.convolution->blocks.front();
  run.parallel()(shape.images * groups.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / groups.count();
      const std::int64_t group = i % groups.count();
      const std::int64_t first = (image * shape.height + groups[group].begin) * shape.width;
      any.pack(input.map.data + first * shape.channels, shape.channels,
               packed_group(input, packed, image, group));
    }
  });
}

/// Most rows of a map that must be at hand at once, when whole groups of them are made.
std::int64_t rows_at_hand(const MapShape& shape, std::int64_t out_height) {
  std::int64_t most = 1;
  for (std::int64_t y = 0; y < out_height; ++y) {
    const Neighbours first = neighbours_of(std::max<std::int64_t>(y - 1, 0), shape.height, out_height);
    const Neighbours last = neighbours_of(std::min(y + 1, out_height - 1), shape.height, out_height);
    most = std::max(most, last.second - first.first + 1);
  }
  const RowGroups groups(shape);
  return std::min(most + groups.rows() - 1, shape.height);
}

/// A block of the result's channels, in an image.
struct Place {
  std::int64_t image;
  std::size_t block;
  std::int64_t channels;
};

/// The latest rows of a map, mixed and as wide as the result, while a task walks down the result's rows.
class MixedRows {
 public:
  static std::int64_t ring_floats(const UpsampledInput& input, const MapShape& out, std::int64_t channels) {
    return rows_at_hand(input.map.shape, out.height) * kKernel * out.width * channels;
  }
  static std::int64_t mixed_floats(const UpsampledInput& input, std::int64_t channels) {
    return RowGroups(input.map.shape).pixels() * kKernel * kKernel * channels;
  }

  /// `mixed`: memory of mixed_floats(), free between two calls.
  MixedRows(const UpsampledInput& input, float* packed, const MapShape& out, const Place& place, float* ring,
            float* mixed, kernels::Isa isa)
      : input_(input),
        packed_(packed),
        out_(out),
        place_(place),
        groups_(input.map.shape),
        capacity_(rows_at_hand(input.map.shape, out.height)),
        ring_(ring),
        mixed_(mixed),
        isa_(isa) {}

  /// Adds to `rows` what the map adds to row y of the result; from call to call y does not fall.
  template <typename Rows>
  void collect(std::int64_t y, Rows& rows) {
    for (std::int64_t i = 0; i < kKernel; ++i) {
      const std::int64_t at = y + i - 1;
      if (at < 0 || at >= out_.height) continue;
      const Neighbours n = neighbours_of(at, input_.map.shape.height, out_.height);
      if (!next_) next_ = n.first / groups_.rows();
      while (*next_ * groups_.rows() <= n.second) mix((*next_)++);
      rows.add({row(n.first) + i * out_.width * place_.channels, 1.0F - n.share});
      rows.add({row(n.second) + i * out_.width * place_.channels, n.share});
    }
  }

 private:
  float* row(std::int64_t y) const { return ring_ + y % capacity_ * kKernel * out_.width * place_.channels; }
  void mix(std::int64_t group) {
    const PackedLinear& block = input_.convolution->blocks[place_.block];
    block.multiply(packed_group(input_, packed_, place_.image, group), {0, block.outputs()},
                   {.data = mixed_, .stride = block.outputs()});
    const std::int64_t width = input_.map.shape.width;
    const RowRange rows = groups_[group];
    for (std::int64_t y = rows.begin; y < rows.end; ++y) {
      const float* from = mixed_ + (y - rows.begin) * width * block.outputs();
      kernels::resize_taps(from, width, place_.channels, out_.width, row(y), isa_);
    }
  }

  const UpsampledInput& input_;
  float* packed_;
  const MapShape& out_;
  Place place_;
  RowGroups groups_;
  std::int64_t capacity_;
  float* ring_;
  float* mixed_;
  kernels::Isa isa_;
  std::optional<std::int64_t> next_;  // group to be mixed
};

class RowList {
 public:
  void add(const WeightedRow& row) { rows_[count_++] = row; }
  void clear() { count_ = 0; }
  std::span<const WeightedRow> rows() const { return {rows_.data(), count_}; }

 private:
  std::array<WeightedRow, kMostUpsampled * kKernel * 2> rows_{};
  std::size_t count_ = 0;
};

/// What the inputs add to the result.
class Sum {
 public:
  Sum(const Executor& run, std::span<const UpsampledInput> inputs, const MapShape& shape, bool relu,
      float* memory, float* out)
      : run_(run), inputs_(inputs), shape_(shape), relu_(relu), out_(out) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      packed_[i] = memory;
      memory += packed_size(inputs[i]);
    }
  }

  void form() const {
    for (std::size_t i = 0; i < inputs_.size(); ++i) pack(inputs_[i], packed_[i], run_);
    const auto blocks = std::ssize(inputs_.front().convolution->blocks);
    const std::int64_t columns = shape_.images * blocks;
    const std::int64_t bands = std::min(divide_up(run_.parallel().threads(), columns), shape_.height);
    run_.parallel()(columns * bands, 1, [&](std::int64_t begin, std::int64_t end) {
      TaskMemory memory(run_.scratch(), task_floats());
      for (std::int64_t i = begin; i < end; ++i) {
        memory.reset();
        const std::int64_t block = i / bands % blocks;
        const std::int64_t channels = std::min(kTapChannels, shape_.channels - block * kTapChannels);
        const RowRange rows{i % bands * shape_.height / bands, (i % bands + 1) * shape_.height / bands};
        fill({i / bands / blocks, static_cast<std::size_t>(block), channels}, rows, memory);
      }
    });
  }

 private:
  std::int64_t task_floats() const {
    std::int64_t floats = 0;
    std::int64_t mixed = 0;
    for (const UpsampledInput& input : inputs_) {
      floats += MixedRows::ring_floats(input, shape_, kTapChannels);
      mixed = std::max(mixed, MixedRows::mixed_floats(input, kTapChannels));
    }
    return floats + mixed;
  }

  void fill(const Place& place, RowRange range, TaskMemory& memory) const {
    std::int64_t mixed_floats = 0;
    for (const UpsampledInput& input : inputs_) {
      mixed_floats = std::max(mixed_floats, MixedRows::mixed_floats(input, place.channels));
    }
    float* mixed = memory.take(mixed_floats);
    std::array<std::optional<MixedRows>, kMostUpsampled> sources;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      float* ring = memory.take(MixedRows::ring_floats(inputs_[i], shape_, place.channels));
      sources[i].emplace(inputs_[i], packed_[i], shape_, place, ring, mixed, run_.isa());
    }
    RowList list;
    for (std::int64_t y = range.begin; y < range.end; ++y) {
      list.clear();
      for (std::size_t i = 0; i < inputs_.size(); ++i) sources[i]->collect(y, list);
      const std::int64_t pixel = (place.image * shape_.height + y) * shape_.width;
      kernels::add_weighted_rows(
          list.rows(), shape_.width, place.channels, relu_,
          out_ + pixel * shape_.channels + static_cast<std::int64_t>(place.block) * kTapChannels,
          shape_.channels, run_.isa());
    }
  }

  const Executor& run_;
  std::span<const UpsampledInput> inputs_;
  const MapShape& shape_;
  bool relu_;
  float* out_;
  std::array<float*, kMostUpsampled> packed_{};
};

}  // namespace

std::int64_t upsampled_memory(std::span<const UpsampledInput> inputs) {
  std::int64_t floats = 0;
  for (const UpsampledInput& input : inputs) floats += packed_size(input);
  return floats;
}

void convolve_upsampled(const Executor& run, std::string_view name, std::span<const UpsampledInput> inputs,
                        const MapShape& shape, bool relu, float* memory, float* out) {
  double flops = 0.0;
  std::int64_t floats = 2 * shape.size();
  for (const UpsampledInput& input : inputs) {
    floats += input.map.shape.size();
    for (const PackedLinear& block : input.convolution->blocks) {
      flops += linear_flops(block, input.map.shape.tokens());
      floats += block.inputs() * block.outputs();
    }
  }
  const Sum sum(run, inputs, shape, relu, memory, out);
  run.step(name, "convolution", flops, floats, [&] { sum.form(); });
}

}  // namespace spatialmamba::engine
