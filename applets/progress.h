// applets/progress.h — shows the steps of a start: as a tree on a terminal, as plain lines, or as
// the JSON lines that editor plugins read.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mirrord {

// kStandard draws a tree on a terminal; where standard error is none, plain lines go there. The lines of
// kSimple and kJson go to standard output.
enum class ProgressMode { kStandard, kSimple, kJson, kOff };

// MIRRORD_PROGRESS_MODE, or `fallback` when it is unset or not a known word.
ProgressMode progress_mode_from_environment(ProgressMode fallback = ProgressMode::kStandard);

// A notice that editors show in a window of their own, and can be told not to show again.
struct IdeMessage {
  struct Link {
    std::string label;
    std::string address;
  };
  std::string id;
  bool is_warning = false;
  std::string text;
  std::vector<Link> links;
};

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
  void warning(std::string_view message);  // the same words once for all tasks of a root
  void info(std::string_view message);
  // Only for editors that ask for it (MIRRORD_PROGRESS_SUPPORT_IDE=true).
  void ide_message(const IdeMessage& message);
  // Someone else may write to the terminal now: what stands there stays.
  void leave_terminal();

  ProgressMode mode() const;
  // Something could not be written: who should read it is gone.
  bool is_unread() const;

 private:
  struct View;  // what the tasks of one root share

  Progress(std::shared_ptr<View> view, std::string_view name, std::string_view parent,
           unsigned depth);
  void finish(bool succeeded, std::string_view message);

  std::shared_ptr<View> view_;
  std::string name_;
  unsigned depth_;
  std::size_t line_ = 0;  // of the tree
  bool is_open_ = true;
};

}  // namespace mirrord
