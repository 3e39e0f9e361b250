#pragma once

#include "spatialmamba/error.h"

namespace spatialmamba::launch {

/// A process cannot go on because another one is gone or stands still. The program exits with kLostRank, by
/// which the supervisor tells those who were left behind from the one to blame.
class LostRank : public Error {
 public:
  using Error::Error;
};

inline constexpr int kLostRank = 3;

}  // namespace spatialmamba::launch
