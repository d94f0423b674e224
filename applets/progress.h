// applets/progress.h — shows the steps of a start: as a tree on a terminal, as plain lines, or as
// the JSON lines that editor plugins read.
#pragma once

#include <string>
#include <string_view>

namespace mirrord {

// kStandard draws a tree on a terminal; where standard error is none, only warnings are printed.
enum class ProgressMode { kStandard, kSimple, kJson, kOff };

// MIRRORD_PROGRESS_MODE, or `fallback` when it is unset or not a known word.
ProgressMode progress_mode_from_environment(ProgressMode fallback = ProgressMode::kStandard);

// One task and the tasks below it. A task that is destroyed while open has failed. Tasks of one
// root must end in the reverse order of their start.
class Progress {
 public:
  Progress(ProgressMode mode, std::string_view name);
  ~Progress();
  Progress(Progress&& other) noexcept;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  Progress& operator=(Progress&&) = delete;

  Progress subtask(std::string_view name);
  void success(std::string_view message = {});
  void failure(std::string_view message = {});
  void warning(std::string_view message);
  void info(std::string_view message);

  ProgressMode mode() const { return mode_; }

 private:
  Progress(ProgressMode mode, std::string_view name, std::string_view parent, int depth);
  void start(std::string_view parent) const;
  void finish(bool succeeded, std::string_view message);
  void line(std::string_view mark, std::string_view text, int depth) const;

  ProgressMode mode_;
  std::string name_;
  int depth_;
  bool is_open_ = true;
  bool draws_;  // kStandard: stderr is a terminal
};

}  // namespace mirrord
