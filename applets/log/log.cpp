// applets/log/log.cpp — writes lines and frames.
#include "applets/log/log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>

#include "applets/json_text.h"
#include "applets/log/console_records.h"
#include "net/address.h"
#include "net/file.h"

namespace mirrord::log {
namespace {

constexpr std::size_t kMaxText = 4096;  // text of a peer: longer ones are cut
constexpr std::size_t kMaxWaiting = 1 << 20;
constexpr int kConnectMs = 1000;
constexpr int kLastWordsMs = 500;

std::string time_now() {
  return time_text("%Y-%m-%dT%H:%M:%S", ::gmtime_r) + "Z";
}

std::string text_line(Component component, Level level, const std::string& text) {
  std::string line = time_now() + ' ';
  line += name_of(level);
  line += ' ';
  line += name_of(component);
  return line + ": " + text + '\n';
}

std::string json_line(Component component, Level level, const std::string& text) {
  std::string upper(name_of(level));
  std::ranges::transform(upper, upper.begin(), [](char c) { return static_cast<char>(c - 0x20); });
  return R"({"timestamp":")" + time_now() + R"(","level":")" + upper + R"(","fields":{"message":)" +
         json_quoted(text) + R"(},"target":"mirrord::)" + std::string(name_of(component)) + "\"}\n";
}

Result<Fd> connect_within(const net::Endpoint& endpoint, int limit_ms) {
  const auto refuse = [&](int error) {
    return fail_system("connect to the console at " + endpoint.to_string(), error,
                       "Start `mirrord console` first, or unset MIRRORD_CONSOLE_ADDR.");
  };
  sockaddr_storage storage{};
  const socklen_t size = endpoint.to_sockaddr(storage);
  Fd socket(::socket(endpoint.ip.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open())
    return refuse(errno);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), size) != 0) {
    if (errno != EINPROGRESS)
      return refuse(errno);
    pollfd writable{socket.get(), POLLOUT, 0};
    if (::poll(&writable, 1, limit_ms) <= 0)
      return refuse(ETIMEDOUT);
    int error = 0;
    socklen_t error_size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &error_size);
    if (error != 0)
      return refuse(error);
  }
  return socket;
}

// Neither arguments nor environment: they may hold secrets of the program.
ConsoleHello hello_as(std::string_view role) {
  ConsoleHello hello;
  hello.arguments = {"mirrord", std::string(role)};
  hello.pid = static_cast<std::uint64_t>(::getpid());
  return hello;
}

Filter console_filter(const Settings& settings) {
  return settings.console_filter.empty() ? Filter(Level::kTrace)
                                         : Filter::parse(settings.console_filter);
}

}  // namespace

std::string time_text(const char* format, tm* (*convert)(const time_t*, tm*)) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  convert(&now.tv_sec, &parts);
  std::array<char, 48> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), format, &parts);
  std::snprintf(text.data() + size, text.size() - size, ".%03ld", now.tv_nsec / 1'000'000);
  return text.data();
}

std::string one_line(std::string_view text) {
  std::string line(text.substr(0, kMaxText));
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
  return line;
}

Log::~Log() {
  for (Sink& sink : sinks_) {
    pollfd writable{sink.descriptor.get(), POLLOUT, 0};
    while (!sink.waiting.empty() && ::poll(&writable, 1, kLastWordsMs) > 0) {
      const std::size_t before = sink.waiting.size();
      send(sink, {});
      if (sink.waiting.size() == before)
        break;
    }
  }
}

void Log::add_file(Fd file, const Filter& filter, Format format) {
  add({.descriptor = std::move(file), .filter = filter, .format = format});
}

