// A build without OpenCV draws nothing.
#include "base/error.h"
#include "draw/annotate.h"

namespace spatialmamba::draw {

image::Image annotate(const image::Image&, const std::vector<Guess>&, const std::string&,
                      const std::string&) {
  fail_usage("--out: this build has no OpenCV and draws no pictures; build the preset `release` for them");
}

}  // namespace spatialmamba::draw
