#include "engine/downsampling.h"

#include <algorithm>

#include "engine/depthwise.h"

namespace spatialmamba::engine {

using kernels::GemmActivation;
using kernels::PackedRows;

namespace {

constexpr std::int64_t kKernelSide = 3;

/// Outputs of a tile. The more, the fewer inputs belong to two tiles; but what a tile expands to, so many
/// channels at once, has to stay in a second-level cache.
constexpr std::int64_t kTileRows = 8;
constexpr std::int64_t kTileColumns = 2 * kernels::kStencilBlock;
constexpr std::int64_t kChannelsAtOnce = 128;

/// Of a row or column of so many outputs.
constexpr std::int64_t inputs_of(std::int64_t outputs) {
  return 2 * (outputs - 1) + kKernelSide;
}

MapShape shape_behind(const Downsampling& down, const MapShape& shape) {
  return halved(shape, down.reduce.outputs());
}

/// Outputs that are computed together.
struct Tile {
  std::int64_t image;
  RowRange rows;
  RowRange columns;

  std::int64_t height() const { return rows.end - rows.begin; }
  std::int64_t width() const { return columns.end - columns.begin; }
  std::int64_t input_width() const { return inputs_of(width()); }
  std::int64_t inputs() const { return inputs_of(height()) * input_width(); }
};

class Tiles {
 public:
  explicit Tiles(const MapShape& out)
      : out_(out),
        rows_(divide_up(out.height, kTileRows)),
        columns_(divide_up(out.width, kTileColumns)),
        tile_rows_(divide_up(out.height, rows_)) {}

  std::int64_t count() const { return out_.images * rows_ * columns_; }
  Tile operator[](std::int64_t i) const {
    const std::int64_t y = i / columns_ % rows_ * tile_rows_;
    const std::int64_t x = i % columns_ * kTileColumns;
    return {i / (rows_ * columns_),
            {std::min(y, out_.height), std::min(y + tile_rows_, out_.height)},
            {x, std::min(x + kTileColumns, out_.width)}};
  }

 private:
  MapShape out_;
  std::int64_t rows_;
  std::int64_t columns_;
  std::int64_t tile_rows_;
};

/// Where there are tiles for all threads. What is expanded then never leaves their caches, and what two tiles
/// share is expanded twice.
bool by_tiles(const MapShape& out, int threads) {
  constexpr std::int64_t kLeastTiles = 4;  // a thread
  return Tiles(out).count() >= kLeastTiles * threads;
}

/// One tile through all three layers, some of the expanded channels at a time.
class TileTask {
 public:
  static std::int64_t floats(const Downsampling& down) {
    constexpr std::int64_t kOutputs = kTileRows * kTileColumns;
    constexpr std::int64_t kInputs = inputs_of(kTileRows) * inputs_of(kTileColumns);
    return down.expand.packed_size(kInputs) + down.reduce.packed_size(kOutputs) +
           (kInputs + kernels::kDepthwiseSlack + kOutputs) * kChannelsAtOnce +
           kOutputs * down.reduce.outputs();
  }

  TileTask(const Downsampling& down, const Map& map, const Tile& tile, kernels::Isa isa, TaskMemory& memory)
      : down_(down),
        map_(map),
        tile_(tile),
        isa_(isa),
        pixels_(memory.take_packed(down.expand, tile.inputs())),
        hidden_(memory.take_packed(down.reduce, tile.height() * tile.width())),
        expanded_(memory.take((tile.inputs() + kernels::kDepthwiseSlack) * kChannelsAtOnce)),
        convolved_(memory.take(hidden_.rows * kChannelsAtOnce)),
        reduced_(memory.take(hidden_.rows * down.reduce.outputs())) {}

  void run(float* out) {
    pack_pixels();
    for (std::int64_t c = 0; c < down_.conv.channels; c += kChannelsAtOnce) {
      const RowRange channels{c, std::min(c + kChannelsAtOnce, down_.conv.channels)};
      expand(channels);
      convolve(channels);
    }
    const std::int64_t outputs = down_.reduce.outputs();
    down_.reduce.multiply(hidden_, {0, outputs}, {.data = reduced_, .stride = outputs});
    const MapShape shape = shape_behind(down_, map_.shape);
    for (std::int64_t y = 0; y < tile_.height(); ++y) {
      const std::int64_t row = tile_.image * shape.height + tile_.rows.begin + y;
      std::copy_n(reduced_ + y * tile_.width() * outputs, tile_.width() * outputs,
                  out + (row * shape.width + tile_.columns.begin) * outputs);
    }
  }

 private:
  /// Rows and columns of the map that the tile reads, those beyond its border included.
  RowRange input_rows() const { return {2 * tile_.rows.begin - 1, 2 * tile_.rows.end}; }
  RowRange input_columns() const { return {2 * tile_.columns.begin - 1, 2 * tile_.columns.end}; }

