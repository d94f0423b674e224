// bench/process.h — starting programs, reading what they print, and their memory.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace mirrord::bench {

using Values = std::map<std::string, double>;

// Runs a command to its end and returns its "name value" lines. Ends the benchmark with what the
// command said when it fails: a figure of a failed run is worth nothing.
Values run_and_read(const std::vector<std::string>& command);
// Wall time of one run of a command, in milliseconds; its output is discarded.
double run_and_time_ms(const std::vector<std::string>& command);

// A process in the background, ended (SIGTERM, then SIGKILL) with its object.
class Background {
 public:
  // Waits until the process has printed a line that contains `ready` (at most 20 s).
  Background(const std::vector<std::string>& command, const std::string& ready);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::string& first_lines() const { return first_lines_; }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
  std::string first_lines_;
};

// A probe that does one operation whenever it is told to ("paced" in probe.c).
class PacedProbe {
 public:
  explicit PacedProbe(const std::vector<std::string>& command);
  ~PacedProbe();  // its input ends, and so does it
  PacedProbe(const PacedProbe&) = delete;
  PacedProbe& operator=(const PacedProbe&) = delete;
  double sample_us();

 private:
  std::vector<std::string> command_;
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
};

// Resident memory (VmRSS) in MiB.
double resident_mib(pid_t pid);
// The most that it ever was (VmHWM).
double peak_resident_mib(pid_t pid);
// User + system time of a process so far, in microseconds.
double cpu_us(pid_t pid);
// A TCP port on 127.0.0.1 that was free a moment ago.
std::uint16_t free_port();

}  // namespace mirrord::bench
