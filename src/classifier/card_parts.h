#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
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

/// `use` one entry of the metadata, where it exists; a value that cannot be read is the file's fault: Error
/// naming it.
void with_metadata(const std::map<std::string, std::string>& metadata, const std::string& source,
                   const char* key, const std::function<void(const std::string&)>& use);

/// One number for all channels, or three, as JSON.
std::array<float, 3> three_numbers(const std::string& text);

struct ClassNames {
  std::vector<std::string> names;
  bool known = false;  ///< false: "class 0", ...
};

/// From the metadata, or those given (which may be none). Throws Error for another number of names than of
/// classes in the metadata.
ClassNames class_names(std::int64_t classes, const std::map<std::string, std::string>& metadata,
                       const std::string& source, const std::vector<std::string>& built_in);

}  // namespace spatialmamba
