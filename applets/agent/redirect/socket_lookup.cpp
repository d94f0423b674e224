// applets/agent/redirect/socket_lookup.cpp — ports and exemptions around the look-up program.
#include "applets/agent/redirect/socket_lookup.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <deque>
#include <utility>

#include "applets/agent/privileges.h"
#include "applets/agent/redirect/bpf.h"
#include "applets/agent/redirect/listeners.h"
#include "applets/agent/redirect/lookup_program.h"
#include "net/address.h"

namespace mirrord::agent {
namespace {

constexpr std::uint32_t kMaxPorts = 1024;
constexpr std::uint32_t kMaxExempt = 16'384;
// A connect gives up after about 127 s (tcp(7), tcp_syn_retries); its source is exempt for longer.
constexpr std::uint64_t kExemptMs = 150'000;
constexpr std::uint32_t kPresent = 1;

class SocketLookup final : public Redirector {
 public:
  SocketLookup(net::Loop& loop, std::shared_ptr<const SocketLookupProgram> program,
               Accepted accepted)
      : loop_(loop),
        program_(std::move(program)),
        accepted_(std::move(accepted)),
        listeners_(loop, [this](Fd socket, const sockaddr_storage& peer) {
          pass_on(std::move(socket), peer);
        }) {}
  ~SocketLookup() override { *alive_ = false; }

  Status start() {
    MIRRORD_CHECK_STATUS(listeners_.open());
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      const int listener = listeners_.fd(family);
      const auto key = static_cast<std::uint32_t>(family);
      const auto value = static_cast<std::uint32_t>(listener);
      if (listener >= 0)
        MIRRORD_CHECK_STATUS(bpf::update(program_->listeners.get(), &key, &value));
    }
    const Fd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!here)
      return fail_system("open the target's network namespace", errno);
    const RaisedNetAdmin raised;
    MIRRORD_TRY(link, bpf::attach(program_->program.get(), here.get()));
    link_ = std::move(link);
    return {};
  }

  void add_port(std::uint16_t port, Done done) override {
    const std::uint32_t key = port;
    answer(std::move(done), bpf::update(program_->ports.get(), &key, &kPresent));
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
  // What the look-up has given us is addressed as the peer sees it.
  void pass_on(Fd socket, const sockaddr_storage& peer) {
    Redirected redirected{std::move(socket), peer, {}};
    socklen_t size = sizeof redirected.destination;
    ::getsockname(redirected.socket.get(), reinterpret_cast<sockaddr*>(&redirected.destination),
                  &size);
    accepted_(std::move(redirected));
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
  RedirectListeners listeners_;
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

Result<std::unique_ptr<Redirector>> make_socket_lookup(
    net::Loop& loop, std::shared_ptr<const SocketLookupProgram> program,
    Redirector::Accepted accepted) {
  auto made = std::make_unique<SocketLookup>(loop, std::move(program), std::move(accepted));
  MIRRORD_CHECK_STATUS(made->start());
  return made;
}

}  // namespace mirrord::agent
