// applets/log/log.h — log lines by level and component, to a file, to standard error, to `mirrord console`.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "applets/log/filter.h"
#include "net/error.h"
#include "net/fd.h"

namespace mirrord::log {

enum class Format {
  kText,  // "TIME level component: text"
  kJson,  // one object a line, with the keys of the original's
};

// The present time with its milliseconds. `format` is strftime's, `convert` gmtime_r or localtime_r.
std::string time_text(const char* format, tm* (*convert)(const time_t*, tm*));

// Text of a peer as one line: control characters, which a terminal may obey, become spaces, and a long one is cut.
std::string one_line(std::string_view text);

// What a process is told of its log.
struct Settings {
  std::string filter = "info";  // of its file
  Format format = Format::kText;
  std::string console;         // "ADDRESS:PORT" of a `mirrord console`; empty: none
  std::string console_filter;  // empty: everything
};

// Several writers may share a file: a line is one write. Nothing waits: what a file or a console does not take at
// once is lost, and a console is told how much. For one thread. Never give it a secret: values of the environment,
// credentials, content of files and of requests.
class Log {
 public:
  // Writes nowhere, as long as no sink is added.
  Log() = default;
  ~Log();
  Log(Log&& other) noexcept = default;
  Log& operator=(Log&& other) noexcept = default;

  // From open_file().
  void add_file(Fd file, const Filter& filter, Format format);
  // Writes to a descriptor, which stays the caller's.
  Status add_descriptor(int descriptor, const Filter& filter, Format format);
  // Connects within a second and introduces this process by its role ("intproxy").
  Status add_console(std::string_view address, const Filter& filter, std::string_view role);

  [[nodiscard]] bool wants(Component component, Level level) const;
  // Whether any component is wanted at the lowest level: for what is costly to tell.
  [[nodiscard]] bool traces() const { return traces_; }
  // As one_line() makes it.
  void write(Component component, Level level, std::string_view text);

  void error(Component component, std::string_view text) { write(component, Level::kError, text); }
  void warn(Component component, std::string_view text) { write(component, Level::kWarn, text); }
  void info(Component component, std::string_view text) { write(component, Level::kInfo, text); }
  // `make` returns the text; it is called only when somebody wants the line.
  template <class Make>
  void debug(Component component, Make&& make) {
    if (wants(component, Level::kDebug))
      write(component, Level::kDebug, std::forward<Make>(make)());
  }
  template <class Make>
  void trace(Component component, Make&& make) {
    if (wants(component, Level::kTrace))
      write(component, Level::kTrace, std::forward<Make>(make)());
  }

 private:
  struct Sink {
    Fd descriptor;
    Filter filter;
    Format format = Format::kText;
    bool is_console = false;
    std::string waiting;   // a console's frames that its socket has not taken yet
    std::size_t lost = 0;  // lines since it last took one
  };
  void add(Sink sink);
  static void send(Sink& console, std::string frame);

  std::vector<Sink> sinks_;
  bool traces_ = false;
};

// A line of Format::kText, as another process wrote it: its level, and "component: text".
struct TextLine {
  Level level;
  std::string_view rest;
};
std::optional<TextLine> parse_text_line(std::string_view line);

// Whether a log with these settings would take such a line.
bool wants(const Settings& settings, Component component, Level level);

// Opens a log to append to. Creates it and its directories, for their user only, when they are missing.
Result<Fd> open_file(const std::string& path);

// Writes to `file`, if it is open, and to the console. One that does not answer is a warning in the file.
Log open_log(const Settings& settings, Fd file, std::string_view role);

}  // namespace mirrord::log
