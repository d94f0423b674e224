// tests/fuzz/daemon_message_fuzz.cpp — any bytes as a daemon message.
#include "tests/fuzz/message_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mirrord::proto;
  check_message<DaemonMessage>(std::as_bytes(std::span(data, size)));
  return 0;
}
