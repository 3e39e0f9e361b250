#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/transform.h"
#include "spatialmamba/image.h"

namespace spatialmamba {

/// The transform as src/image wants it. Throws UsageError for one that cannot be.
image::EvalTransform eval_transform(const InputTransform& transform);

/// Throws Error naming `source` unless there is one name per class.
void require_class_count(const std::vector<std::string>& names, std::int64_t classes,
                         const std::string& source);

}  // namespace spatialmamba
