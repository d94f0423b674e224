// hook/descriptors.cpp — close and the duplicates of descriptors.
#include "hook/fd_table.h"
#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/session.h"

using namespace mirrord::hook;

extern "C" int hk_close(int fd) {
  if (MIRRORD_LIKELY(!is_active())) {
    return ORIGINAL(close)(fd);
  }
  if (MIRRORD_UNLIKELY(is_own_descriptor(fd))) {
    return fail_with(EBADF);
  }
  // First the record, then the number: another thread may get it at once.
  Record* record = detach(fd);
  int result = ORIGINAL(close)(fd);
  if (record != nullptr) {
    int error = release_record(record);
    if (error != 0 && result == 0) {
      return fail_with(error);
    }
  }
  return result;
}
