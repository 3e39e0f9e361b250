#include "engine/convolution.h"

#include <algorithm>
#include <array>

#include "kernels/winograd.h"

namespace spatialmamba::engine {

using kernels::PackedRows;

namespace {

constexpr std::int64_t kMostPlaces = kernels::kMostTileInputs * kernels::kMostTileInputs;

/// Rows and columns of pixels, counted over all maps.
struct TileOutputs {
  std::int64_t first;
  std::int64_t row_stride;
  std::int64_t rows;
  std::int64_t columns;
};

/// The tiles that the maps of a batch are cut into, row by row.
class Tiles {
 public:
  Tiles(const Map& map, kernels::WinogradTile tile)
      : map_(map),
        outputs_(kernels::outputs_of(tile)),
        inputs_(kernels::inputs_of(tile)),
        rows_(divide_up(map.shape.height, outputs_)),
        columns_(divide_up(map.shape.width, outputs_)) {}

  std::int64_t count() const { return map_.shape.images * rows_ * columns_; }

  /// The pixels of a tile of inputs; at a border they are listed in `each`, `zeros` being those beyond.
  kernels::WinogradPixels find_inputs(std::int64_t tile, const float* zeros, const float** each) const {
    const MapShape& shape = map_.shape;
    const Corner corner = corner_of(tile);
    const std::int64_t row_stride = shape.width * shape.channels;
    const float* image = map_.data + corner.image * shape.height * row_stride;
    const RowRange rows{corner.y - 1, corner.y - 1 + inputs_};
    const RowRange columns{corner.x - 1, corner.x - 1 + inputs_};
    if (rows.begin >= 0 && rows.end <= shape.height && columns.begin >= 0 && columns.end <= shape.width) {
      return {.first = image + rows.begin * row_stride + columns.begin * shape.channels,
              .row_stride = row_stride,
              .column_stride = shape.channels};
    }
    const float** pixel = each;
    for (std::int64_t y = rows.begin; y < rows.end; ++y) {
      for (std::int64_t x = columns.begin; x < columns.end; ++x) {
        const bool inside = y >= 0 && y < shape.height && x >= 0 && x < shape.width;
        *pixel++ = inside ? image + y * row_stride + x * shape.channels : zeros;
      }
    }
    return {.each = each};
  }

  /// The pixels of a tile of outputs.
  TileOutputs find_outputs(std::int64_t tile) const {
    const MapShape& shape = map_.shape;
    const Corner corner = corner_of(tile);
    return {.first = (corner.image * shape.height + corner.y) * shape.width + corner.x,
            .row_stride = shape.width,
            .rows = std::min(outputs_, shape.height - corner.y),
            .columns = std::min(outputs_, shape.width - corner.x)};
  }

 private:
  struct Corner {
    std::int64_t image;
    std::int64_t y;
    std::int64_t x;
  };
  Corner corner_of(std::int64_t tile) const {
    return {tile / (rows_ * columns_), tile / columns_ % rows_ * outputs_, tile % columns_ * outputs_};
  }

  Map map_;
  std::int64_t outputs_;
  std::int64_t inputs_;
  std::int64_t rows_;
  std::int64_t columns_;
};

/// A convolution of some tiles. One row of places is transformed, packed and multiplied after the other, so
/// that what the products read stays in a cache.
class TileTask {
 public:
  static std::int64_t floats(const TileConvolution& convolution, std::int64_t tiles) {
    const PackedLinear& any = convolution.places.front();
    const std::int64_t side = kernels::inputs_of(convolution.tile);
    return side * any.packed_size(tiles) + side * side * place_stride(any, tiles) +
           (side * kTilesAtOnce + 1) * any.inputs();
  }

  TileTask(const TileConvolution& convolution, const Tiles& tiles, const Task& task, kernels::Isa isa,
           TaskMemory& memory)
      : convolution_(convolution),
        tiles_(tiles),
        task_(task),
        isa_(isa),
        any_(convolution.places.front()),
        side_(kernels::inputs_of(convolution.tile)),
        columns_(task.columns(any_)) {
    for (std::int64_t j = 0; j < side_; ++j) packed_[index(j)] = memory.take_packed(any_, task.count());
    products_ = memory.take(side_ * side_ * place_stride(any_, task.count()));
    transformed_ = memory.take(side_ * kTilesAtOnce * any_.inputs());
    zeros_ = memory.take(any_.inputs());
    std::fill_n(zeros_, any_.inputs(), 0.0F);
  }

