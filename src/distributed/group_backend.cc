#include "distributed/group_backend.h"

#define USE_C10D_GLOO  // LibTorch is built with it; its headers ask
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>

namespace spatialmamba::distributed {
namespace {

using c10d::ProcessGroupGloo;

bool is_this_machine(const std::string& address) {
  return address == "localhost" || address == "::1" || address.starts_with("127.");
}

std::shared_ptr<gloo::transport::Device> choose_device(const launch::Place& place) {
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"); interface != nullptr) {
    return ProcessGroupGloo::createDeviceForInterface(interface);
  }
  if (is_this_machine(place.address)) return ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

c10::intrusive_ptr<c10d::Store> open_store(const launch::Place& place, std::chrono::seconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = place.rank == 0 && !place.has_store;
  options.waitWorkers = false;
  options.timeout = timeout;
  auto store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
  if (!place.has_store) return store;
  // Where and by what name torchrun's own workers would look.
  return c10::make_intrusive<c10d::PrefixStore>("/worker/attempt_" + place.attempt, store);
}

c10::intrusive_ptr<c10d::ProcessGroup> connect(const c10::intrusive_ptr<c10d::Store>& store,
                                               const launch::Place& place, std::chrono::seconds timeout) {
  const auto options = ProcessGroupGloo::Options::create(timeout);
  options->devices.push_back(choose_device(place));
  const auto gloo = c10::make_intrusive<ProcessGroupGloo>(store, place.rank, place.ranks, options);
  const auto processes = c10::make_intrusive<c10d::ProcessGroup>(store, place.rank, place.ranks);
  constexpr auto kType = c10d::ProcessGroup::BackendType::GLOO;
  processes->setDefaultBackend(kType);
  processes->setBackend(c10::DeviceType::CPU, kType, c10::intrusive_ptr<c10d::Backend>(gloo));
  return processes;
}

}  // namespace spatialmamba::distributed
