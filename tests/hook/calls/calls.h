// tests/hook/calls/calls.h — one small test per interposed function, run on a folder that is
// remote, bypassed or mapped; and from different places of a program.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct Call {
  const char* name;
  void (*run)(void);
};

// The folder under test, and whether it is remote: then some operations are refused.
extern const char* base_path;
extern bool is_remote;
// Under qemu-user: the programs of this machine run without it, so without the hook; and a call with
// several buffers passes over those that are not memory instead of failing with EFAULT.
extern bool is_emulated;

// "BASE/name" in one of a few rotating buffers.
const char* in_base(const char* name);

void check_failed(const char* file, int line, const char* what);
#define CHECK(condition)                            \
  do {                                              \
    if (!(condition)) {                             \
      check_failed(__FILE__, __LINE__, #condition); \
    }                                               \
  } while (0)
// The call fails with this errno.
#define CHECK_FAILS(call, number) \
  do {                            \
    errno = 0;                    \
    CHECK((call) == -1);          \
    CHECK(errno == (number));     \
  } while (0)

// The whole file must be this text.
void check_content(const char* path, const char* text);
void make_file(const char* path, const char* text);

extern const struct Call kOpenCalls[];
extern const struct Call kDataCalls[];
extern const struct Call kMetadataCalls[];
extern const struct Call kNameCalls[];
extern const struct Call kDirectoryCalls[];
extern const struct Call kStreamCalls[];
extern const struct Call kProgramCalls[];
extern const struct Call kProcessCalls[];
