// hook/file_record.cpp — the end of an open remote file.
#include "hook/file_record.h"

#include "hook/decide.h"
#include "hook/ipc.h"

namespace mirrord::hook {

int file_record_closed(FileRecord& file) {
  give_path_buffer(file.path);
  file.path = nullptr;
  local::HandleRequest message = {file.handle};
  if ((file.open_flags.load(std::memory_order_relaxed) & O_ACCMODE) != O_RDONLY) {
    return ask(local::MessageType::kClose, message);
  }
  notify({local::MessageType::kClose, &message, sizeof message, nullptr, 0, -1});
  return 0;
}

}  // namespace mirrord::hook
