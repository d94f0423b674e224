// applets/intproxy/start.cpp — from the command line's fork to a session that serves.
#include "applets/intproxy/start.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/agent_source.h"
#include "applets/intproxy/report.h"
#include "applets/intproxy/session.h"
#include "applets/intproxy/stale.h"
#include "net/detach.h"
#include "net/leave.h"
#include "net/loop.h"
#include "net/pipe.h"

namespace mirrord::intproxy {
namespace {

// Payloads of relayed connections come and go: giving their pages back each time costs more than
// the copies. Only glibc has something to tune.
void tune_allocator() {
#ifdef M_MMAP_THRESHOLD
  constexpr int kKept = 4 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kKept);
  ::mallopt(M_TRIM_THRESHOLD, kKept);
#endif
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// The agent, from its stream to the fetched environment.
class Opening {
 public:
  Opening(net::Loop& loop, SessionOptions& options, Reporter& reporter)
      : loop_(loop), options_(options), reporter_(reporter) {}

  Status open();

  std::unique_ptr<AgentProcess> process;
  std::unique_ptr<AgentConnector> connector;
  std::unique_ptr<AgentLink> link;
  StartedSession started;
  std::vector<proto::LogMessage> early_logs;
  std::move_only_function<void(const Error&)> on_lost;
  std::move_only_function<void(proto::LogMessage&&)> on_log;
  std::move_only_function<void(const Error&)> on_interrupted;
  std::move_only_function<void(const AgentLink::Restored&)> on_restored;

 private:
  Status wait_until(const bool& condition);
  void timed(std::string_view part);
  AgentLink::Handlers handlers();

