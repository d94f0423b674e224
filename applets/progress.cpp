// applets/progress.cpp — the four ways to show progress.
#include "applets/progress.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <utility>

#include "applets/config/load.h"
#include "applets/json_text.h"
#include "applets/progress_tree.h"
#include "applets/version.h"

namespace mirrord {
namespace {

// How long a reader may take nothing at all before the rest of a line is given up.
constexpr int kReaderPatienceMs = 60'000;

// One line at a time: the output may be a pipe that a plugin reads, or be shared with others. A pipe
// that has room takes PIPE_BUF bytes without waiting. False: the text could not be written whole.
bool write_text(int fd, std::string_view text) {
  while (!text.empty()) {
    pollfd writable{fd, POLLOUT, 0};
    const int ready = ::poll(&writable, 1, kReaderPatienceMs);
    if (ready == 0 || (ready < 0 && errno != EINTR))
      return false;
    const ssize_t written =
        ready < 0 ? -1 : ::write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (written > 0)
      text.remove_prefix(static_cast<std::size_t>(written));
    else if (errno != EINTR && errno != EAGAIN)
      return false;
  }
  return true;
}

std::string message_json(std::string_view message) {
  return message.empty() ? "null" : json_quoted(message);
}

bool is_set(const char* name) {
  return !config::process_environment(name).value_or("").empty();
}

std::optional<ProgressTree> tree_for(ProgressMode mode) {
  if (mode != ProgressMode::kStandard || ::isatty(STDERR_FILENO) != 1)
    return std::nullopt;
  TreeTerminal terminal = terminal_size(STDERR_FILENO);
  const std::string kind = config::process_environment("TERM").value_or("");
  terminal.moves = kind != "dumb" && !kind.empty();
  terminal.has_colours = terminal.moves && !is_set("NO_COLOR");
  return ProgressTree(terminal, [](std::string_view text) { write_text(STDERR_FILENO, text); });
}

}  // namespace

struct Progress::View {
  View(ProgressMode mode_wanted, std::optional<ProgressTree> on_terminal)
      : mode(mode_wanted), tree(std::move(on_terminal)) {}

  ProgressMode mode;
  std::optional<ProgressTree> tree;
  std::set<std::string, std::less<>> warnings;  // that were shown
  bool is_unread = false;

  // One line of JSON: {"type":"TYPE",FIELDS}.
  void json(std::string_view type, const std::string& fields) {
    if (mode == ProgressMode::kJson)
      to_output("{\"type\":\"" + std::string(type) + "\"," + fields + "}\n");
  }

  // Without a terminal, in standard mode.
  void plain(std::string_view text) const {
    if (mode == ProgressMode::kStandard && !tree)
      write_text(STDERR_FILENO, "mirrord: " + std::string(text) + "\n");
  }
  void simple(std::string_view text) {
    if (mode == ProgressMode::kSimple && !text.empty())
      to_output(std::string(text) + "\n");
  }

 private:
  void to_output(std::string_view text) {
    is_unread = !write_text(STDOUT_FILENO, text) || is_unread;
  }
};

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

Progress::Progress(ProgressMode mode, std::string_view name)
    : Progress(std::make_shared<View>(mode, tree_for(mode)), name, {}, 0) {}

Progress::Progress(std::shared_ptr<View> view, std::string_view name, std::string_view parent,
                   unsigned depth)
    : view_(std::move(view)), name_(name), depth_(depth) {
  view_->json("NewTask", "\"name\":" + json_quoted(name_) + ",\"parent\":" + message_json(parent));
  const std::string title = depth_ == 0 ? name_ + " (cli version " + kVersion + ")" : name_;
  view_->simple(title);
  if (view_->tree)
    line_ = view_->tree->add(TreeMark::kOpen, depth_, title);
  else if (depth_ > 0)
    view_->plain(title);
}

Progress::Progress(Progress&& other) noexcept
    : view_(other.view_),
      name_(std::move(other.name_)),
      depth_(other.depth_),
      line_(other.line_),
      is_open_(std::exchange(other.is_open_, false)) {}

Progress::~Progress() {
  if (is_open_)
    finish(false, {});
}

ProgressMode Progress::mode() const {
  return view_->mode;
}

bool Progress::is_unread() const {
  return view_->is_unread;
}

Progress Progress::subtask(std::string_view name) {
  return {view_, name, name_, depth_ + 1};
}

void Progress::success(std::string_view message) {
  finish(true, message);
}

void Progress::failure(std::string_view message) {
  finish(false, message);
}

void Progress::warning(std::string_view message) {
  if (!view_->warnings.emplace(message).second)
    return;
  view_->json("Warning", "\"message\":" + json_quoted(message));
  view_->simple(message);
  view_->plain("warning: " + std::string(message));
  if (view_->tree)
    view_->tree->add(TreeMark::kWarning, depth_ + 1, message);
}

void Progress::info(std::string_view message) {
  view_->json("Info", "\"message\":" + json_quoted(message));
  view_->simple(message);
  view_->plain(message);
  if (view_->tree)
    view_->tree->add(TreeMark::kInfo, depth_ + 1, message);
}

void Progress::ide_message(const IdeMessage& message) {
  if (view_->mode != ProgressMode::kJson ||
      config::process_environment("MIRRORD_PROGRESS_SUPPORT_IDE") != "true")
    return;
  std::string actions;
  for (const IdeMessage::Link& link : message.links)
    actions += (actions.empty() ? "" : ",") +
               ("{\"kind\":\"Link\",\"label\":" + json_quoted(link.label)) +
               ",\"link\":" + json_quoted(link.address) + "}";
  view_->json("IdeMessage", "\"message\":{\"id\":" + json_quoted(message.id) + ",\"level\":\"" +
                                (message.is_warning ? "Warning" : "Info") + "\",\"text\":" +
                                json_quoted(message.text) + ",\"actions\":[" + actions + "]}");
}

void Progress::leave_terminal() {
  if (view_->tree)
    view_->tree->settle();
}

void Progress::finish(bool succeeded, std::string_view message) {
  if (!std::exchange(is_open_, false))
    return;
  view_->json("FinishedTask", "\"name\":" + json_quoted(name_) +
                                  ",\"success\":" + (succeeded ? "true" : "false") +
                                  ",\"message\":" + message_json(message));
  view_->simple(message);
  const std::string_view shown = message.empty() ? std::string_view(name_) : message;
  if (view_->tree)
    view_->tree->change(line_, succeeded ? TreeMark::kDone : TreeMark::kFailed, shown);
  else if (!succeeded && (depth_ > 0 || !message.empty()))
    view_->plain("failed: " + std::string(shown));
  else if (succeeded && !message.empty())
    view_->plain(message);
}

}  // namespace mirrord
