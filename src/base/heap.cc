#include "base/heap.h"

#include <cstdlib>  // defines __GLIBC__

#ifdef __GLIBC__
#include <malloc.h>

#include <limits>
#endif

namespace spatialmamba {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kLargestAllowed = 32 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kLargestAllowed);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace spatialmamba
