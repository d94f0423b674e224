// tests/fuzz/client_message_fuzz.cpp — any bytes as a client message.
#include "tests/fuzz/message_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mirrord::proto;
  check_message<ClientMessage>(std::as_bytes(std::span(data, size)));
  return 0;
}
