#include "train/curves.h"

#include <limits>

#include "draw/chart.h"
#include "image/codec.h"

namespace spatialmamba::train {
namespace {

template <typename Field>
draw::Series series(const std::string& name, const std::vector<EpochRecord>& history, Field field) {
  draw::Series line{.name = name, .x = {}, .y = {}};
  for (const EpochRecord& record : history) {
    line.x.push_back(static_cast<double>(record.epoch));
    line.y.push_back(std::optional<double>(record.*field).value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  return line;
}

}  // namespace

void draw_curves(const std::filesystem::path& path, const std::vector<EpochRecord>& history) {
  const std::vector<draw::Chart> charts = {
      {.title = "Loss",
       .x_label = "epoch",
       .series = {series("training", history, &EpochRecord::train_loss),
                  series("validation", history, &EpochRecord::validation_loss),
                  series("validation, EMA", history, &EpochRecord::ema_loss)}},
      {.title = "Validation accuracy",
       .x_label = "epoch",
       .series = {series("top-1", history, &EpochRecord::top1), series("top-5", history, &EpochRecord::top5),
                  series("top-1, EMA", history, &EpochRecord::ema_top1)},
       .percent = true},
      {.title = "Learning rate",
       .x_label = "epoch",
       .series = {series("learning rate", history, &EpochRecord::learning_rate)}},
      {.title = "Gradient norm",
       .x_label = "epoch",
       .series = {series("mean over the updates", history, &EpochRecord::gradient_norm)}},
  };
  image::write_image(path, draw::draw_charts(charts, "Training"));
}

}  // namespace spatialmamba::train