  void multiply() {
    for (std::int64_t row = 0; row < side_; ++row) {
      for (std::int64_t first = 0; first < task_.count(); first += kTilesAtOnce) transform(row, first);
      for (std::int64_t j = 0; j < side_; ++j) {
        const std::int64_t place = row * side_ + j;
        convolution_.places[index(place)].multiply(
            packed_[index(j)], columns_,
            {.data = products_ + place * place_stride(any_, task_.count()), .stride = any_.outputs()});
      }
    }
  }

  void finish(const ConvolutionOutput& output) const {
    for (std::int64_t t = 0; t < task_.count(); ++t) {
      const TileOutputs pixels = tiles_.find_outputs(task_.rows.begin + t);
      ConvolutionOutput part = output;
      part.data += pixels.first * any_.outputs();
      if (part.residual != nullptr) part.residual += pixels.first * any_.outputs();
      form_outputs(t, pixels, pixels.row_stride, part);
    }
  }

  /// Memory of finish_into().
  static std::int64_t layer_floats(const TileConvolution& convolution, std::span<const PixelLayer> layers) {
    const std::int64_t pixels = layer_pixels(convolution);
    return layers.front().layer->packed_size(pixels) +
           pixels * (convolution.places.front().outputs() + most_outputs(layers));
  }

  void finish_into(std::span<const PixelLayer> layers, TaskMemory& memory) const {
    const PackedLinear& any_layer = *layers.front().layer;  // they pack rows alike
    const std::int64_t most = layer_pixels(convolution_);
    float* formed = memory.take(most * any_.outputs());
    float* packed = memory.take(any_layer.packed_size(most));
    float* results = memory.take(most * most_outputs(layers));
    for (std::int64_t t = 0; t < task_.count(); t += kLayerTiles) {
      const RowRange tiles{t, std::min(t + kLayerTiles, task_.count())};
      const PackedRows rows{packed, form_pixels(tiles, formed)};
      any_layer.pack(formed, any_.outputs(), rows);
      for (const PixelLayer& to : layers) {
        const std::int64_t outputs = to.layer->outputs();
        to.layer->multiply(rows, {0, outputs}, {.data = results, .stride = outputs});
        scatter(tiles, results, outputs, to.out);
      }
    }
  }

 private:
  static constexpr std::int64_t kTilesAtOnce = 4;  // are packed together
  static constexpr std::int64_t kLayerTiles = 28;  // go through layers behind together

  static std::int64_t layer_pixels(const TileConvolution& convolution) {
    const std::int64_t side = kernels::outputs_of(convolution.tile);
    return kLayerTiles * side * side;
  }
  static std::int64_t most_outputs(std::span<const PixelLayer> layers) {
    std::int64_t most = 0;
    for (const PixelLayer& to : layers) most = std::max(most, to.layer->outputs());
    return most;
  }

  static std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }
  /// A cache line more, lest the places of a tile fall into the same cache set.
  static std::int64_t place_stride(const PackedLinear& layer, std::int64_t tiles) {
    return divide_up(tiles * layer.outputs(), kLine) * kLine + kLine;
  }

  /// Packs a row of places of some of the tiles.
  void transform(std::int64_t row, std::int64_t first) {
    const std::int64_t channels = any_.inputs();
    const std::int64_t count = std::min(kTilesAtOnce, task_.count() - first);
    for (std::int64_t t = 0; t < count; ++t) {
      const float* each[kMostPlaces];
      const kernels::WinogradPixels pixels = tiles_.find_inputs(task_.rows.begin + first + t, zeros_, each);
      kernels::winograd_input_row(convolution_.tile, row, pixels, channels, transformed_ + t * channels,
                                  kTilesAtOnce * channels, isa_);
    }
    for (std::int64_t j = 0; j < side_; ++j) {
      any_.pack(transformed_ + j * kTilesAtOnce * channels, channels, count, first, 0, channels,
                packed_[index(j)]);
    }
  }

  /// Outputs of one tile, the first pixel at `to`, rows of pixels `row_pixels` apart.
  void form_outputs(std::int64_t t, const TileOutputs& pixels, std::int64_t row_pixels,
                    const ConvolutionOutput& to) const {
    const std::int64_t outputs = any_.outputs();
    kernels::winograd_output(convolution_.tile, products_ + t * outputs + columns_.begin,
                             place_stride(any_, task_.count()), columns_.end - columns_.begin,
                             {.data = to.data + columns_.begin,
                              .row_stride = row_pixels * outputs,
                              .column_stride = outputs,
                              .rows = pixels.rows,
                              .columns = pixels.columns,
                              .bias = convolution_.bias.data() + columns_.begin,
                              .relu = to.relu,
                              .residual = to.residual == nullptr ? nullptr : to.residual + columns_.begin},
                             isa_);
  }

