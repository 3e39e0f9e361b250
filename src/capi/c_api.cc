#include "spatialmamba/c_api.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "spatialmamba/classifier.h"

// One object each, made and freed by the functions below.
struct spatialmamba_model {
  spatialmamba::Model model;
  spatialmamba::ModelCard card;
};
struct spatialmamba_session {
  spatialmamba::Classifier classifier;
};

namespace {

using spatialmamba::fail_usage;

/// Where a call's error goes.
struct Message {
  char* text;
  std::size_t size;

  void set(std::string_view sentence) const {
    if (text == nullptr || size == 0) return;
    const std::size_t length = std::min(sentence.size(), size - 1);
    std::memcpy(text, sentence.data(), length);
    text[length] = '\0';
  }
};

/// No exception passes the border to C.
template <typename Body>
spatialmamba_status guarded(const Message& message, const Body& body) {
  try {
    body();
    return SPATIALMAMBA_OK;
  } catch (const spatialmamba::UsageError& error) {
    message.set(error.what());
    return SPATIALMAMBA_USAGE;
  } catch (const spatialmamba::Error& error) {
    message.set(error.what());
  } catch (const std::bad_alloc&) {
    message.set("out of memory");
  } catch (const std::exception& error) {
    message.set(error.what());
  }
  return SPATIALMAMBA_FAILED;
}

template <typename T>
T& require(T* argument, const char* name) {
  if (argument == nullptr) fail_usage("the argument '{}' is NULL", name);
  return *argument;
}

/// What a caller in C wrote into an enumeration, which may be any number.
template <typename Enumeration>
int number_of(const Enumeration& value) {
  int number = 0;
  static_assert(sizeof(value) == sizeof(number));
  std::memcpy(&number, &value, sizeof(number));
  return number;
}

spatialmamba::ModelOptions options_of(const spatialmamba_model_options* options) {
  spatialmamba::ModelOptions result;
  if (options == nullptr) return result;
  const int precision = number_of(options->precision);
  if (precision == SPATIALMAMBA_BF16) {
    result.precision = spatialmamba::EnginePrecision::bf16;
  } else if (precision != SPATIALMAMBA_FP32) {
    fail_usage("there is no precision number {}", precision);
  }
  if (options->isa != nullptr) result.isa = options->isa;
  if (options->key != nullptr) result.key = options->key;
  if (options->threads < 0) fail_usage("a model cannot be prepared by {} threads", options->threads);
  result.threads = options->threads;
  return result;
}

spatialmamba::ImageBatch::Layout layout_of(const spatialmamba_layout& layout) {
  const int number = number_of(layout);
  if (number == SPATIALMAMBA_NHWC) return spatialmamba::ImageBatch::Layout::nhwc;
  if (number == SPATIALMAMBA_NCHW) return spatialmamba::ImageBatch::Layout::nchw;
  fail_usage("there is no layout number {}", number);
}

/// Classifies what `picture` is and writes as many guesses as there is room for.
template <typename Picture>
spatialmamba_status classify(spatialmamba_session* session, const Picture& picture,
                             spatialmamba_guess* guesses, std::size_t* count, const Message& message) {
  return guarded(message, [&] {
    std::size_t& room = require(count, "guess_count");
    if (room > 0) require(guesses, "guesses");
    spatialmamba::Classifier& classifier = require(session, "session").classifier;
    const auto wanted = static_cast<std::int64_t>(std::min(room, classifier.card().classes.size()));
    const auto best = classifier.classify(picture(), wanted);
    for (std::size_t i = 0; i < best.size(); ++i) guesses[i] = {best[i].index, best[i].probability};
    room = best.size();
  });
}

}  // namespace

const char* spatialmamba_version(void) {
  return SPATIALMAMBA_VERSION;
}

spatialmamba_status spatialmamba_model_load(const char* path, const spatialmamba_model_options* options,
                                            spatialmamba_model** model, char* message, size_t message_size) {
  if (model != nullptr) *model = nullptr;
  return guarded({message, message_size}, [&] {
    require(model, "model");
    require(path, "path");
    auto loaded = spatialmamba::Model::load(path, options_of(options));
    auto card = spatialmamba::model_card(loaded.architecture(), loaded.metadata(), path);
    *model = new spatialmamba_model{std::move(loaded), std::move(card)};
  });
}

void spatialmamba_model_free(spatialmamba_model* model) {
  delete model;
}

int64_t spatialmamba_model_classes(const spatialmamba_model* model) {
  return std::ssize(model->card.classes);
}

const char* spatialmamba_model_class_name(const spatialmamba_model* model, int64_t index) {
  if (index < 0 || index >= std::ssize(model->card.classes)) return nullptr;
  return model->card.classes[static_cast<std::size_t>(index)].c_str();
}

int64_t spatialmamba_model_height(const spatialmamba_model* model) {
  return model->card.transform.height;
}

int64_t spatialmamba_model_width(const spatialmamba_model* model) {
  return model->card.transform.width;
}

int64_t spatialmamba_model_channels(const spatialmamba_model* model) {
  return model->card.transform.channels;
}

spatialmamba_status spatialmamba_session_create(const spatialmamba_model* model, int threads,
                                                spatialmamba_session** session, char* message,
                                                size_t message_size) {
  if (session != nullptr) *session = nullptr;
  return guarded({message, message_size}, [&] {
    require(session, "session");
    *session = new spatialmamba_session{
        spatialmamba::Classifier(require(model, "model").model, {.threads = threads})};
  });
}

void spatialmamba_session_free(spatialmamba_session* session) {
  delete session;
}

spatialmamba_status spatialmamba_session_logits(spatialmamba_session* session, const float* images,
                                                int64_t count, int64_t height, int64_t width,
                                                spatialmamba_layout layout, float* logits, char* message,
                                                size_t message_size) {
  return guarded({message, message_size}, [&] {
    spatialmamba::Session& engine = require(session, "session").classifier.session();
    require(images, "images");
    require(logits, "logits");
    const auto result = engine.logits(
        {.data = images, .count = count, .height = height, .width = width, .layout = layout_of(layout)});
    std::ranges::copy(result, logits);
  });
}

spatialmamba_status spatialmamba_session_classify_file(spatialmamba_session* session, const char* path,
                                                       spatialmamba_guess* guesses, size_t* guess_count,
                                                       char* message, size_t message_size) {
  const auto picture = [&] { return std::filesystem::path(&require(path, "path")); };
  return classify(session, picture, guesses, guess_count, {message, message_size});
}

spatialmamba_status spatialmamba_session_classify_pixels(spatialmamba_session* session, const uint8_t* pixels,
                                                         int64_t height, int64_t width, int64_t channels,
                                                         int64_t row_bytes, spatialmamba_guess* guesses,
                                                         size_t* guess_count, char* message,
                                                         size_t message_size) {
  const auto picture = [&] {
    return spatialmamba::PixelView{
        .data = pixels, .height = height, .width = width, .channels = channels, .row_bytes = row_bytes};
  };
  return classify(session, picture, guesses, guess_count, {message, message_size});
}
