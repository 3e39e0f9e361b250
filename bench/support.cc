#include "support.h"

#include <set>

#include "base/parallel.h"
#include "base/random.h"

namespace spatialmamba::bench {

kernels::AlignedVector<float> random_values(std::int64_t n, double low, double high) {
  Random random(static_cast<std::uint64_t>(n));
  kernels::AlignedVector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(random.uniform(low, high));
  return values;
}

void register_by_threads(const std::string& name,
                         const std::function<void(benchmark::State&, int threads)>& run) {
  for (const int threads : std::set<int>{1, available_cores()}) {
    const std::string full_name = name + "/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(full_name.c_str(),
                                 [run, threads](benchmark::State& state) { run(state, threads); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace spatialmamba::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  spatialmamba::bench::register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
