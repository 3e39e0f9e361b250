#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>

#include "launch/place.h"

namespace spatialmamba::distributed {

/// The key-value store at rank 0 through which processes find each other.
c10::intrusive_ptr<c10d::Store> open_store(const launch::Place& place, std::chrono::seconds timeout);

/// Gloo over TCP between all processes. GLOO_SOCKET_IFNAME chooses the network interface.
c10::intrusive_ptr<c10d::ProcessGroup> connect(const c10::intrusive_ptr<c10d::Store>& store,
                                               const launch::Place& place, std::chrono::seconds timeout);

}  // namespace spatialmamba::distributed
