#include "cli/picture_answers.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "base/error.h"
#include "base/progress.h"
#include "cli/inputs.h"
#include "cli/options.h"

namespace spatialmamba::cli {
namespace {

using nlohmann::ordered_json;

ordered_json answer_of(const std::filesystem::path& file, const std::filesystem::path& name,
                       const image::DecodeOptions& decode, const Look& look) {
  ordered_json answer{{"file", file == "-" ? "standard input" : file.string()}};
  image::Image picture;
  try {
    picture = image::read_image(file, decode);
  } catch (const Error& error) {
    answer["error"] = error.what();
    return answer;
  }
  answer["width"] = picture.width;
  answer["height"] = picture.height;
  look(picture, name, answer);
  return answer;
}

}  // namespace

PictureList list_pictures(const std::vector<std::string>& arguments, const std::filesystem::path& out) {
  PictureList list{find_pictures(arguments), {}};
  list.names = output_names(list.files);
  if (list.files.size() > 1 && image::is_image_name(out)) {
    fail_usage("--out {}: a folder is needed for {} pictures", out.string(), list.files.size());
  }
  return list;
}

ordered_json answer_pictures(const PictureList& pictures, const image::DecodeOptions& decode,
                             const Look& look) {
  ProgressBar progress("predict", static_cast<std::int64_t>(pictures.files.size()), "img");
  auto answers = ordered_json::array();
  for (std::size_t i = 0; i < pictures.files.size(); ++i) {
    answers.push_back(answer_of(pictures.files[i], pictures.names[i], decode, look));
    progress.advance(1);
  }
  progress.clear();
  return answers;
}

void report_answers(const ordered_json& answers, bool json, ordered_json document,
                    const std::function<void(const ordered_json& answer)>& print) {
  std::int64_t broken = 0;
  for (const ordered_json& one : answers) {
    if (one.contains("error")) {
      ++broken;
      if (answers.size() > 1) spdlog::error("{}", one["error"].get<std::string>());
    } else if (!json) {
      print(one);
    }
  }
  if (json) {
    document["images"] = answers;
    print_json(document);
  }
  if (broken > 0 && answers.size() == 1) fail("{}", answers[0]["error"].get<std::string>());
  if (broken > 0) fail("{} of {} pictures could not be read", broken, answers.size());
}

}  // namespace spatialmamba::cli
