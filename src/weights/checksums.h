#pragma once

#include <string>

#include "spatialmamba/weights.h"

namespace spatialmamba {

/// Notes the CRC-32 of every tensor in the metadata entry "checksums".
void add_checksums(Weights& weights);

/// Throws Error naming `source` and the first tensor whose checksum is noted and differs. Reads all of the
/// file; one without checksums passes.
void verify_checksums(const Weights& weights, const std::string& source);

}  // namespace spatialmamba
