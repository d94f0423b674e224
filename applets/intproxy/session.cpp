// applets/intproxy/session.cpp — sets the session up, hands requests to its parts, ends it.
#include "applets/intproxy/session.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "applets/intproxy/request_log.h"

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kMaxSettings = 64 << 20;
constexpr std::chrono::milliseconds kTrimDelay{2000};
constexpr std::chrono::milliseconds kLastWords{2000};  // for what was written last to leave
constexpr std::size_t kSlotsSize = sizeof(local::FileSlot) * local::kSlotCount;

constexpr std::array kRequestComponents = {log::Component::kDns, log::Component::kFiles,
                                           log::Component::kIncoming, log::Component::kOutgoing};

}  // namespace

Session::Session(net::Loop& loop, log::Log& log, SessionOptions options,
                 std::unique_ptr<AgentLink> agent, std::unique_ptr<AgentConnector> connector)
    : loop_(loop),
      options_(std::move(options)),
      log_(log),
      logs_requests_(std::ranges::any_of(
          kRequestComponents,
          [this](log::Component component) { return log_.wants(component, log::Level::kDebug); })),
      agent_(std::move(agent)),
      server_(loop, {.request =
                         [this](LocalConnection& connection, Request&& request, Call call) {
                           on_request(connection, std::move(request), std::move(call));
                         },
                     .closed = [this](LocalConnection& connection) { on_closed(connection); },
                     .refused =
                         [this](LocalConnection& connection, std::string_view why) {
                           log_.warn(log::Component::kSession,
                                     "process " + std::to_string(connection.peer()) + " sent " +
                                         std::string(why));
                         }}),
      check_timer_(loop),
      trim_timer_(loop) {
  if (const Status mapped = map_settings(); !mapped) {
    log_.warn(log::Component::kSession, mapped.error().what);
  }
  if (connector != nullptr && options_.reconnect_timeout.count() > 0) {
    use_connector(std::move(connector));
  } else {
    idle_connector_ = std::move(connector);
  }
}

Session::~Session() {
  server_.close_all();
  parts_.clear();
  if (settings_ != nullptr) {
    ::munmap(const_cast<local::Settings*>(settings_), settings_size_);
  }
  if (slots_ != nullptr) {
    ::munmap(slots_, kSlotsSize);
  }
}

Status Session::map_settings() {
  const std::string path = options_.directory + "/" + local::kSettingsFile;
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file.is_open() || ::fstat(file.get(), &status) != 0) {
    return fail_system("open " + path, errno);
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size < sizeof(local::Settings) || size > kMaxSettings) {
    return fail(ErrorCode::kInternal, "read " + path + ": it has a wrong size");
  }
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) {
    return fail_system("map " + path, errno);
  }
  settings_ = static_cast<const local::Settings*>(memory);
  settings_size_ = size;
  if (settings_->magic != local::kSettingsMagic || settings_->version != local::kVersion) {
    ::munmap(memory, size);
    settings_ = nullptr;
    return fail(ErrorCode::kInternal, "read " + path + ": it is of another version");
  }
  return {};
}

Status Session::create_slots() {
  const std::string path = options_.directory + "/" + local::kSlotsFile;
  const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.is_open() || (options_.serves_container && ::fchmod(file.get(), 0666) != 0) ||
      ::ftruncate(file.get(), kSlotsSize) != 0) {
    return fail_system("create " + path, errno, "Free some space on that file system.");
  }
  void* memory = ::mmap(nullptr, kSlotsSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) {
    return fail_system("map " + path, errno);
  }
  slots_ = static_cast<local::FileSlot*>(memory);
  return {};
}

Status Session::listen() {
  MIRRORD_CHECK_STATUS(create_slots());
  parts_ = make_parts(*this);
  // Under its name nobody ever sees a socket on which nobody listens: that is how others know a dead
  // session (stale.h).
  const std::string path = options_.directory + "/" + local::kSocketFile;
  const std::string draft = options_.directory + "/" + local::kNewSocketFile;
  MIRRORD_CHECK_STATUS(server_.listen(draft, options_.serves_container));
  if (::rename(draft.c_str(), path.c_str()) != 0) {
    return fail_system("rename " + draft + " to " + path, errno);
  }
  signals_.emplace(loop_, [this](int) { end("a signal asked for it"); });
  idle_since_ms_ = loop_.now_ms();
  watch_root();
  schedule_check();
  return {};
}

void Session::run() {
  while (!has_ended_) {
    loop_.run();
  }
  if (reconnector_) {
    reconnector_->finish(kLastWords);
  } else if (idle_connector_) {
    idle_connector_->finish(kLastWords);
  }
  remove_directory();
}

void Session::handle(local::MessageType type, Handler handler) {
  handlers_[static_cast<std::size_t>(type)] = std::move(handler);
}

// Buffers of a burst go back to the system once nobody has asked for anything for a while.
void Session::schedule_trim() {
  is_trim_due_ = true;
  was_used_ = false;
  trim_timer_.start(kTrimDelay, [this] {
    if (was_used_) {
      schedule_trim();
    } else {
      is_trim_due_ = false;
      ::malloc_trim(0);
    }
  });
}

void Session::log_request(LocalConnection& connection, const Request& request) {
  if (!logs_requests_) {
    return;
  }
  auto note = note_of(*connection.process(), request);
  if (note && log_.wants(note->component, note->level)) {
    connection.watch_answer([this, note = std::move(*note), type = request.type](
                                int error, std::span<const std::byte> fixed) {
      log_.write(note.component, note.level, note.text + ": " + outcome_text(type, error, fixed));
    });
  }
}

void Session::on_request(LocalConnection& connection, Request&& request, Call call) {
  using local::MessageType;
  was_used_ = true;
  if (!is_trim_due_) {
    schedule_trim();
  }
  bool is_legal = true;
  if (request.type == MessageType::kHello) {
    is_legal = say_hello(connection, request);
  } else if (connection.process() == nullptr) {
    is_legal = false;
  } else if (request.type == MessageType::kFork) {
    is_legal = fork_process(connection, request);
  } else if (request.type == MessageType::kExec) {
    is_legal = exec_process(*connection.process(), request);
  } else if (request.type == MessageType::kPing) {
    call.succeed();
  } else if (request.type == MessageType::kLog || request.type == MessageType::kLogDecision) {
    log_.write(
        log::Component::kHook,
        request.type == MessageType::kLog ? log::Level::kInfo : log::Level::kDebug,
        connection.process()->name + "[" + std::to_string(connection.process()->pid) + "]: " +
            std::string(reinterpret_cast<const char*>(request.body.data()), request.body.size()));
  } else {
    log_request(connection, request);
    const auto index = static_cast<std::size_t>(request.type);
    if (index < handlers_.size() && handlers_[index]) {
      handlers_[index](*connection.process(), std::move(request), std::move(call));
    } else {
      call.fail(ENOSYS);
    }
  }
  if (!is_legal) {
    log_.warn(log::Component::kSession, "process " + std::to_string(connection.peer()) +
                                            " sent a message that its state does not allow");
    connection.close();
  }
}

}  // namespace mirrord::intproxy
