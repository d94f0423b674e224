// cmake/ciphers/poly1305_alt.h — the state of Poly1305 in mbedTLS when libsodium does the work.
#pragma once

// libsodium's crypto_onetimeauth_poly1305_state: opaque, 256 bytes, aligned to 16.
typedef struct mbedtls_poly1305_context {
  unsigned char state[256] __attribute__((aligned(16)));
} mbedtls_poly1305_context;
