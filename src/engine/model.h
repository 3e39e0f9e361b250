#pragma once

#include <map>
#include <string>

#include "engine/network.h"
#include "spatialmamba/engine.h"

namespace spatialmamba {

struct Model::Implementation {
  engine::Network network;
  std::map<std::string, std::string> metadata;
  EnginePrecision precision = EnginePrecision::fp32;
};

}  // namespace spatialmamba
