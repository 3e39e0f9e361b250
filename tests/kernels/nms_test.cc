#include "kernels/nms.h"

#include <algorithm>
#include <cmath>

#include "kernel_test.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::kernels::test {
namespace {

using spatialmamba::test::golden;

struct Problem {
  std::vector<float> boxes;
  std::vector<float> scores;
  std::vector<std::int64_t> groups;
};

Problem random_problem(std::uint64_t seed, std::int64_t n, std::int64_t groups, double lowest) {
  Random random(seed);
  Problem problem;
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = random.uniform(lowest, 60.0);
    const double y = random.uniform(lowest, 60.0);
    for (const double side : {x, y, x + random.uniform(0.0, 30.0), y + random.uniform(0.0, 30.0)}) {
      problem.boxes.push_back(static_cast<float>(side));
    }
    problem.scores.push_back(static_cast<float>(random.below(50)) / 50.0F);  // with ties
    problem.groups.push_back(random.below(groups));
  }
  return problem;
}

/// Every box against every better one that is kept, moved apart by group.
std::vector<std::int64_t> reference(Problem problem, float threshold) {
  const float stride = *std::ranges::max_element(problem.boxes) + 1.0F;
  for (std::size_t i = 0; i < problem.boxes.size(); ++i) {
    problem.boxes[i] += static_cast<float>(problem.groups[i / 4]) * stride;
  }
  std::vector<std::int64_t> order(problem.scores.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::int64_t i) { return problem.scores[static_cast<std::size_t>(i)]; });
  const auto overlap = [&](std::int64_t a, std::int64_t b) {
    const float* p = problem.boxes.data() + 4 * a;
    const float* q = problem.boxes.data() + 4 * b;
    const float w = std::max(0.0F, std::min(p[2], q[2]) - std::max(p[0], q[0]));
    const float h = std::max(0.0F, std::min(p[3], q[3]) - std::max(p[1], q[1]));
    const double both = w * h;
    const double areas = (p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]);
    return both / (areas - both);
  };
  std::vector<std::int64_t> kept;
  for (const std::int64_t i : order) {
    if (std::ranges::none_of(kept, [&](std::int64_t k) { return overlap(k, i) > threshold; }))
      kept.push_back(i);
  }
  return kept;
}

TEST(Nms, MatchesReferenceOnEveryTarget) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Problem problem =
        random_problem(seed, 1 + static_cast<std::int64_t>(seed) * 15, 3, seed % 2 == 0 ? 0 : -40);
    const std::vector<std::int64_t> expected = reference(problem, 0.3F);
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(testing::Message() << seed << " " << name_of(isa));
      EXPECT_EQ(nms(problem.boxes, problem.scores, problem.groups, {.threshold = 0.3F}, isa), expected);
      std::vector<std::int64_t> first = expected;
      first.resize(std::min<std::size_t>(first.size(), 5));
      EXPECT_EQ(nms(problem.boxes, problem.scores, problem.groups, {.threshold = 0.3F, .limit = 5}, isa),
                first);
    }
  }
}

// IoU exactly 1/2: 20 of 40, strictly above is asked for.
TEST(Nms, AnOverlapOfExactlyTheThresholdIsKept) {
  const std::vector<float> boxes = {0, 0, 10, 3, 0, 1, 10, 3.999999F, 0, 0, 10, 4, 0, 0, 10, 2};
  for (const Isa isa : supported_isas()) {
    EXPECT_EQ(
        nms(std::span(boxes).subspan(8), std::vector<float>{1, 0.5}, {}, {.threshold = 0.5F}, isa).size(),
        2U);
    EXPECT_EQ(nms(std::span(boxes).first(8), std::vector<float>{1, 0.5}, {}, {.threshold = 0.5F}, isa).size(),
              1U);
  }
}

// Names say what was run: PREFIX[batched|nms]THRESHOLD.keep; limits and split runs are the reference's own.
TEST(Nms, EqualsTheReferenceImplementation) {
  const TensorMap tensors = read_safetensors(golden("detection/components/nms.safetensors")).tensors;
  const std::vector<float> boxes = tensors.at("boxes").values<float>();
  const std::vector<std::int64_t> labels = tensors.at("labels").values<std::int64_t>();
  int compared = 0;
  for (const auto& [name, expected] : tensors) {
    const bool distinct = name.starts_with("noties.");
    const std::string call = distinct ? name.substr(7) : name;
    const bool batched = call.starts_with("batched");
    if (!call.ends_with(".keep") || !(batched || call.starts_with("nms"))) continue;
    if (call.find("_thr") != std::string::npos)
      continue;  // filters scores first, which is not the kernel's part
    SCOPED_TRACE(name);
    NmsOptions options{.threshold = std::stof(call.substr(batched ? 7 : 3))};
    if (const std::size_t max = call.find("_max"); max != std::string::npos)
      options.limit = std::stoll(call.substr(max + 4));
    const std::vector<float> scores = tensors.at(distinct ? "noties.scores" : "scores").values<float>();
    std::vector<std::int64_t> kept =
        nms(boxes, scores, batched ? labels : std::vector<std::int64_t>{}, options, default_isa());
    std::vector<std::int64_t> wanted = expected.values<std::int64_t>();
    // Equal scores have no order of their own in the reference: compare as sets there.
    if (!distinct) {
      std::ranges::sort(kept);
      std::ranges::sort(wanted);
    }
    EXPECT_EQ(kept, wanted);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST(Nms, RefusesWhatIsNotFinite) {
  const float nan = std::nanf("");
  EXPECT_THROW(nms(std::vector<float>{0, 0, 1, nan}, std::vector<float>{1}, {}, {}, default_isa()), Error);
  EXPECT_THROW(nms(std::vector<float>{0, 0, 1, 1}, std::vector<float>{nan}, {}, {}, default_isa()), Error);
  EXPECT_THROW(nms(std::vector<float>{0, 0, 1}, std::vector<float>{1}, {}, {}, default_isa()), Error);
  EXPECT_TRUE(nms({}, {}, {}, {}, default_isa()).empty());
}

}  // namespace
}  // namespace spatialmamba::kernels::test