Status Log::add_descriptor(int descriptor, const Filter& filter, Format format) {
  Fd copy(::fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
  if (!copy.is_open())
    return fail_system("copy a descriptor for the log", errno);
  add({.descriptor = std::move(copy), .filter = filter, .format = format});
  return {};
}

Status Log::add_console(std::string_view address, const Filter& filter, std::string_view role) {
  const auto endpoint = net::Endpoint::parse(address);
  if (!endpoint || endpoint->port == 0) {
    return fail(
        ErrorCode::kUsage,
        "MIRRORD_CONSOLE_ADDR: \"" + std::string(address) + "\" is not ADDRESS:PORT",
        "The default of `mirrord console` is 127.0.0.1:" + std::to_string(kConsolePort) + ".");
  }
  MIRRORD_TRY(socket, connect_within(*endpoint, kConnectMs));
  add({.descriptor = std::move(socket), .filter = filter, .is_console = true});
  send(sinks_.back(), console_frame(hello_as(role)));
  return {};
}

bool Log::wants(Component component, Level level) const {
  return std::ranges::any_of(
      sinks_, [&](const Sink& sink) { return sink.filter.allows(component, level); });
}

void Log::add(Sink sink) {
  for (std::size_t i = 0; i < kComponentNames.size(); ++i)
    traces_ = traces_ || sink.filter.allows(static_cast<Component>(i), Level::kTrace);
  sinks_.push_back(std::move(sink));
}

void Log::write(Component component, Level level, std::string_view text) {
  for (Sink& sink : sinks_) {
    if (!sink.filter.allows(component, level))
      continue;
    if (sink.is_console) {
      send(sink,
           console_frame(ConsoleRecord{.level = level,
                                       .target = "mirrord::" + std::string(name_of(component)),
                                       .message = one_line(text)}));
      continue;
    }
    const std::string line = sink.format == Format::kJson
                                 ? json_line(component, level, one_line(text))
                                 : text_line(component, level, one_line(text));
    // A full disk must not stop anything.
    [[maybe_unused]] const ssize_t written =
        ::write(sink.descriptor.get(), line.data(), line.size());
  }
}

void Log::send(Sink& console, std::string frame) {
  if (!console.descriptor.is_open())
    return;
  if (console.waiting.size() > kMaxWaiting) {
    console.lost += frame.empty() ? 0 : 1;
    frame.clear();
  } else if (const std::size_t lost = std::exchange(console.lost, 0); lost > 0) {
    console.waiting += console_frame(ConsoleRecord{
        .level = Level::kWarn,
        .target = "mirrord::session",
        .message = std::to_string(lost) + " lines were lost: this console reads too slowly"});
  }
  console.waiting += frame;
  const ssize_t sent = ::send(console.descriptor.get(), console.waiting.data(),
                              console.waiting.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) {
    console.waiting.erase(0, static_cast<std::size_t>(sent));
  } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    console.waiting.clear();  // the console has ended
    console.descriptor.reset();
  }
}

std::optional<TextLine> parse_text_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  if (first == std::string_view::npos || !line.substr(0, first).ends_with('Z'))
    return std::nullopt;
  const std::size_t second = std::min(line.find(' ', first + 1), line.size());
  const auto level = level_named(line.substr(first + 1, second - first - 1));
  if (!level || second == line.size())
    return std::nullopt;
  return TextLine{*level, line.substr(second + 1)};
}

bool wants(const Settings& settings, Component component, Level level) {
  return Filter::parse(settings.filter).allows(component, level) ||
         (!settings.console.empty() && console_filter(settings).allows(component, level));
}

Result<Fd> open_file(const std::string& path) {
  net::make_parent_directories(path, 0700);
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600));
  if (!file.is_open())
    return fail_system("open the log " + path, errno);
  return file;
}

Log open_log(const Settings& settings, Fd file, std::string_view role) {
  Log log;
  if (file)
    log.add_file(std::move(file), Filter::parse(settings.filter), settings.format);
  if (settings.console.empty())
    return log;
  if (const Status added = log.add_console(settings.console, console_filter(settings), role);
      !added)
    log.warn(Component::kSession, added.error().what);
  return log;
}

}  // namespace mirrord::log
