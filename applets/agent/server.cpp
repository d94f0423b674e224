// applets/agent/server.cpp — listening socket, the set of sessions, and the agent's end.
#include "applets/agent/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace mirrord::agent {
namespace {

constexpr int kBacklog = 1024;
// How long connections that pass through the agent may go on after its last client. Less than what an intproxy waits
// for its agent.
constexpr std::chrono::milliseconds kLastConnections{800};
constexpr std::size_t kMaxHandshakes = 32;    // at a time: strangers must not cost much memory
constexpr std::chrono::seconds kFarewell{5};  // for the last bytes of a session to leave

// A peer that vanishes without a word must not keep its descriptors, and the agent, for hours.
void detect_dead_peer(int socket) {
  constexpr int kOn = 1;
  constexpr int kIdleSeconds = 30;
  constexpr int kIntervalSeconds = 10;
  constexpr int kProbes = 3;
  constexpr unsigned kUnacknowledgedMs = 60'000;
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof kOn);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &kIdleSeconds, sizeof kIdleSeconds);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &kIntervalSeconds, sizeof kIntervalSeconds);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
  ::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof kUnacknowledgedMs);
}

std::string name_of(const sockaddr_storage& address) {
  if (auto endpoint = net::Endpoint::from_sockaddr(address)) {
    // The listener is of both families: an IPv4 address comes as ::ffff:a.b.c.d.
    const auto& bytes = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (endpoint->ip.is_v6 && IN6_IS_ADDR_V4MAPPED(&bytes)) {
      const std::uint8_t* v4 = endpoint->ip.bytes.data() + 12;
      endpoint->ip = net::IpAddress::v4(v4[0], v4[1], v4[2], v4[3]);
    }
    return "client " + endpoint->to_string();
  }
  return "the client";
}

}  // namespace

Result<Fd> listen_for_clients(std::uint16_t port) {
  constexpr auto kHint = "Choose another port with --communicate-port.";
  auto both = net::listen_tcp({net::IpAddress{.is_v6 = true}, port}, kBacklog, kHint);
  return both ? std::move(both) : net::listen_tcp({net::IpAddress(), port}, kBacklog, kHint);
}

Server::Server(net::Loop& loop, const Target& target, log::Log& log, Limits limits,
               std::shared_ptr<net::TlsContext> tls, std::unique_ptr<Incoming> incoming)
    : loop_(loop),
      target_(target),
      log_(log),
      limits_(limits),
      incoming_(std::move(incoming)),
      tls_(std::move(tls)),
      timer_(loop) {
  const auto leave = [this] { leave_with("the agent has been stopped"); };
  on_terminate_ = std::make_unique<net::SignalWatcher>(loop_, SIGTERM, leave);
  on_interrupt_ = std::make_unique<net::SignalWatcher>(loop_, SIGINT, leave);
  if (target_.pidfd) {
    target_watcher_ = std::make_unique<net::FdWatcher>(loop_, target_.pidfd.get(),
                                                       [this](int) { target_ended(); });
    target_watcher_->watch(net::FdWatcher::kReadable);
  }
}

Server::~Server() = default;

void Server::listen(Fd listener) {
  listener_ = std::make_unique<net::Listener>(
      loop_, std::move(listener),
      [this](Fd socket, const sockaddr_storage& peer) { accept(std::move(socket), peer); });
  timer_.start(limits_.first_client, [this] {
    stop(fail(ErrorCode::kTimeout,
              "no client came within " + std::to_string(limits_.first_client.count()) + " seconds",
              "Set --communication-timeout to wait longer."));
  });
}

void Server::serve_only(Fd socket) {
  welcome(std::move(socket), "the client");
}

Status Server::run() {
  loop_.run();
  sessions_.clear();
  guarded_.clear();
  if (incoming_) {
    // Nobody steals any more, and others are in the middle of something.
    incoming_->finish(kLastConnections, [this] { loop_.stop(); });
    loop_.run();
  }
  incoming_.reset();  // no redirect outlives its agent
  return status_;
}

void Server::stop(Status status) {
  status_ = std::move(status);
  loop_.stop();
}

void Server::accept(Fd socket, const sockaddr_storage& peer) {
  detect_dead_peer(socket.get());
  if (limits_.fails_after_first_client)
    return stop(fail(ErrorCode::kInternal, "failed on purpose: --test-error was given"));
  welcome(std::move(socket), name_of(peer));
}

void Server::welcome(Fd socket, std::string name) {
  if (tls_)
    authenticate(std::move(socket), std::move(name));
  else
    add(next_id_++, std::move(socket), std::move(name));
}

