// The loss scale against torch.amp.GradScaler's rules worked out by hand.
#include "train/loss_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace spatialmamba::train {
namespace {

/// The scale before each update and after the last; '+' is an update that is made, 'x' one that overflows.
std::vector<double> scales(LossScale& scale, std::string_view updates) {
  std::vector<double> values = {scale.value()};
  for (const char update : updates) {
    if (update == '+') {
      scale.count_update();
    } else {
      EXPECT_TRUE(scale.back_off());
    }
    values.push_back(scale.value());
  }
  return values;
}

TEST(LossScale, DoublesAfterAnIntervalAndHalvesAtOnce) {
  LossScale scale({.initial = 8.0, .interval = 3});
  EXPECT_EQ(scales(scale, "+++"), (std::vector<double>{8, 8, 8, 16}));
  EXPECT_EQ(scales(scale, "++x"), (std::vector<double>{16, 16, 16, 8}));
  EXPECT_EQ(scales(scale, "++++x+"), (std::vector<double>{8, 8, 8, 16, 16, 8, 8}));  // counts anew
  EXPECT_EQ(scale.state().good_updates, 1);
  EXPECT_EQ(scales(scale, "xx"), (std::vector<double>{8, 4, 2}));
}

TEST(LossScale, StartsAsGradScalerDoes) {
  LossScale scale(LossScaleOptions{});
  EXPECT_EQ(scale.value(), 65536.0);
  for (int update = 0; update < 1999; ++update) scale.count_update();
  EXPECT_EQ(scale.value(), 65536.0);
  scale.count_update();
  EXPECT_EQ(scale.value(), 131072.0);
}

TEST(LossScale, EndsAtItsLeastAndWhereFloatsEnd) {
  LossScale scale({.initial = 3.0, .interval = 1});
  EXPECT_EQ(scales(scale, "xx"), (std::vector<double>{3.0, 1.5, 1.0}));
  EXPECT_FALSE(scale.back_off());
  EXPECT_EQ(scale.value(), 1.0);
  for (int update = 0; update < 200; ++update) scale.count_update();
  EXPECT_EQ(scale.value(), std::ldexp(1.0, 127));
  EXPECT_THROW(LossScale({.initial = 0.5}), UsageError);
}

TEST(LossScale, GoesOnFromItsState) {
  const LossScaleOptions options{.initial = 8.0, .interval = 3};
  LossScale whole(options);
  scales(whole, "x++");
  LossScale resumed(options);
  resumed.restore(whole.state());
  EXPECT_EQ(scales(resumed, "+x"), scales(whole, "+x"));
}

}  // namespace
}  // namespace spatialmamba::train
