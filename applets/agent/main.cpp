// applets/agent/main.cpp — `mirrord agent`: from the command line to a served target.
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <span>
#include <utility>

#include "applets/agent/container.h"
#include "applets/agent/incoming/incoming.h"
#include "applets/agent/incoming/settings.h"
#include "applets/agent/options.h"
#include "applets/agent/privileges.h"
#include "applets/agent/redirect/choose.h"
#include "applets/agent/server.h"
#include "applets/agent/target.h"
#include "applets/applet.h"
#include "applets/log/log.h"
#include "applets/version.h"
#include "net/leave.h"
#include "net/tls_context.h"

namespace mirrord {
namespace {

// glibc's; other C libraries have nothing to tune.
void tune_allocator() {
#ifdef M_ARENA_MAX
  constexpr int kKept = 4 << 20;
  ::mallopt(M_ARENA_MAX, 1);  // an arena per thread would cost more memory than it saves time
  // Payloads of up to a MiB come and go: giving their pages back each time costs more than the copy.
  ::mallopt(M_MMAP_THRESHOLD, kKept);
  ::mallopt(M_TRIM_THRESHOLD, kKept);
#endif
}

}  // namespace

namespace agent {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

int report(const Error& error) {
  std::fprintf(stderr, "mirrord agent: %s\n", error.what.c_str());
  if (!error.hint.empty())
    std::fprintf(stderr, "  %s\n", error.hint.c_str());
  return error.code == ErrorCode::kUsage ? kExitUsage : kExitFailure;
}

// Each open file of each client is a descriptor here.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return;
  constexpr rlim_t kWanted = 1 << 20;
  // More than the hard limit needs a privilege; without it, at least all that is allowed.
  const rlimit most{kWanted, kWanted};
  if (limit.rlim_max >= kWanted || ::setrlimit(RLIMIT_NOFILE, &most) != 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

Result<Target> open_container(const std::string& name_or_id) {
  MIRRORD_TRY(container, find_container(name_or_id));
  const std::string name = container.name.empty() ? container.id.substr(0, 12) : container.name;
  return open_process_target(container.pid, "container " + name, container.environment);
}

// The container beside which this one was put into the pod. Without process sharing, or without an
// id, the pod's first process is as near as it gets.
Result<Target> open_pod_neighbour(const std::string& id) {
  const pid_t pid = id.empty() ? 0 : find_by_cgroup(id);
  if (pid == 0)
    return open_process_target(1, "the pod's first process", {});
  return open_process_target(pid, "container " + id.substr(0, 12), {});
}

Result<Target> find_target(const Options& options) {
  switch (options.kind) {
    case TargetKind::kTargetless:
      return open_own_target();
    case TargetKind::kProcess:
      return open_process_target(options.pid, "process " + std::to_string(options.pid), {});
    case TargetKind::kTargeted:
    case TargetKind::kContainer:
      return open_container(options.container);
    case TargetKind::kEphemeral:
      return open_pod_neighbour(options.container);
  }
  return fail(ErrorCode::kInternal, "a kind of target without a way to open it");
}

Status check_stream(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
    return fail(ErrorCode::kUsage,
                "--stream-fd: descriptor " + std::to_string(fd) + " is no connected stream socket");
  }
  return {};
}

// The agent is the TLS *client* of whoever connects: it believes exactly the certificate that it was
// given, so that only who has its key can use the port. None without one.
Result<std::shared_ptr<net::TlsContext>> make_tls(const std::string& certificate) {
  if (certificate.empty())
    return nullptr;
  const auto explain = [](Error error) {
    error.code = ErrorCode::kUsage;
    error.hint =
        "--operator-tls-cert-pem and AGENT_OPERATOR_CERT_ENV hold a certificate as PEM text.";
    return std::unexpected(std::move(error));
  };
  auto name = net::first_certificate_name(certificate);
  if (!name)
    return explain(std::move(name.error()));
  auto context = net::TlsContext::make({.role = net::TlsRole::kClient,
                                        .trusted = certificate,
                                        .trusts_first_only = true,
                                        .peer_name = std::move(*name)});
  if (!context)
    return explain(std::move(context.error()));
  return context;
}

bool is_switched_on(const char* variable) {
  const char* value = ::getenv(variable);
  return value != nullptr && *value != '\0' && !is_falsy(value);
}

// `agent.nftables` is the original's: true rules its other way out. False chooses what is not there.
std::string_view redirect_way() {
  if (const char* way = ::getenv("MIRRORD_AGENT_REDIRECT"); way != nullptr && *way != '\0')
    return way;
  return is_switched_on("MIRRORD_AGENT_NFTABLES") ? "nftables" : "auto";
}

// RUST_LOG and MIRRORD_AGENT_JSON_LOG are the original's. What is wrong is told in any case.
log::Log open_agent_log() {
  log::Log log;
  const char* filter = ::getenv("RUST_LOG");
  const bool is_json = is_switched_on("MIRRORD_AGENT_JSON_LOG");
  if (const Status opened =
          log.add_descriptor(STDERR_FILENO, log::Filter::parse(filter == nullptr ? "warn" : filter),
                             is_json ? log::Format::kJson : log::Format::kText);
      !opened)
    std::fprintf(stderr, "mirrord agent: %s\n", opened.error().what.c_str());
  return log;
}

Status serve(const Options& options) {
  log::Log log = open_agent_log();
  MIRRORD_TRY(tls, make_tls(options.operator_certificate));
  if (!options.metrics_address.empty())
    std::fputs("mirrord agent: metrics are not available yet; going on without\n", stderr);
  raise_descriptor_limit();

  // The port belongs to the agent's own network: first the listener, then the target's namespace.
  Fd socket;
  if (options.stream_fd >= 0) {
    MIRRORD_CHECK_STATUS(check_stream(options.stream_fd));
    socket = Fd(options.stream_fd);
  } else {
    MIRRORD_TRY(listener, listen_for_clients(options.port));
    socket = std::move(listener);
  }
  MIRRORD_TRY(target, find_target(options));
  MIRRORD_CHECK_STATUS(enter_network(target));
  net::Loop loop;
  std::unique_ptr<Incoming> incoming;
  if (options.kind != TargetKind::kTargetless) {
    const char* tls_text = ::getenv("MIRRORD_AGENT_STEAL_TLS_CONFIG");
    MIRRORD_TRY(tls_ports, parse_tls_ports(tls_text == nullptr ? "" : tls_text));
    incoming = std::make_unique<Incoming>(
        loop, incoming_settings(::getenv), redirector_maker(loop, redirect_way()),
        std::make_unique<TlsPorts>(loop, target, std::move(tls_ports)));
  }
  drop_privileges();
  Server server(loop, target, log,
                {.first_client = options.communication_timeout,
                 .idle = options.idle_ttl,
                 .reconnect = options.reconnect_ttl,
                 .fails_after_first_client = options.test_error},
                std::move(tls), std::move(incoming));
  if (options.stream_fd >= 0)
    server.serve_only(std::move(socket));
  else
    server.listen(std::move(socket));
  std::printf("agent ready - version %s\n", kVersion);
  std::fflush(stdout);
  log.info(log::Component::kSession, "the target is " + target.name);
  const Status status = server.run();
  // A pool thread may hang on a dead disk: leave without waiting for it.
  leave(status ? 0 : report(status.error()));
}

}  // namespace
}  // namespace agent

int agent_main(int argc, char** argv) {
  tune_allocator();
  // The pool only runs file calls that have to wait for a disk.
  ::setenv("UV_THREADPOOL_SIZE", "4", 1);
  const std::span arguments(argv + 1, static_cast<std::size_t>(argc - 1));
  const auto options = agent::parse_options(arguments, ::getenv);
  if (!options)
    return agent::report(options.error());
  if (options->wants_help) {
    std::fputs(agent::kUsageText, stdout);
    return 0;
  }
  if (options->wants_version) {
    std::printf("mirrord agent %s\n", kVersion);
    return 0;
  }
  const Status status = agent::serve(*options);
  return status ? 0 : agent::report(status.error());
}

}  // namespace mirrord
