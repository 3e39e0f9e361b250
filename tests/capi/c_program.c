/* The C interface, compiled as C: what a program in another language does. */
#include "c_program.h"

#include <stdio.h>
#include <string.h>

#define EXPECT(condition)                                                   \
  do {                                                                      \
    if (!(condition)) {                                                     \
      snprintf(failure, failure_size, "line %d: %s", __LINE__, #condition); \
      return 0;                                                             \
    }                                                                       \
  } while (0)

int refuses_nonsense(const char* weights, char* failure, size_t failure_size) {
  char message[200] = "";
  spatialmamba_model_options options;
  spatialmamba_model* model = (spatialmamba_model*)failure;
  memset(&options, 0, sizeof options);
  EXPECT(spatialmamba_model_load("/nowhere/at all.pth", NULL, &model, message, sizeof message) ==
         SPATIALMAMBA_FAILED);
  EXPECT(model == NULL);
  EXPECT(strstr(message, "/nowhere/at all.pth") != NULL);
  EXPECT(spatialmamba_model_load(NULL, NULL, &model, message, sizeof message) == SPATIALMAMBA_USAGE);
  EXPECT(spatialmamba_model_load(weights, NULL, NULL, message, sizeof message) == SPATIALMAMBA_USAGE);
  options.isa = "abacus";
  EXPECT(spatialmamba_model_load(weights, &options, &model, message, 9) == SPATIALMAMBA_USAGE);
  EXPECT(strlen(message) == 8);
  EXPECT(spatialmamba_model_load(weights, &options, &model, NULL, 0) == SPATIALMAMBA_USAGE);
  options.isa = NULL;
  options.precision = (spatialmamba_precision)7;
  EXPECT(spatialmamba_model_load(weights, &options, &model, message, sizeof message) == SPATIALMAMBA_USAGE);
  spatialmamba_model_free(NULL);
  spatialmamba_session_free(NULL);
  return 1;
}

static int use_session(spatialmamba_session* session, const uint8_t* pixels, int64_t side, float* logits,
                       spatialmamba_guess* guesses, size_t* guess_count, char* failure, size_t failure_size) {
  char message[200] = "";
  float image[2 * 3 * 5 * 4];
  size_t i;
  for (i = 0; i < sizeof image / sizeof *image; ++i) image[i] = (float)i / 60.0F - 1.0F;
  EXPECT(spatialmamba_session_logits(session, image, 2, 5, 4, SPATIALMAMBA_NCHW, logits, message,
                                     sizeof message) == SPATIALMAMBA_OK);
  EXPECT(spatialmamba_session_logits(session, image, 0, 5, 4, SPATIALMAMBA_NCHW, logits, message,
                                     sizeof message) == SPATIALMAMBA_FAILED);
  EXPECT(strstr(message, "empty") != NULL);
  EXPECT(spatialmamba_session_logits(session, image, 1, 5, 4, (spatialmamba_layout)5, logits, message,
                                     sizeof message) == SPATIALMAMBA_USAGE);
  EXPECT(spatialmamba_session_classify_file(session, "/nowhere.png", guesses, guess_count, message,
                                            sizeof message) == SPATIALMAMBA_FAILED);
  EXPECT(strstr(message, "/nowhere.png") != NULL);
  EXPECT(spatialmamba_session_classify_pixels(session, pixels, side, side, 4, 0, guesses, guess_count,
                                              message, sizeof message) == SPATIALMAMBA_FAILED);
  EXPECT(spatialmamba_session_classify_pixels(session, pixels, side, side, 3, 0, guesses, guess_count,
                                              message, sizeof message) == SPATIALMAMBA_OK);
  return 1;
}

int classifies(const char* weights, const uint8_t* pixels, int64_t side, float* logits,
               spatialmamba_guess* guesses, size_t* guess_count, char* failure, size_t failure_size) {
  char message[200] = "";
  spatialmamba_model* model = NULL;
  spatialmamba_session* session = NULL;
  int good;
  EXPECT(spatialmamba_model_load(weights, NULL, &model, message, sizeof message) == SPATIALMAMBA_OK);
  EXPECT(spatialmamba_model_channels(model) == 3);
  EXPECT(spatialmamba_model_height(model) > 0 && spatialmamba_model_width(model) > 0);
  EXPECT(spatialmamba_model_class_name(model, 0) != NULL);
  EXPECT(spatialmamba_model_class_name(model, spatialmamba_model_classes(model)) == NULL);
  EXPECT(spatialmamba_session_create(model, -1, &session, message, sizeof message) == SPATIALMAMBA_USAGE);
  EXPECT(session == NULL);
  EXPECT(spatialmamba_session_create(model, 2, &session, message, sizeof message) == SPATIALMAMBA_OK);
  spatialmamba_model_free(model); /* the session keeps what it needs */
  good = use_session(session, pixels, side, logits, guesses, guess_count, failure, failure_size);
  spatialmamba_session_free(session);
  return good;
}
