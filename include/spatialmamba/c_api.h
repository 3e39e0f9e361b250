/* Spatial-Mamba for other languages: classification by C functions (C99).
 *
 * Ownership: what a function makes belongs to the caller until handed to its _free function, which accepts
 * NULL. A session keeps its model alive: a model may be freed before its sessions. Texts belong to their
 * model. Threads: a model may be used by any number of threads at once. Calls of one session must not
 * overlap; different sessions are independent. There is no state outside of the handles. Errors: functions
 * that can fail return a spatialmamba_status. Where that is not SPATIALMAMBA_OK, outputs are unchanged
 * (pointers: NULL) and `message`, unless it is NULL, holds one sentence, cut to `message_size` bytes with its
 * final 0. */
#ifndef SPATIALMAMBA_C_API_H_
#define SPATIALMAMBA_C_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spatialmamba_status {
  SPATIALMAMBA_OK = 0,
  SPATIALMAMBA_FAILED = 1, /* a file, its content, or memory */
  SPATIALMAMBA_USAGE = 2   /* an argument that cannot mean anything */
} spatialmamba_status;

typedef enum spatialmamba_precision { SPATIALMAMBA_FP32 = 0, SPATIALMAMBA_BF16 = 1 } spatialmamba_precision;

typedef enum spatialmamba_layout { SPATIALMAMBA_NHWC = 0, SPATIALMAMBA_NCHW = 1 } spatialmamba_layout;

typedef struct spatialmamba_model spatialmamba_model;
typedef struct spatialmamba_session spatialmamba_session;

/* Zero-initialise it for the defaults. */
typedef struct spatialmamba_model_options {
  spatialmamba_precision precision;
  const char* isa; /* "avx2", "avx512" ...; NULL: the strongest that this machine has */
  const char* key; /* which entry of a checkpoint, e.g. "model_ema"; NULL: the model */
  int threads;     /* that prepare the weights; 0: as many as the process may use cores */
} spatialmamba_model_options;

typedef struct spatialmamba_guess {
  int64_t index; /* of the class */
  double probability;
} spatialmamba_guess;

/* "0.1.0" */
const char* spatialmamba_version(void);

/* Reads a .safetensors or .pth file. `options` may be NULL. */
spatialmamba_status spatialmamba_model_load(const char* path, const spatialmamba_model_options* options,
                                            spatialmamba_model** model, char* message, size_t message_size);
void spatialmamba_model_free(spatialmamba_model* model);

int64_t spatialmamba_model_classes(const spatialmamba_model* model);
/* NULL for an index that is no class. */
const char* spatialmamba_model_class_name(const spatialmamba_model* model, int64_t index);
/* What pictures are resized to, and the channels of images. */
int64_t spatialmamba_model_height(const spatialmamba_model* model);
int64_t spatialmamba_model_width(const spatialmamba_model* model);
int64_t spatialmamba_model_channels(const spatialmamba_model* model);

/* threads = 0: as many as the process may use cores. */
spatialmamba_status spatialmamba_session_create(const spatialmamba_model* model, int threads,
                                                spatialmamba_session** session, char* message,
                                                size_t message_size);
void spatialmamba_session_free(spatialmamba_session* session);

/* images: count * height * width * channels normalised values; logits: room for count * classes values.
 * Images may have any size. */
spatialmamba_status spatialmamba_session_logits(spatialmamba_session* session, const float* images,
                                                int64_t count, int64_t height, int64_t width,
                                                spatialmamba_layout layout, float* logits, char* message,
                                                size_t message_size);

/* The best guesses for one picture, best first: `guesses` has room for `*guess_count` of them, which becomes
 * how many there are. The picture is resized, cropped and normalised as the model was trained. */
spatialmamba_status spatialmamba_session_classify_file(spatialmamba_session* session, const char* path,
                                                       spatialmamba_guess* guesses, size_t* guess_count,
                                                       char* message, size_t message_size);
/* 8-bit pixels, rows from top to bottom and `row_bytes` apart (0: without gaps), channels interleaved: 1
 * (grey) or 3 (red, green, blue). */
spatialmamba_status spatialmamba_session_classify_pixels(spatialmamba_session* session, const uint8_t* pixels,
                                                         int64_t height, int64_t width, int64_t channels,
                                                         int64_t row_bytes, spatialmamba_guess* guesses,
                                                         size_t* guess_count, char* message,
                                                         size_t message_size);

#ifdef __cplusplus
}
#endif

#endif
