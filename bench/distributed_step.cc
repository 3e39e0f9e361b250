// One data-parallel training step on 1 and on 2 processes of this machine: gradients alone, their average
// alone, and both together, the average under way while backward still runs. Usage: bench_distributed_step
// [variant] [batch] [size] [rounds]
#include <fmt/format.h>
#include <sys/wait.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "distributed/gradient_reducer.h"
#include "launch/supervisor.h"
#include "nn/initialise.h"
#include "nn/spatial_mamba.h"

namespace {

using namespace spatialmamba;

struct Settings {
  std::string variant = "tiny";
  std::int64_t batch = 2;
  std::int64_t size = 224;
  int rounds = 10;
};

/// The best of the rounds, of each kind of work.
struct Times {
  double compute = std::numeric_limits<double>::max();
  double average = std::numeric_limits<double>::max();
  double together = std::numeric_limits<double>::max();
};

class Step {
 public:
  Step(const Settings& settings, distributed::Group& group)
      : group_(group), model_(architecture_of(settings.variant)) {
    nn::initialise(*model_, 1);
    model_->train();
    images_ = torch::randn({settings.batch, 3, settings.size, settings.size});
    reducer_ = std::make_unique<distributed::GradientReducer>(group, model_->parameters());
  }

  void measure(Times& times) {
    keep_best(times.compute, [&] { model_->forward(images_).mean().backward(); });
    keep_best(times.average, [&] {
      torch::Tensor sum = torch::zeros({});
      for (const torch::Tensor& parameter : model_->parameters()) sum = sum + parameter.sum();
      group_.guard([&] { reducer_->average_next(sum); });
      group_.guard([&] { sum.backward(); });
    });
    keep_best(times.together, [&] {
      const torch::Tensor loss = model_->forward(images_).mean();
      group_.guard([&] { reducer_->average_next(loss); });
      group_.guard([&] { loss.backward(); });
    });
  }
  const distributed::GradientReducer& reducer() const { return *reducer_; }

 private:
  /// All processes begin together.
  void keep_best(double& best, const std::function<void()>& work) {
    for (torch::Tensor& parameter : model_->parameters()) parameter.mutable_grad().reset();
    torch::Tensor ready = torch::ones({1});
    group_.sum(ready);
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }

  distributed::Group& group_;
  nn::SpatialMamba model_;
  torch::Tensor images_;
  std::unique_ptr<distributed::GradientReducer> reducer_;
};

void run(const Settings& settings, int rank, int ranks, std::uint16_t port) {
  at::set_num_threads(1);
  const auto group =
      distributed::Group::join({.rank = rank, .ranks = ranks, .port = port}, std::chrono::seconds(300));
  Times times;
  Step step(settings, *group);
  for (int round = 0; round < settings.rounds; ++round) step.measure(times);
  if (rank == 0) {
    fmt::print(
        "{} process(es): {:.1f} MB of gradients in {} buckets; gradients {:.0f} ms, average {:.0f} ms, "
        "together "
        "{:.0f} ms; hidden behind backward: {:.0f} %\n",
        ranks, 1e-6 * static_cast<double>(step.reducer().bytes()), step.reducer().buckets(),
        1e3 * times.compute, 1e3 * times.average, 1e3 * times.together,
        100.0 * (times.compute + times.average - times.together) / times.average);
  }
  group->leave({});
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  if (argc > 1) settings.variant = argv[1];
  if (argc > 2) settings.batch = std::atoi(argv[2]);
  if (argc > 3) settings.size = std::atoi(argv[3]);
  if (argc > 4) settings.rounds = std::atoi(argv[4]);
  for (const int ranks : {1, 2}) {
    const std::uint16_t port = launch::free_port();
    std::vector<pid_t> children;
    for (int rank = 0; rank < ranks; ++rank) {
      const pid_t child = ::fork();
      if (child != 0) {
        children.push_back(child);
        continue;
      }
      run(settings, rank, ranks, port);
      std::fflush(stdout);
      ::_exit(0);
    }
    for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  }
  return 0;
}
