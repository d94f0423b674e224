// cmake/ciphers/ciphers.c — ChaCha20 and Poly1305 of mbedTLS, carried out by libsodium.
//
// mbedTLS computes both in portable C, one block at a time; libsodium's are four times as fast on x86.
// This file goes into libmbedcrypto.a (scripts/dependencies); the functions are those that mbedTLS
// leaves out when MBEDTLS_CHACHA20_ALT and MBEDTLS_POLY1305_ALT are set. RFC 8439.
#include <crypto_onetimeauth/poly1305/onetimeauth_poly1305.h>
#include <crypto_stream/chacha20/stream_chacha20.h>
#include <mbedtls/chacha20.h>
#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/poly1305.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(crypto_onetimeauth_poly1305_state) ==
                   sizeof(((mbedtls_poly1305_context*)0)->state),
               "the state of libsodium has another size");

enum { kBlock = 64 };

// ---- what libsodium's implementations need of the rest of it

void sodium_memzero(void* memory, const size_t size) {
  mbedtls_platform_zeroize(memory, size);
}

// Called for messages of more than 2^32 blocks: a TLS record has at most 257.
void sodium_misuse(void) {
  abort();
}

// ---- the fastest implementation for this processor

#ifdef __x86_64__
extern crypto_stream_chacha20_implementation crypto_stream_chacha20_dolbeau_avx2_implementation;
extern crypto_stream_chacha20_implementation crypto_stream_chacha20_dolbeau_ssse3_implementation;
extern crypto_onetimeauth_poly1305_implementation crypto_onetimeauth_poly1305_sse2_implementation;
#else
extern crypto_onetimeauth_poly1305_implementation crypto_onetimeauth_poly1305_donna_implementation;
#endif
extern crypto_stream_chacha20_implementation crypto_stream_chacha20_ref_implementation;

static const crypto_stream_chacha20_implementation* chacha20(void) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2"))
    return &crypto_stream_chacha20_dolbeau_avx2_implementation;
  if (__builtin_cpu_supports("ssse3"))
    return &crypto_stream_chacha20_dolbeau_ssse3_implementation;
#endif
  return &crypto_stream_chacha20_ref_implementation;
}

static const crypto_onetimeauth_poly1305_implementation* poly1305(void) {
#ifdef __x86_64__
  return &crypto_onetimeauth_poly1305_sse2_implementation;  // every x86-64 has SSE2
#else
  return &crypto_onetimeauth_poly1305_donna_implementation;
#endif
}

// ---- ChaCha20

void mbedtls_chacha20_init(mbedtls_chacha20_context* context) {
  memset(context, 0, sizeof *context);
  context->keystream_used = kBlock;
}

void mbedtls_chacha20_free(mbedtls_chacha20_context* context) {
  if (context != NULL)
    mbedtls_platform_zeroize(context, sizeof *context);
}

int mbedtls_chacha20_setkey(mbedtls_chacha20_context* context, const unsigned char key[32]) {
  memcpy(context->key, key, sizeof context->key);
  return 0;
}

int mbedtls_chacha20_starts(mbedtls_chacha20_context* context, const unsigned char nonce[12],
                            uint32_t counter) {
  memcpy(context->nonce, nonce, sizeof context->nonce);
  context->counter = counter;
  context->keystream_used = kBlock;
  return 0;
}

static void use_keystream(mbedtls_chacha20_context* context, size_t size,
                          const unsigned char* input, unsigned char* output) {
  for (size_t i = 0; i < size; ++i)
    output[i] = input[i] ^ context->keystream[context->keystream_used + i];
  context->keystream_used += size;
}

int mbedtls_chacha20_update(mbedtls_chacha20_context* context, size_t size,
                            const unsigned char* input, unsigned char* output) {
  const size_t left = kBlock - context->keystream_used;
  const size_t first = size < left ? size : left;
  use_keystream(context, first, input, output);
  size -= first;
  if (size == 0)
    return 0;
  input += first;
  output += first;
  const size_t whole = size - size % kBlock;
  if (whole > 0)
    chacha20()->stream_ietf_ext_xor_ic(output, input, whole, context->nonce, context->counter,
                                       context->key);
  context->counter += (uint32_t)(whole / kBlock);
  if (whole == size)
    return 0;
  memset(context->keystream, 0, kBlock);
  chacha20()->stream_ietf_ext_xor_ic(context->keystream, context->keystream, kBlock, context->nonce,
                                     context->counter++, context->key);
  context->keystream_used = 0;
  use_keystream(context, size - whole, input + whole, output + whole);
  return 0;
}

int mbedtls_chacha20_crypt(const unsigned char key[32], const unsigned char nonce[12],
                           uint32_t counter, size_t size, const unsigned char* input,
                           unsigned char* output) {
  mbedtls_chacha20_context context;
  mbedtls_chacha20_init(&context);
  mbedtls_chacha20_setkey(&context, key);
  mbedtls_chacha20_starts(&context, nonce, counter);
  mbedtls_chacha20_update(&context, size, input, output);
  mbedtls_chacha20_free(&context);
  return 0;
}

// ---- Poly1305

static crypto_onetimeauth_poly1305_state* state_of(mbedtls_poly1305_context* context) {
  return (crypto_onetimeauth_poly1305_state*)context->state;
}

void mbedtls_poly1305_init(mbedtls_poly1305_context* context) {
  memset(context, 0, sizeof *context);
}

void mbedtls_poly1305_free(mbedtls_poly1305_context* context) {
  if (context != NULL)
    mbedtls_platform_zeroize(context, sizeof *context);
}

int mbedtls_poly1305_starts(mbedtls_poly1305_context* context, const unsigned char key[32]) {
  return poly1305()->onetimeauth_init(state_of(context), key);
}

int mbedtls_poly1305_update(mbedtls_poly1305_context* context, const unsigned char* input,
                            size_t size) {
  return size == 0 ? 0 : poly1305()->onetimeauth_update(state_of(context), input, size);
}

int mbedtls_poly1305_finish(mbedtls_poly1305_context* context, unsigned char mac[16]) {
  return poly1305()->onetimeauth_final(state_of(context), mac);
}

int mbedtls_poly1305_mac(const unsigned char key[32], const unsigned char* input, size_t size,
                         unsigned char mac[16]) {
  mbedtls_poly1305_context context;
  mbedtls_poly1305_init(&context);
  mbedtls_poly1305_starts(&context, key);
  mbedtls_poly1305_update(&context, input, size);
  mbedtls_poly1305_finish(&context, mac);
  mbedtls_poly1305_free(&context);
  return 0;
}