void Server::add(std::uint64_t id, Fd socket, std::string name) {
  timer_.stop();
  log_.info(log::Component::kSession, name + " has connected");
  sessions_.emplace(
      id, std::make_unique<Session>(loop_, target_, log_, std::move(socket), std::move(name),
                                    Session::Handlers{.known = [this, id] { identify(id); },
                                                      .ended = [this, id] { remove(id); }},
                                    incoming_.get()));
}

// Whoever comes back is missing no longer, and what is left of its broken connection goes: the agent
// may learn of the break after the return.
void Server::identify(std::uint64_t id) {
  const std::string key(sessions_.at(id)->client_key());
  if (key.empty()) {
    missing_strangers_ = std::max(missing_strangers_ - 1, 0);  // perhaps one of them
    return;
  }
  missing_.erase(key);
  for (const auto& [other, session] : sessions_) {
    if (other != id && session->client_key() == key) {
      session->leave_ports();  // at once: they must not be in the way of the new subscriptions
      remove(other);
    }
  }
}

void Server::note_missing(const Session& session) {
  if (session.has_said_goodbye() || limits_.reconnect.count() == 0)
    return;
  const std::string key(session.client_key());
  const bool is_back = !key.empty() && std::ranges::any_of(sessions_, [&](const auto& entry) {
    return entry.second.get() != &session && entry.second->client_key() == key;
  });
  if (is_back)
    return;
  if (key.empty())
    ++missing_strangers_;
  else
    missing_.insert(key);
  missing_until_ms_ = loop_.now_ms() + static_cast<std::uint64_t>(limits_.reconnect.count()) * 1000;
}

void Server::remove(std::uint64_t id) {
  loop_.defer([this, id] {
    const auto session = sessions_.find(id);
    if (session == sessions_.end())
      return;  // asked for twice
    note_missing(*session->second);
    log_.info(log::Component::kSession,
              session->second->peer_name() +
                  (session->second->has_said_goodbye() ? " has left" : " is gone"));
    sessions_.erase(session);
    if (const auto found = guarded_.find(id); found != guarded_.end())
      found->second.pump->finish(kFarewell);
    leave_when_idle();
  });
}

void Server::authenticate(Fd socket, std::string name) {
  const auto strangers = std::ranges::count_if(
      guarded_, [](const auto& entry) { return !entry.second.is_authenticated; });
  if (static_cast<std::size_t>(strangers) >= kMaxHandshakes)
    return;
  const std::uint64_t id = next_id_++;
  Guarded guarded{std::make_unique<net::TlsPump>(loop_, tls_, std::move(socket), name), Fd(), name};
  net::TlsPump::Handlers handlers;
  handlers.ready = [this, id](std::string_view) { authenticated(id); };
  handlers.ended = [this, id](std::optional<Error> why) { tls_ended(id, std::move(why)); };
  auto plain = guarded.pump->start(std::move(handlers));
  if (!plain)
    return;
  guarded.plain = std::move(*plain);
  guarded_.emplace(id, std::move(guarded));
}

void Server::authenticated(std::uint64_t id) {
  Guarded& guarded = guarded_.at(id);
  guarded.is_authenticated = true;
  if (is_leaving_)
    guarded.plain.reset();
  else
    add(id, std::move(guarded.plain), guarded.name);
}

// The session, if there is one, sees the end of its socket.
void Server::tls_ended(std::uint64_t id, std::optional<Error> why) {
  const bool was_stranger = !guarded_.at(id).is_authenticated;
  if (was_stranger && why)
    log_.warn(log::Component::kSession, "refused a client: " + why->what);
  loop_.defer([this, id, was_stranger] {
    guarded_.erase(id);
    // One that never was a client changes nothing; but the only stream there is was the agent's life.
    if (!was_stranger || !listener_)
      leave_when_idle();
  });
}

void Server::leave_when_idle() {
  if (!sessions_.empty())
    return;
  std::chrono::milliseconds patience = limits_.idle;
  const bool is_anyone_missing = !missing_.empty() || missing_strangers_ > 0;
  if (is_anyone_missing && missing_until_ms_ > loop_.now_ms())
    patience = std::max(patience, std::chrono::milliseconds(missing_until_ms_ - loop_.now_ms()));
  if (is_leaving_ || !listener_ || patience.count() == 0)
    return stop({});
  timer_.start(patience, [this] { stop({}); });
}

void Server::target_ended() {
  leave_with(target_.name + " has ended");
}

void Server::leave_with(const std::string& reason) {
  log_.info(log::Component::kSession, reason);
  target_watcher_.reset();
  listener_.reset();
  is_leaving_ = true;
  for (auto& [id, session] : sessions_)
    session->close(reason);
  leave_when_idle();
}

}  // namespace mirrord::agent