  /// The rectified pixels of some tiles one behind another; returns how many.
  std::int64_t form_pixels(RowRange tiles, float* to) const {
    std::int64_t count = 0;
    for (std::int64_t t = tiles.begin; t < tiles.end; ++t) {
      const TileOutputs pixels = tiles_.find_outputs(task_.rows.begin + t);
      form_outputs(t, pixels, pixels.columns, {.data = to + count * any_.outputs(), .relu = true});
      count += pixels.rows * pixels.columns;
    }
    return count;
  }

  /// Rows of these pixels to their places.
  void scatter(RowRange tiles, const float* rows, std::int64_t outputs, float* to) const {
    for (std::int64_t t = tiles.begin; t < tiles.end; ++t) {
      const TileOutputs pixels = tiles_.find_outputs(task_.rows.begin + t);
      for (std::int64_t y = 0; y < pixels.rows; ++y, rows += pixels.columns * outputs) {
        std::copy_n(rows, pixels.columns * outputs, to + (pixels.first + y * pixels.row_stride) * outputs);
      }
    }
  }

  const TileConvolution& convolution_;
  const Tiles& tiles_;
  const Task& task_;
  kernels::Isa isa_;
  const PackedLinear& any_;
  std::int64_t side_;
  RowRange columns_;
  std::array<PackedRows, kernels::kMostTileInputs> packed_{};
  float* products_ = nullptr;
  float* transformed_ = nullptr;
  float* zeros_ = nullptr;
};

}  // namespace

void convolve_patches(const Executor& run, std::string_view part, const PackedLinear& layer,
                      const ConvInput& input, const kernels::LinearOutput& output) {
  const std::int64_t pixels = input.pixels();
  const TaskGrid tasks = run.grid(pixels, layer);
  const std::int64_t floats = input.size() + pixels * layer.outputs() + layer.inputs() * layer.outputs();
  run.step(part, "convolution", linear_flops(layer, pixels), floats, [&] {
    run.for_tasks(tasks, layer.packed_size(tasks.block_rows()), [&](const Task& task, TaskMemory& memory) {
      const PackedRows packed = memory.take_packed(layer, task.count());
      pack_patches(layer, input, task.rows, packed);
      layer.multiply(packed, task.columns(layer), at_rows(output, task));
    });
  });
}

namespace {

constexpr std::int64_t kPanelTiles = 14;

double tile_flops(const TileConvolution& convolution, const Tiles& tiles) {
  return static_cast<double>(convolution.places.size()) *
         linear_flops(convolution.places.front(), tiles.count());
}

/// Floats of the map and the weights.
std::int64_t floats_read(const TileConvolution& convolution, const Map& map) {
  const PackedLinear& any = convolution.places.front();
  return map.shape.size() + std::ssize(convolution.places) * any.inputs() * any.outputs();
}

}  // namespace

void convolve(const Executor& run, std::string_view name, const TileConvolution& convolution, const Map& map,
              const ConvolutionOutput& output) {
  const Tiles tiles(map, convolution.tile);
  const TaskGrid tasks(tiles.count(), kPanelTiles, run.parallel().threads());
  const std::int64_t outputs = map.shape.tokens() * convolution.places.front().outputs();
  run.step(name, "convolution", tile_flops(convolution, tiles), floats_read(convolution, map) + outputs, [&] {
    run.for_tasks(tasks, TileTask::floats(convolution, tasks.block_rows()),
                  [&](const Task& task, TaskMemory& memory) {
                    TileTask tile_task(convolution, tiles, task, run.isa(), memory);
                    tile_task.multiply();
                    tile_task.finish(output);
                  });
  });
}

void convolve_into(const Executor& run, std::string_view name, const TileConvolution& convolution,
                   const Map& map, std::span<const PixelLayer> layers) {
  const Tiles tiles(map, convolution.tile);
  const TaskGrid tasks = TaskGrid::by_rows(tiles.count(), kPanelTiles, run.parallel().threads());
  double flops = tile_flops(convolution, tiles);
  std::int64_t floats = floats_read(convolution, map);
  for (const PixelLayer& to : layers) {
    flops += linear_flops(*to.layer, map.shape.tokens());
    floats += map.shape.tokens() * to.layer->outputs();
  }
  run.step(name, "convolution + linear", flops, floats, [&] {
    run.for_tasks(
        tasks,
        TileTask::floats(convolution, tasks.block_rows()) + TileTask::layer_floats(convolution, layers),
        [&](const Task& task, TaskMemory& memory) {
          TileTask tile_task(convolution, tiles, task, run.isa(), memory);
          tile_task.multiply();
          tile_task.finish_into(layers, memory);
        });
  });
}

}  // namespace spatialmamba::engine
