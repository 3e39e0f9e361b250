#pragma once

namespace spatialmamba {

/// Thrown once everything is saved by what Ctrl-C ended; the program then exits with 130, as shells expect.
struct Interrupted {};

/// While one lives, Ctrl-C (SIGINT) and SIGTERM set a flag instead of ending the process; a second one ends it.
/// Signals belong to the process, so the flag does too.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool requested();
};

}  // namespace spatialmamba
