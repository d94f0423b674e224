// cmake/ciphers/chacha20_alt.h — the state of ChaCha20 in mbedTLS when libsodium does the work.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct mbedtls_chacha20_context {
  unsigned char key[32];
  unsigned char nonce[12];
  uint32_t counter;  // of the next block
  unsigned char keystream[64];
  size_t keystream_used;  // 64: nothing is left of it
} mbedtls_chacha20_context;