  net::Loop& loop_;
  SessionOptions& options_;
  Reporter& reporter_;
  bool is_ready_ = false;
  bool has_environment_ = false;
  std::optional<Error> refused_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

AgentLink::Handlers Opening::handlers() {
  AgentLink::Handlers handlers;
  handlers.ready = [this] {
    is_ready_ = true;
    loop_.stop();
  };
  handlers.lost = [this](const Error& why) {
    loop_.stop();
    if (on_lost) {
      on_lost(why);
    }
  };
  // Only when a session has allowed it, and set these.
  handlers.interrupted = [this](const Error& why) { on_interrupted(why); };
  handlers.restored = [this](const AgentLink::Restored& restored) { on_restored(restored); };
  handlers.log = [this](proto::LogMessage&& message) {
    if (on_log) {
      on_log(std::move(message));
    } else {
      early_logs.push_back(std::move(message));
    }
  };
  return handlers;
}

Status Opening::wait_until(const bool& condition) {
  bool is_late = false;
  net::Timer timer(loop_);
  timer.start(options_.connect_timeout, [&] {
    is_late = true;
    loop_.stop();
  });
  while (!condition && !link->is_lost() && !is_late && !refused_) {
    loop_.run();
  }
  if (refused_) {
    return std::unexpected(std::move(*refused_));
  }
  if (is_late) {
    return fail(ErrorCode::kTimeout, "wait for the agent: no answer in time",
                "Raise agent.startup_timeout, or look at the agent's log.");
  }
  if (link->is_lost()) {
    Error error = link->loss();
    if (process) {
      const std::string words = process->last_words();
      if (!words.empty()) {
        error = start_failure(words);
      }
    }
    return std::unexpected(std::move(error));
  }
  return {};
}

void Opening::timed(std::string_view part) {
  const auto now = std::chrono::steady_clock::now();
  started.timings.push_back(
      {std::string(part), std::chrono::duration_cast<std::chrono::microseconds>(now - last_)});
  last_ = now;
}

Status Opening::open() {
  const bool is_in_cluster = options_.agent.cluster != nullptr;
  if (!is_in_cluster) {
    reporter_.progress(options_.agent.address.empty()
                           ? "starting the agent"
                           : "connecting to the agent at " + options_.agent.address);
  }
  AgentSourceReport report;
  report.progress = [this](StartStep step, std::string_view text) { reporter_.step(step, text); };
  report.timed = [this](std::string_view part, std::chrono::microseconds time) {
    started.timings.push_back({std::string(part), time});
  };
  MIRRORD_TRY(stream, open_agent(loop_, std::move(options_.agent), options_.connect_timeout,
                                 std::move(report), options_.root_pid));
  timed(is_in_cluster ? "all of these" : "stream");
  process = std::move(stream.process);
  connector = std::move(stream.connector);
  link = std::make_unique<AgentLink>(
      loop_, std::move(stream.socket), std::move(stream.peer_name),
      AgentLink::Options{options_.connect_timeout, options_.ping_interval, options_.reply_limit});
  link->start(handlers());
  MIRRORD_CHECK_STATUS(wait_until(is_ready_));
  timed("handshake");
  started.agent_version = link->version().to_string();
  started.has_flight = link->speaks_flight();
  if (!options_.fetch_environment) {
    return {};
  }
  reporter_.progress("fetching the target's environment");
  proto::GetEnvVarsRequest request;
  request.env_vars_filter.assign(options_.environment_exclude.begin(),
                                 options_.environment_exclude.end());
  request.env_vars_select.assign(options_.environment_include.begin(),
                                 options_.environment_include.end());
  link->get_environment(std::move(request), [this](proto::Res<proto::RemoteEnvVars> reply) {
    if (reply) {
      for (auto& [name, value] : *reply) {
        started.environment[std::move(name)] = std::move(value);
      }
    } else if (!is_agent_lost(reply.error())) {
      refused_ = system_error("fetch the target's environment", errno_of(reply.error()));
    }
    has_environment_ = true;
    loop_.stop();
  });
  MIRRORD_CHECK_STATUS(wait_until(has_environment_));
  timed("environment");
  return {};
}

// A log of nobody's choice goes with the session's directory; not earlier than that is sure to be removed.
void add_default_log(log::Log& log, const SessionOptions& options) {
  if (auto file = log::open_file(options.directory + "/log")) {
    log.add_file(std::move(*file), log::Filter::parse(options.log.filter), options.log.format);
  }
}

void take_agent_log(Session& session, const proto::LogMessage& message) {
  log::Log& log = session.log();
  const std::string& text = message.message;
  if (message.level.is<"Error">()) {
    log.error(log::Component::kAgent, text);
    session.note_agent_error(message.message);
  } else if (message.level.is<"Warn">() && session.agent().speaks_flight()) {
    session.tell_user(
        message.message);  // ours warns of what the user has to know, and of nothing else
  } else if (message.level.is<"Warn">()) {
    log.warn(log::Component::kAgent, text);
  } else {
    log.info(log::Component::kAgent, text);
  }
}

}  // namespace

Status serve_session(SessionOptions options, Fd report_fd) {
  raise_descriptor_limit();
  tune_allocator();
  Reporter reporter(std::move(report_fd));
  const bool has_log_file = options.log_file.is_open();
  log::Log log = log::open_log(options.log, std::move(options.log_file), "intproxy");
  if (options.agent.cluster) {
    auto& client = options.agent.cluster->client;
    client.log = nullptr;  // the command's own
    if (log::wants(options.log, log::Component::kKubernetes, log::Level::kDebug)) {
      client.log = [&log](const std::string& line) {
        log.write(log::Component::kKubernetes, log::Level::kDebug, line);
      };
    }
  }
  net::Loop loop;
  Opening opening(loop, options, reporter);
  if (const Status opened = opening.open(); !opened) {
    opening.link.reset();  // the agent ends when its stream closes
    reporter.failure(opened.error());
    return opened;
  }
  if (options.waits_for_programs) {
    options.root_pid = 0;
  }
  {
    const std::string directory = options.directory;
    if (!has_log_file) {
      add_default_log(log, options);
    }
    Session session(loop, log, std::move(options), std::move(opening.link),
                    std::move(opening.connector));
    opening.on_lost = [&](const Error& why) { session.on_agent_lost(why); };
    opening.on_interrupted = [&](const Error& why) { session.on_agent_interrupted(why); };
    opening.on_restored = [&](const AgentLink::Restored& restored) {
      session.on_agent_restored(restored);
    };
    opening.on_log = [&](proto::LogMessage&& message) { take_agent_log(session, message); };
    for (const proto::LogMessage& message : opening.early_logs) {
      take_agent_log(session, message);
    }
    if (opening.process) {
      opening.process->log_to(session.log());
    }
    if (const Status listening = session.listen(); !listening) {
      reporter.failure(listening.error());
      return listening;
    }
    opening.started.intproxy_pid = ::getpid();
    reporter.success(opening.started);
    remove_stale_sessions(directory);
    session.run();
    if (opening.process) {
      opening.process->stop_log();
    }
  }
  return {};
}

Result<StartedSession> start_session(SessionOptions options, const StartProgress& progress) {
  if (options.root_pid == 0) {
    options.root_pid = ::getpid();
  }
  MIRRORD_TRY(reports, net::make_pipe());
  std::vector<int> kept = {reports.write.get(), options.agent.stream.get(), options.log_file.get(),
                           options.standard_error.get(), options.notices.get()};
  for (const Fd& lifeline : options.lifelines) {
    kept.push_back(lifeline.get());
  }
  MIRRORD_CHECK_STATUS(
      net::start_detached({kProcessName, std::move(kept)}, "start the internal proxy", [&] {
        [[maybe_unused]] const int changed = ::chdir("/");
        const Status served = serve_session(std::move(options), std::move(reports.write));
        leave(served ? 0 : 1);
      }));
  reports.write.reset();
  return read_reports(reports.read.get(), progress);
}

}  // namespace mirrord::intproxy
