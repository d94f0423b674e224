// applets/intproxy/report.cpp — the pipe's format: kind (1 byte), length (4 bytes), body; texts in
// a body are length-prefixed. A step's kind is the StartStep. Both ends are the same program.
#include "applets/intproxy/report.h"

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace mirrord::intproxy {
namespace {

constexpr char kSuccess = 'S';
constexpr char kFailure = 'F';
constexpr std::uint32_t kMaxBody = 64 << 20;

void put(std::string& out, std::uint32_t number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void put(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}

class Reader {
 public:
  explicit Reader(std::string_view body) : body_(body) {}
  std::uint32_t number() {
    std::uint32_t value = 0;
    if (body_.size() >= sizeof value) {
      std::memcpy(&value, body_.data(), sizeof value);
      body_.remove_prefix(sizeof value);
    }
    return value;
  }
  std::string text() {
    const std::size_t size = std::min<std::size_t>(number(), body_.size());
    std::string value(body_.substr(0, size));
    body_.remove_prefix(size);
    return value;
  }

 private:
  std::string_view body_;
};

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR) {
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  }
  return true;
}

bool read_all(int fd, char* out, std::size_t size) {
  while (size > 0) {
    const ssize_t count = ::read(fd, out, size);
    if (count == 0 || (count < 0 && errno != EINTR)) {
      return false;
    }
    const auto got = static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    out += got;
    size -= got;
  }
  return true;
}

StartedSession parse_success(std::string_view body) {
  Reader reader(body);
  StartedSession session;
  session.agent_version = reader.text();
  session.has_flight = reader.number() != 0;
  session.intproxy_pid = static_cast<pid_t>(reader.number());
  const std::uint32_t count = reader.number();
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string name = reader.text();
    session.environment[std::move(name)] = reader.text();
  }
  const std::uint32_t parts = reader.number();
  for (std::uint32_t i = 0; i < parts; ++i) {
    std::string part = reader.text();
    session.timings.push_back({std::move(part), std::chrono::microseconds(reader.number())});
  }
  return session;
}

Error parse_failure(std::string_view body) {
  Reader reader(body);
  Error error;
  error.code = static_cast<ErrorCode>(reader.number());
  error.sys = static_cast<int>(reader.number());
  error.what = reader.text();
  error.hint = reader.text();
  return error;
}

}  // namespace

void Reporter::send(char kind, std::string_view body) {
  if (!pipe_.is_open()) {
    return;
  }
  std::string packet(1, kind);
  put(packet, body);
  // The command line may have been killed: the session then ends with its root process.
  if (!write_all(pipe_.get(), packet) || kind == kSuccess || kind == kFailure) {
    pipe_.reset();
  }
}

void Reporter::step(StartStep step, std::string_view text) {
  send(static_cast<char>(step), text);
}

void Reporter::success(const StartedSession& session) {
  std::string body;
  put(body, session.agent_version);
  put(body, session.has_flight ? 1U : 0U);
  put(body, static_cast<std::uint32_t>(session.intproxy_pid));
  put(body, static_cast<std::uint32_t>(session.environment.size()));
  for (const auto& [name, value] : session.environment) {
    put(body, name);
    put(body, value);
  }
  put(body, static_cast<std::uint32_t>(session.timings.size()));
  for (const StartTiming& timing : session.timings) {
    put(body, timing.part);
    put(body, static_cast<std::uint32_t>(timing.time.count()));
  }
  send(kSuccess, body);
}

void Reporter::failure(const Error& error) {
  std::string body;
  put(body, static_cast<std::uint32_t>(error.code));
  put(body, static_cast<std::uint32_t>(error.sys));
  put(body, error.what);
  put(body, error.hint);
  send(kFailure, body);
}

Result<StartedSession> read_reports(int pipe, const StartProgress& progress) {
  while (true) {
    char kind = 0;
    std::uint32_t size = 0;
    if (!read_all(pipe, &kind, 1) || !read_all(pipe, reinterpret_cast<char*>(&size), sizeof size) ||
        size > kMaxBody) {
      break;
    }
    std::string body(size, '\0');
    if (!read_all(pipe, body.data(), body.size())) {
      break;
    }
    if (kind == kSuccess) {
      return parse_success(body);
    }
    if (kind == kFailure) {
      return std::unexpected(parse_failure(body));
    }
    if (progress) {
      progress(static_cast<StartStep>(kind), body);
    }
  }
  return fail(ErrorCode::kInternal, "start the internal proxy: it ended before it was ready",
              "Look into the session's log (internal_proxy.log_destination).");
}

}  // namespace mirrord::intproxy
