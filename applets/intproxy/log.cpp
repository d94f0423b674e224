// applets/intproxy/log.cpp — writes a line with its time in UTC.
#include "applets/intproxy/log.h"

#include <fcntl.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kMaxText = 4096;  // text of a peer: longer ones are cut

std::string time_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  std::array<char, 32> date{};
  std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%s.%03ldZ", date.data(), now.tv_nsec / 1'000'000);
  return text.data();
}

}  // namespace

SessionLog::SessionLog(const std::string& path, bool is_verbose) : is_verbose_(is_verbose) {
  if (!path.empty()) {
    file_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600));
  }
}

void SessionLog::write(std::string_view level, std::string_view text) {
  if (!file_.is_open()) {
    return;
  }
  std::string line = time_now();
  line += ' ';
  line += level;
  line += " intproxy: ";
  for (const char c : text.substr(0, kMaxText)) {
    const bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    line += is_control ? ' ' : c;  // one line each, and no escape sequences for terminals
  }
  line += '\n';
  // A full disk must not stop the session.
  [[maybe_unused]] const ssize_t written = ::write(file_.get(), line.data(), line.size());
}

}  // namespace mirrord::intproxy
