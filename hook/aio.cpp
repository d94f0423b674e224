// hook/aio.cpp — asynchronous reads and writes of POSIX. The C library's threads act on the descriptor
// itself: that is right for a file whose bytes are all there, so it is made whole first. For files that
// are written, and for special ones, the call fails with ENOSYS: programs then read and write.
#include <aio.h>

#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

// Returns 0 or an errno.
int prepare(int fd, bool is_write) {
  if (MIRRORD_LIKELY(!has_record(fd)) || !is_active()) {
    return 0;
  }
  RecordRef record(fd, RecordType::kFile);
  if (!record) {
    return 0;
  }
  const SavedErrno saved;
  if (record->file.kind != mirrord::local::FileKind::kCached) {
    return ENOSYS;
  }
  if (is_write) {
    return EBADF;  // such files are open for reading only
  }
  return fetch_whole(record->file) == 0 ? 0 : errno;
}

}  // namespace

int hk_aio_read(struct aiocb* control) {
  const int error = control != nullptr ? prepare(control->aio_fildes, false) : 0;
  return MIRRORD_UNLIKELY(error != 0) ? fail_with(error) : ORIGINAL(aio_read)(control);
}

int hk_aio_write(struct aiocb* control) {
  const int error = control != nullptr ? prepare(control->aio_fildes, true) : 0;
  return MIRRORD_UNLIKELY(error != 0) ? fail_with(error) : ORIGINAL(aio_write)(control);
}

int hk_aio_fsync(int operation, struct aiocb* control) {
  const int error = control != nullptr ? prepare(control->aio_fildes, false) : 0;
  return MIRRORD_UNLIKELY(error != 0) ? fail_with(error) : ORIGINAL(aio_fsync)(operation, control);
}

int hk_lio_listio(int mode, struct aiocb* const* list, int count, struct sigevent* event) {
  for (int i = 0; list != nullptr && i < count; ++i) {
    if (list[i] == nullptr || list[i]->aio_lio_opcode == LIO_NOP) {
      continue;
    }
    if (const int error = prepare(list[i]->aio_fildes, list[i]->aio_lio_opcode == LIO_WRITE)) {
      return fail_with(error);
    }
  }
  return ORIGINAL(lio_listio)(mode, list, count, event);
}
