// applets/progress.cpp — the four ways to show progress.
#include "applets/progress.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "applets/config/load.h"
#include "applets/json_text.h"
#include "applets/version.h"

namespace mirrord {
namespace {

// How long a reader may take nothing at all before the rest of a line is given up.
constexpr int kReaderPatienceMs = 60'000;

// One line at a time: the output may be a pipe that a plugin reads, or be shared with others. A pipe
// that has room takes PIPE_BUF bytes without waiting.
void write_line(int fd, std::string_view text) {
  while (!text.empty()) {
    pollfd writable{fd, POLLOUT, 0};
    const int ready = ::poll(&writable, 1, kReaderPatienceMs);
    if (ready == 0 || (ready < 0 && errno != EINTR))
      return;
    const ssize_t written =
        ready < 0 ? -1 : ::write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (written > 0)
      text.remove_prefix(static_cast<std::size_t>(written));
    else if (errno != EINTR && errno != EAGAIN)
      return;
  }
}

// The task whose unfinished line is the terminal's last one; it is overwritten when it ends.
const Progress* g_open_line = nullptr;

std::string message_json(std::string_view message) {
  return message.empty() ? "null" : json_quoted(message);
}

}  // namespace

ProgressMode progress_mode_from_environment(ProgressMode fallback) {
  constexpr std::pair<std::string_view, ProgressMode> kModes[] = {
      {"std", ProgressMode::kStandard}, {"standard", ProgressMode::kStandard},
      {"dumb", ProgressMode::kSimple},  {"simple", ProgressMode::kSimple},
      {"json", ProgressMode::kJson},    {"off", ProgressMode::kOff},
  };
  const auto word = config::process_environment("MIRRORD_PROGRESS_MODE");
  for (const auto& [name, mode] : kModes) {
    if (name == word)
      return mode;
  }
  return fallback;
}

Progress::Progress(ProgressMode mode, std::string_view name) : Progress(mode, name, {}, 0) {}

Progress::Progress(ProgressMode mode, std::string_view name, std::string_view parent, int depth)
    : mode_(mode),
      name_(name),
      depth_(depth),
      draws_(mode == ProgressMode::kStandard && ::isatty(STDERR_FILENO) == 1) {
  start(parent);
}

Progress::Progress(Progress&& other) noexcept
    : mode_(other.mode_),
      name_(std::move(other.name_)),
      depth_(other.depth_),
      is_open_(std::exchange(other.is_open_, false)),
      draws_(other.draws_) {
  if (g_open_line == &other)
    g_open_line = this;
}

Progress::~Progress() {
  if (is_open_)
    finish(false, {});
}

void Progress::start(std::string_view parent) const {
  if (mode_ == ProgressMode::kJson) {
    write_line(STDOUT_FILENO, "{\"type\":\"NewTask\",\"name\":" + json_quoted(name_) +
                                  ",\"parent\":" + message_json(parent) + "}\n");
    return;
  }
  const std::string title = depth_ == 0 ? name_ + " (cli version " + kVersion + ")" : name_;
  if (mode_ == ProgressMode::kSimple)
    write_line(STDOUT_FILENO, title + "\n");
  if (!draws_)
    return;
  std::string text = g_open_line != nullptr ? "\n" : "";
  text.append(static_cast<std::size_t>(depth_) * 2, ' ').append("• ").append(title);
  write_line(STDERR_FILENO, text);
  g_open_line = this;
}

Progress Progress::subtask(std::string_view name) {
  return {mode_, name, name_, depth_ + 1};
}

void Progress::success(std::string_view message) {
  finish(true, message);
}

void Progress::failure(std::string_view message) {
  finish(false, message);
}

void Progress::warning(std::string_view message) {
  if (mode_ == ProgressMode::kJson)
    write_line(STDOUT_FILENO, "{\"type\":\"Warning\",\"message\":" + json_quoted(message) + "}\n");
  else if (mode_ == ProgressMode::kStandard && !draws_)
    write_line(STDERR_FILENO, "mirrord: warning: " + std::string(message) + "\n");
  else
    line("!", message, depth_ + 1);
}

void Progress::info(std::string_view message) {
  if (mode_ == ProgressMode::kJson)
    write_line(STDOUT_FILENO, "{\"type\":\"Info\",\"message\":" + json_quoted(message) + "}\n");
  else
    line("*", message, depth_ + 1);
}

void Progress::finish(bool succeeded, std::string_view message) {
  if (!std::exchange(is_open_, false))
    return;
  if (mode_ == ProgressMode::kJson) {
    write_line(STDOUT_FILENO, "{\"type\":\"FinishedTask\",\"name\":" + json_quoted(name_) +
                                  ",\"success\":" + (succeeded ? "true" : "false") +
                                  ",\"message\":" + message_json(message) + "}\n");
    return;
  }
  if (mode_ == ProgressMode::kSimple && !message.empty())
    write_line(STDOUT_FILENO, std::string(message) + "\n");
  if (!draws_)
    return;
  if (g_open_line == this) {
    write_line(STDERR_FILENO, "\r\x1b[2K");
    g_open_line = nullptr;
  }
  line(succeeded ? "✓" : "x", message.empty() ? std::string_view(name_) : message, depth_);
}

void Progress::line(std::string_view mark, std::string_view text, int depth) const {
  if (mode_ == ProgressMode::kSimple && (mark == "!" || mark == "*"))
    write_line(STDOUT_FILENO, std::string(text) + "\n");
  if (!draws_)
    return;
  std::string out = g_open_line != nullptr ? "\n" : "";
  g_open_line = nullptr;
  out.append(static_cast<std::size_t>(depth) * 2, ' ');
  out.append(mark).append(" ").append(text).append("\n");
  write_line(STDERR_FILENO, out);
}

}  // namespace mirrord
