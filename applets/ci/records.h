// applets/ci/records.h — what `mirrord ci start` has started for this user and `mirrord ci stop` has not reported yet: one
// file for each run, so that runs that start at the same time need no lock.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/error.h"

namespace mirrord::ci {

// A process that cannot be taken for another one with the same number: its start is noted too (proc_pid_stat(5),
// field 22), and the boot in which that counts.
struct KnownProcess {
  pid_t pid = 0;
  std::uint64_t started = 0;

  [[nodiscard]] bool is_running() const;  // a zombie is not
};

KnownProcess known_process(pid_t pid);

struct Record {
  std::string id;         // of the run; the file's name
  std::string program;    // as the user wrote it
  std::string directory;  // of its output
  std::string boot;
  KnownProcess process;            // leads its process group
  KnownProcess supervisor;         // waits for it
  std::optional<int> exit_status;  // as a shell gives it: 128 and the signal's number
};

// $TMPDIR/mirrord-UID/ci, made if it is missing; nobody else's.
Result<std::string> records_directory();

// Replaces the run's file as a whole.
Status write_record(const Record& record);
// All runs, sorted by id. A file that cannot be read is an error that names it: what it stands for may be running.
Result<std::vector<Record>> read_records();
Result<Record> read_record(const std::string& id);
void remove_record(const std::string& id);

// Of this boot of the machine.
std::string boot_id();

}  // namespace mirrord::ci
