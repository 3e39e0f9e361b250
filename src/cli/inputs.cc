#include "cli/inputs.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>

#include "base/error.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  const auto options =
      fs::directory_options::follow_directory_symlink | fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator entry(folder, options, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    if (image::is_image_name(entry->path()) && entry->is_regular_file(unreadable))
      found.push_back(entry->path());
  }
  if (error) fail("{}: cannot read the folder: {}", folder.string(), error.message());
  if (found.empty()) fail("{}: no picture (.jpg, .jpeg, .png) in this folder", folder.string());
  std::ranges::sort(found);
  return found;
}

std::vector<fs::path> matches_of(const std::string& pattern) {
  glob_t result{};
  const std::unique_ptr<glob_t, void (*)(glob_t*)> guard(&result, globfree);
  const int status = ::glob(pattern.c_str(), GLOB_TILDE, nullptr, &result);
  if (status != 0 && status != GLOB_NOMATCH) fail("{}: cannot look for files of this pattern", pattern);
  return {result.gl_pathv, result.gl_pathv + result.gl_pathc};
}

void append(const std::string& argument, std::vector<fs::path>& pictures) {
  std::error_code ignored;
  if (argument == "-" || fs::is_regular_file(argument, ignored)) {
    pictures.emplace_back(argument);
    return;
  }
  if (fs::is_directory(argument, ignored)) {
    const std::vector<fs::path> found = pictures_in(argument);
    pictures.insert(pictures.end(), found.begin(), found.end());
    return;
  }
  if (fs::exists(argument, ignored)) {  // a device or a named pipe: the reader knows what to say
    pictures.emplace_back(argument);
    return;
  }
  if (argument.find_first_of("*?[") == std::string::npos)
    fail("{}: there is no such file or folder", argument);
  const std::vector<fs::path> matches = matches_of(argument);
  if (matches.empty()) fail("{}: no file matches this pattern", argument);
  for (const fs::path& match : matches) append(match.string(), pictures);
}

}  // namespace

std::vector<fs::path> find_pictures(const std::vector<std::string>& arguments) {
  std::vector<fs::path> pictures;
  for (const std::string& argument : arguments) append(argument, pictures);
  if (std::ranges::count(pictures, fs::path("-")) > 1) fail_usage("standard input (-) can be read once only");
  return pictures;
}

std::vector<fs::path> output_names(const std::vector<fs::path>& pictures) {
  std::set<std::string> taken;
  std::vector<fs::path> names;
  for (const fs::path& picture : pictures) {
    const std::string stem = picture == "-" ? "stdin" : picture.stem().string();
    std::string name = stem + ".png";
    for (int number = 2; !taken.insert(name).second; ++number) name = fmt::format("{}_{}.png", stem, number);
    names.emplace_back(name);
  }
  return names;
}

Tensor input_tensor(const Weights& file, const std::filesystem::path& path, std::int64_t channels,
                    std::initializer_list<DType> types) {
  constexpr const char* kName = "input";
  const Tensor* input = file.tensors.find(kName);
  if (input == nullptr) fail("{}: holds no tensor called '{}'", path.string(), kName);
  const Shape& shape = input->shape();
  if (shape.size() != 4 || shape[1] != channels || input->numel() == 0) {
    fail("{}: '{}' has shape {}, expected [N, {}, H, W]", path.string(), kName, to_string(shape), channels);
  }
  if (std::ranges::find(types, input->dtype()) == types.end()) {
    std::string expected;
    for (const DType type : types)
      fmt::format_to(std::back_inserter(expected), "{}{}", expected.empty() ? "" : " or ", name_of(type));
    fail("{}: '{}' is of type {}, expected {}", path.string(), kName, name_of(input->dtype()), expected);
  }
  return *input;
}

}  // namespace spatialmamba::cli
