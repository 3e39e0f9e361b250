#ifndef SPATIALMAMBA_TESTS_CAPI_C_PROGRAM_H_
#define SPATIALMAMBA_TESTS_CAPI_C_PROGRAM_H_

#include "spatialmamba/c_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each returns 1, or 0 and what failed. */
int refuses_nonsense(const char* weights, char* failure, size_t failure_size);
/* logits: of two images [3][5][4] of (i / 60 - 1); guesses: for a picture side x side of 3 channels. */
int classifies(const char* weights, const uint8_t* pixels, int64_t side, float* logits,
               spatialmamba_guess* guesses, size_t* guess_count, char* failure, size_t failure_size);

#ifdef __cplusplus
}
#endif

#endif