  /// Calls inside(first, count, y, x) for the pixels that exist, row by row: `count` of them from (y, x) of
  /// the map, which are number `first` of the tile's; and outside(first, count) for the others.
  template <typename Inside, typename Outside>
  void for_pixels(const Inside& inside, const Outside& outside) const {
    const RowRange columns = input_columns();
    const std::int64_t begin = std::max<std::int64_t>(columns.begin, 0);
    const std::int64_t end = std::min(columns.end, map_.shape.width);
    std::int64_t first = 0;
    for (std::int64_t y = input_rows().begin; y < input_rows().end; ++y, first += tile_.input_width()) {
      if (y < 0 || y >= map_.shape.height) {
        outside(first, tile_.input_width());
        continue;
      }
      if (columns.begin < begin) outside(first, begin - columns.begin);
      inside(first + begin - columns.begin, end - begin, y, begin);
      if (end < columns.end) outside(first + end - columns.begin, columns.end - end);
    }
  }

  void pack_pixels() {
    const std::int64_t channels = map_.shape.channels;
    const float* image = map_.data + tile_.image * map_.shape.height * map_.shape.width * channels;
    for_pixels(
        [&](std::int64_t first, std::int64_t count, std::int64_t y, std::int64_t x) {
          down_.expand.pack(image + (y * map_.shape.width + x) * channels, channels, count, first, 0,
                            channels, pixels_);
        },
        [&](std::int64_t first, std::int64_t count) {
          down_.expand.clear(count, first, 0, channels, pixels_);
        });
  }

  void expand(RowRange channels) {
    const std::int64_t count = channels.end - channels.begin;
    down_.expand.multiply(pixels_, channels,
                          {.data = expanded_,
                           .stride = count,
                           .activation = GemmActivation::relu,
                           .first_column = channels.begin});
    // The convolution reads zeros beyond the border, not what the layer makes of zeros.
    for_pixels([](std::int64_t, std::int64_t, std::int64_t, std::int64_t) {},
               [&](std::int64_t first, std::int64_t pixels) {
                 std::fill_n(expanded_ + first * count, pixels * count, 0.0F);
               });
  }

  void convolve(RowRange channels) {
    const std::int64_t count = channels.end - channels.begin;
    for (std::int64_t y = 0; y < tile_.height(); ++y) {
      kernels::depthwise_row(down_.conv, channels, expanded_ + 2 * y * tile_.input_width() * count,
                             tile_.input_width(), tile_.width(), convolved_ + y * tile_.width() * count,
                             isa_);
    }
    down_.reduce.pack(convolved_, count, hidden_.rows, 0, channels.begin, count, hidden_);
  }

  const Downsampling& down_;
  const Map& map_;
  const Tile& tile_;
  kernels::Isa isa_;
  PackedRows pixels_;
  PackedRows hidden_;
  float* expanded_;
  float* convolved_;
  float* reduced_;
};

/// The expanded map goes through memory, so that each layer's outputs can be shared out.
void downsample_in_two(const Executor& run, const Downsampling& down, const Map& map, float* expanded,
                       float* out) {
  const MapShape out_shape = shape_behind(down, map.shape);
  const std::int64_t hidden = down.conv.channels;
  run.apply(down.expand, map.shape.tokens(), map.data,
            {.data = expanded, .stride = hidden, .activation = GemmActivation::relu});
  const TaskGrid tasks = run.grid(out_shape.tokens(), down.reduce);
  const std::int64_t floats = down.reduce.packed_size(tasks.block_rows()) + tasks.block_rows() * hidden;
  run.for_tasks(tasks, floats, [&](const Task& task, TaskMemory& memory) {
    const PackedRows packed = memory.take_packed(down.reduce, task.count());
    float* convolved = memory.take(task.count() * hidden);
    convolve_pixels(down.conv, {{map.shape.images, map.shape.height, map.shape.width, hidden}, expanded},
                    task.rows, convolved, run.isa());
    down.reduce.pack(convolved, hidden, packed);
    down.reduce.multiply(packed, task.columns(down.reduce),
                         at_rows({.data = out, .stride = out_shape.channels}, task));
  });
}

}  // namespace

std::int64_t downsampling_memory(const Downsampling& down, const MapShape& shape, int threads) {
  return by_tiles(shape_behind(down, shape), threads) ? 0 : shape.tokens() * down.conv.channels;
}

void downsample(const Executor& run, const Downsampling& down, const Map& map, float* expanded, float* out) {
  const MapShape out_shape = shape_behind(down, map.shape);
  const double flops = linear_flops(down.expand, map.shape.tokens()) +
                       depthwise_flops(down.conv, out_shape.tokens()) +
                       linear_flops(down.reduce, out_shape.tokens());
  const std::int64_t weights = down.conv.channels * (map.shape.channels + out_shape.channels);
  run.step("0+1+2", "linear + depthwise + linear", flops, map.shape.size() + out_shape.size() + weights, [&] {
    if (!by_tiles(out_shape, run.parallel().threads())) {
      return downsample_in_two(run, down, map, expanded, out);
    }
    const Tiles tiles(out_shape);
    run.for_items(tiles.count(), TileTask::floats(down), [&](std::int64_t i, TaskMemory& memory) {
      TileTask(down, map, tiles[i], run.isa(), memory).run(out);
    });
  });
}

}  // namespace spatialmamba::engine
