// A build without OpenCV draws nothing.
#include "base/error.h"
#include "draw/annotate.h"
#include "draw/detections.h"
#include "draw/segmentation.h"

namespace spatialmamba::draw {
namespace {

[[noreturn]] void refuse() {
  fail_usage("--out: this build has no OpenCV and draws no pictures; build the preset `release` for them");
}

}  // namespace

image::Image annotate(const image::Image&, const std::vector<Guess>&, const std::string&,
                      const std::string&) {
  refuse();
}

image::Image draw_detections(const image::Image&, const std::vector<DetectedObject>&, const std::string&) {
  refuse();
}

image::Image draw_overlay(const image::Image&, const image::Image&, const LabelStyle&, const std::string&) {
  refuse();
}

}  // namespace spatialmamba::draw
