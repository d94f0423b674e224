// tests/hook/calls/main.c — a program with the calls; CALLS_CONTEXT says from where they are made.
#include <stdlib.h>

int run_calls(const char* context, const char* only);

int main(void) {
  return run_calls(getenv("CALLS_CONTEXT"), getenv("CALLS_ONLY"));
}
