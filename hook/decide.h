// hook/decide.h — which file does a path mean: a local one, a remote one, none?
#pragma once

#include "hook/fd_table.h"
#include "hook/libc.h"
#include "hook/session.h"
#include "hook/working_directory.h"

namespace mirrord::hook {

// Whether file hooks have anything to do in this process.
inline bool files_active() {
  return is_active() && has_flag(local::kFilesEnabled);
}

// Runs the session's path automaton: an outcome as in proto/local.h. `length` receives the
// path's length.
uint8_t classify_path(const local::PathAutomaton& automaton, const char* path, size_t* length);

// What a hook on (directory, path) has to do. Keeps what it refers to alive.
class Target {
 public:
  enum Kind : uint8_t {
    kLocal,     // call the original with path()
    kRemote,    // send path(), relative to directory() unless that is 0
    kHandle,    // an empty path with AT_EMPTY_PATH: the descriptor itself, file()
    kNotFound,  // the configuration hides it: ENOENT
  };

  // A path relative to the working directory is local, unless that was set to a remote one.
  Target(const char* path, bool write) : path_(path) {
    if (MIRRORD_UNLIKELY(!is_pointer(path))) {
      return;  // the original's to refuse
    }
    if (path[0] == '/') {
      if (files_active()) {
        decide(write);
      }
    } else if (MIRRORD_UNLIKELY(has_remote_working_directory())) {
      decide_in_working_directory(write);
    }
  }
  Target(int directory, const char* path, bool write, bool may_be_empty = false);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  [[nodiscard]] bool is_local() const { return kind_ == kLocal; }
  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] const char* path() const { return path_; }
  [[nodiscard]] size_t length() const { return length_; }
  [[nodiscard]] local::Handle directory() const {
    return kind_ == kRemote && record_ != nullptr ? record_->file.handle : 0;
  }
  [[nodiscard]] FileRecord& file() const { return record_->file; }
  // Writes the absolute path into a path buffer; its length, or 0 when it is not known.
  size_t copy_absolute(char* buffer) const;
  // The errno that a path that is not local fails with at once, or 0.
  [[nodiscard]] int early_error() const {
    return kind_ == kNotFound                               ? ENOENT
           : kind_ == kRemote && length_ >= local::kMaxPath ? ENAMETOOLONG
                                                            : 0;
  }

 private:
  void decide(bool write);
  void map(bool write);
  void decide_in_working_directory(bool write);
  void decide_in(Record* directory, bool write);
  static Kind decide_below(const char* directory, const char* joined, bool write);

  Kind kind_ = kLocal;
  const char* path_;
  size_t length_ = 0;
  Record* record_ = nullptr;  // directory or file, referenced
  char* buffer_ = nullptr;    // holds a mapped path that is not cached
};

// Buffers of local::kMaxPath bytes; frames stay small because Go calls hooks on small stacks.
char* take_path_buffer();
void give_path_buffer(char* buffer);

class PathBuffer {
 public:
  PathBuffer() : data_(take_path_buffer()) {}
  ~PathBuffer() { give_path_buffer(data_); }
  PathBuffer(const PathBuffer&) = delete;
  PathBuffer& operator=(const PathBuffer&) = delete;
  [[nodiscard]] char* data() const { return data_; }  // nullptr: no memory

 private:
  char* data_;
};

}  // namespace mirrord::hook
