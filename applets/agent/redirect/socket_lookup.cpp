// applets/agent/redirect/socket_lookup.cpp — listeners, ports and exemptions around the look-up program.
#include "applets/agent/redirect/socket_lookup.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <deque>
#include <utility>

#include "applets/agent/privileges.h"
#include "applets/agent/redirect/bpf.h"
#include "applets/agent/redirect/lookup_program.h"
#include "net/address.h"

namespace mirrord::agent {
namespace {

constexpr std::uint32_t kMaxPorts = 1024;
constexpr std::uint32_t kMaxExempt = 16'384;
// A connect gives up after about 127 s (tcp(7), tcp_syn_retries); its source is exempt for longer.
constexpr std::uint64_t kExemptMs = 150'000;
constexpr int kBacklog = 4096;
constexpr int kAcceptsPerEvent = 64;
constexpr std::chrono::milliseconds kPauseWithoutDescriptors{100};
constexpr std::uint32_t kPresent = 1;

// A listener of its own port, for what the program sends to it.
Result<Fd> listen_anywhere(int family) {
  const std::string tried = family == AF_INET6 ? "listen for redirected IPv6 connections"
                                               : "listen for redirected connections";
  Fd socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket)
    return fail_system(tried, errno);
  const int on = 1;
  if (family == AF_INET6)
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  sockaddr_storage any{};
  any.ss_family = static_cast<sa_family_t>(family);
  const socklen_t size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&any), size) != 0 ||
      ::listen(socket.get(), kBacklog) != 0)
    return fail_system(tried, errno);
  return socket;
}

class SocketLookup final : public Redirector {
 public:
  SocketLookup(net::Loop& loop, std::shared_ptr<const SocketLookupProgram> program,
               Accepted accepted)
      : loop_(loop), program_(std::move(program)), accepted_(std::move(accepted)), pause_(loop) {}
  ~SocketLookup() override { *alive_ = false; }

  void add_port(std::uint16_t port, Done done) override {
    Status status = link_ ? Status() : start();
    if (status) {
      const std::uint32_t key = port;
      status = bpf::update(program_->ports.get(), &key, &kPresent);
    }
    answer(std::move(done), std::move(status));
  }

  void remove_port(std::uint16_t port, Done done) override {
    const std::uint32_t key = port;
    bpf::remove(program_->ports.get(), &key);
    answer(std::move(done), {});
  }

  // The destination is an address of the target itself, so nobody else can come from it.
  Status exempt(int socket, const sockaddr_storage& destination) override {
    sockaddr_storage own = destination;
    socklen_t size = destination.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    if (destination.ss_family == AF_INET6)
      reinterpret_cast<sockaddr_in6&>(own).sin6_port = 0;
    else
      reinterpret_cast<sockaddr_in&>(own).sin_port = 0;
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&own), size) != 0 ||
        ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size) != 0)
      return fail_system("bind a connection to the target", errno);
    forget_old_sources();
    const LookupSource source = LookupSource::of(*net::Endpoint::from_sockaddr(own));
    sources_.emplace_back(source, loop_.now_ms() + kExemptMs);
    return bpf::update(program_->exempt.get(), &source, &kPresent);
  }

  [[nodiscard]] std::string_view name() const override { return "socket look-up"; }

 private:
  Status start() {
    for (const std::uint32_t index : {0u, 1u}) {
      auto listener = listen_anywhere(index == 0 ? AF_INET : AF_INET6);
      if (!listener) {
        if (index == 1 && listener.error().sys == EAFNOSUPPORT)
          continue;  // a machine without IPv6
        return std::unexpected(std::move(listener.error()));
      }
      const auto fd = static_cast<std::uint32_t>(listener->get());
      MIRRORD_CHECK_STATUS(bpf::update(program_->listeners.get(), &index, &fd));
      listeners_[index] = std::move(*listener);
      watchers_[index] = std::make_unique<net::FdWatcher>(
          loop_, listeners_[index].get(), [this, index](int) { accept_from(index); });
      watchers_[index]->watch(net::FdWatcher::kReadable);
    }
    const Fd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!here)
      return fail_system("open the target's network namespace", errno);
    const RaisedNetAdmin raised;
    MIRRORD_TRY(link, bpf::attach(program_->program.get(), here.get()));
    link_ = std::move(link);
    return {};
  }

  void accept_from(std::uint32_t index) {
    const std::shared_ptr<bool> alive = alive_;
    for (int i = 0; i < kAcceptsPerEvent; ++i) {
      Redirected redirected{};
      socklen_t size = sizeof redirected.peer;
      redirected.socket =
          Fd(::accept4(listeners_[index].get(), reinterpret_cast<sockaddr*>(&redirected.peer),
                       &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!redirected.socket) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
          pause();
        return;
      }
      size = sizeof redirected.destination;
      ::getsockname(redirected.socket.get(), reinterpret_cast<sockaddr*>(&redirected.destination),
                    &size);
      accepted_(std::move(redirected));
      if (!*alive)
        return;
    }
  }

  // Connections stay in the backlog meanwhile; without the pause the loop would spin.
  void pause() {
    for (const auto& watcher : watchers_)
      if (watcher)
        watcher->watch(net::FdWatcher::kNone);
    pause_.start(kPauseWithoutDescriptors, [this] {
      for (const auto& watcher : watchers_)
        if (watcher)
          watcher->watch(net::FdWatcher::kReadable);
    });
  }

  void forget_old_sources() {
    while (!sources_.empty() && sources_.front().second < loop_.now_ms()) {
      bpf::remove(program_->exempt.get(), &sources_.front().first);
      sources_.pop_front();
    }
  }

  void answer(Done done, Status status) {
    loop_.defer([done = std::move(done), status = std::move(status), alive = alive_]() mutable {
      if (*alive)
        done(std::move(status));
    });
  }

  net::Loop& loop_;
  std::shared_ptr<const SocketLookupProgram> program_;
  Accepted accepted_;
  std::array<Fd, 2> listeners_;  // IPv4, IPv6
  std::array<std::unique_ptr<net::FdWatcher>, 2> watchers_;
  net::Timer pause_;
  Fd link_;  // the program is in force while it is open
  std::deque<std::pair<LookupSource, std::uint64_t>> sources_;  // and until when they are exempt
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<SocketLookupProgram> SocketLookupProgram::load() {
  SocketLookupProgram loaded;
  MIRRORD_TRY(ports, bpf::create_map("mirrord_ports", {BPF_MAP_TYPE_HASH, 4, 4, kMaxPorts}));
  MIRRORD_TRY(exempt, bpf::create_map("mirrord_exempt", {BPF_MAP_TYPE_LRU_HASH,
                                                         sizeof(LookupSource), 4, kMaxExempt}));
  MIRRORD_TRY(listeners, bpf::create_map("mirrord_listen", {BPF_MAP_TYPE_SOCKMAP, 4, 4, 2}));
  const std::vector<bpf_insn> code =
      lookup_program({.ports = ports.get(), .exempt = exempt.get(), .listeners = listeners.get()});
  MIRRORD_TRY(program, bpf::load_lookup_program(code));
  loaded.ports = std::move(ports);
  loaded.exempt = std::move(exempt);
  loaded.listeners = std::move(listeners);
  loaded.program = std::move(program);
  return loaded;
}

std::unique_ptr<Redirector> make_socket_lookup(net::Loop& loop,
                                               std::shared_ptr<const SocketLookupProgram> program,
                                               Redirector::Accepted accepted) {
  return std::make_unique<SocketLookup>(loop, std::move(program), std::move(accepted));
}

}  // namespace mirrord::agent
