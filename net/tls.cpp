// net/tls.cpp — moves bytes between a plain socket and a TLS connection.
#include "net/tls.h"

#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace mirrord::net {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kBufferSize = 64 * 1024;
constexpr std::size_t kBudget = 1 << 20;   // bytes until the loop turns to others
constexpr milliseconds kLastWords{5'000};  // of a peer to whom nothing can be sent

bool would_block(int error_number) {
  return error_number == EAGAIN || error_number == EWOULDBLOCK;
}

}  // namespace

struct TlsPump::Impl {
  Impl(Loop& a_loop, std::shared_ptr<TlsContext> a_context, Fd a_socket, std::string name)
      : loop(a_loop),
        context(std::move(a_context)),
        socket(std::move(a_socket)),
        peer_name(std::move(name)),
        limit(loop),
        go_on(loop) {
    mbedtls_ssl_init(&ssl);
  }
  ~Impl() {
    *alive = false;
    mbedtls_ssl_free(&ssl);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  static int receive_raw(void* self, unsigned char* out, std::size_t size);
  static int send_raw(void* self, const unsigned char* bytes, std::size_t size);

  int set_up();
  void shake_hands();
  Error handshake_error(int code) const;
  void run();
  void run_input();
  bool deliver();
  void run_output();
  bool fill_output();
  [[nodiscard]] bool user_has_closed() const;
  void output_failed(int code);
  void end_output();
  void update_interest();
  Error transfer_error(int code) const;
  void end(std::optional<Error> why);

  Loop& loop;
  std::shared_ptr<TlsContext> context;
  Fd socket, plain;
  std::string peer_name;
  std::string server_name;  // that the client asked for
  mbedtls_ssl_context ssl;
  Handlers handlers;

  std::vector<std::byte> raw = std::vector<std::byte>(kBufferSize);
  std::span<const std::byte> raw_left;  // of what came from the peer, not decrypted
  std::vector<std::byte> clear_in = std::vector<std::byte>(kBufferSize);
  std::span<const std::byte> for_plain;
  int held_code = 0;  // what a read said behind bytes that are delivered first
  std::vector<std::byte> clear_out = std::vector<std::byte>(kBufferSize);
  std::span<const std::byte> for_peer;

  bool is_ready = false;
  bool has_ended = false;
  bool peer_has_ended = false;    // close_notify was received
  bool plain_has_ended = false;   // nothing more comes from the user
  bool plain_takes_none = false;  // the user's socket is closed
  bool output_is_over = false;    // close_notify was sent, or nothing can be sent
  bool is_finishing = false;
  bool wants_to_send = false;  // TLS itself waits to write
  int socket_error = 0;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  Timer limit, go_on;
  std::unique_ptr<FdWatcher> socket_watcher, plain_watcher;  // after the sockets: must go first
};

TlsPump::TlsPump(Loop& loop, std::shared_ptr<TlsContext> context, Fd socket, std::string peer_name)
    : impl_(std::make_unique<Impl>(loop, std::move(context), std::move(socket),
                                   std::move(peer_name))) {}
TlsPump::~TlsPump() = default;

const std::string& TlsPump::server_name() const {
  return impl_->server_name;
}

Result<Fd> TlsPump::start(Handlers handlers, milliseconds handshake_limit) {
  Impl& impl = *impl_;
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return fail_system("make a socket pair for TLS", errno);
  }
  impl.plain = Fd(ends[0]);
  Fd theirs(ends[1]);
  if (const int code = impl.set_up(); code != 0) {
    return std::unexpected(tls_error("set TLS with " + impl.peer_name + " up", code));
  }
  impl.handlers = std::move(handlers);
  const int on = 1;
  ::setsockopt(impl.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  impl.socket_watcher =
      std::make_unique<FdWatcher>(impl.loop, impl.socket.get(), [&impl](int) { impl.run(); });
  impl.plain_watcher =
      std::make_unique<FdWatcher>(impl.loop, impl.plain.get(), [&impl](int) { impl.run(); });
  impl.limit.start(handshake_limit, [&impl] {
    impl.end(Error{ErrorCode::kTimeout, "begin TLS with " + impl.peer_name + ": it does not answer",
                   "Check that the other side speaks TLS too.", 0});
  });
  // Callbacks come from the loop, never from here.
  impl.go_on.start(milliseconds(0), [&impl] { impl.run(); });
  return theirs;
}

void TlsPump::finish(milliseconds time_limit) {
  Impl& impl = *impl_;
  if (impl.has_ended) {
    return;
  }
  impl.is_finishing = true;
  impl.limit.start(time_limit, [&impl] { impl.end(std::nullopt); });
  impl.go_on.start(milliseconds(0), [&impl] { impl.run(); });
}

int TlsPump::Impl::set_up() {
  const int code = mbedtls_ssl_setup(&ssl, context->config());
  if (code != 0) {
    return code;
  }
  const std::string& name = context->options().peer_name;
  mbedtls_ssl_set_user_data_p(&ssl, &server_name);
  mbedtls_ssl_set_bio(&ssl, this, send_raw, receive_raw, nullptr);
  return context->options().role == TlsRole::kClient
             ? mbedtls_ssl_set_hostname(&ssl, name.empty() ? nullptr : name.c_str())
             : 0;
}

// mbedTLS asks for a record's head and body apart: both come from one call to the kernel.
int TlsPump::Impl::receive_raw(void* self, unsigned char* out, std::size_t size) {
  auto& impl = *static_cast<Impl*>(self);
  while (impl.raw_left.empty()) {
    const ssize_t count = ::recv(impl.socket.get(), impl.raw.data(), impl.raw.size(), MSG_DONTWAIT);
    if (count > 0) {
      impl.raw_left = std::span(impl.raw).first(static_cast<std::size_t>(count));
    } else if (count == 0) {
      return 0;
    } else if (would_block(errno)) {
      return MBEDTLS_ERR_SSL_WANT_READ;
    } else if (errno != EINTR) {
      impl.socket_error = errno;
      return MBEDTLS_ERR_NET_RECV_FAILED;
    }
  }
  const std::size_t count = std::min(size, impl.raw_left.size());
  std::memcpy(out, impl.raw_left.data(), count);
  impl.raw_left = impl.raw_left.subspan(count);
  return static_cast<int>(count);
}

int TlsPump::Impl::send_raw(void* self, const unsigned char* bytes, std::size_t size) {
  auto& impl = *static_cast<Impl*>(self);
  while (true) {
    const ssize_t count = ::send(impl.socket.get(), bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      return static_cast<int>(count);
    }
    if (would_block(errno)) {
      return MBEDTLS_ERR_SSL_WANT_WRITE;
    }
    if (errno != EINTR) {
      impl.socket_error = errno;
      return MBEDTLS_ERR_NET_SEND_FAILED;
    }
  }
}

void TlsPump::Impl::run() {
  if (has_ended) {
    return;
  }
  wants_to_send = false;
  if (!is_ready) {
    shake_hands();
    return;
  }
  const std::shared_ptr<bool> watched = alive;
  if (plain_has_ended && user_has_closed())
    plain_takes_none = true;
  run_output();
  if (*watched && !has_ended) {
    run_input();
  }
  if (*watched && !has_ended) {
    const bool is_done = output_is_over && (peer_has_ended || is_finishing || plain_takes_none);
    if (is_done) {
      end(std::nullopt);
    } else {
      update_interest();
    }
  }
}

void TlsPump::Impl::shake_hands() {
  const int code = mbedtls_ssl_handshake(&ssl);
  if (code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE) {
    wants_to_send = code == MBEDTLS_ERR_SSL_WANT_WRITE;
    update_interest();
    return;
  }
  if (code != 0) {
    end(handshake_error(code));
    return;
  }
  // One that need not show a certificate, and shows a wrong one, is not let in.
  if (context->options().is_peer_optional && mbedtls_ssl_get_peer_cert(&ssl) != nullptr &&
      mbedtls_ssl_get_verify_result(&ssl) != 0) {
    end(handshake_error(MBEDTLS_ERR_X509_CERT_VERIFY_FAILED));
    return;
  }
  if (!context->is_expected(mbedtls_ssl_get_peer_cert(&ssl))) {
    end(Error{ErrorCode::kPermission,
              "begin TLS with " + peer_name + ": its certificate is not the expected one",
              {},
              0});
    return;
  }
  is_ready = true;
  if (!is_finishing) {
    limit.stop();
  }
  const char* alpn = mbedtls_ssl_get_alpn_protocol(&ssl);
  const std::shared_ptr<bool> watched = alive;
  auto ready = std::move(handlers.ready);
  if (ready) {
    ready(alpn != nullptr ? std::string_view(alpn) : std::string_view());
  }
  if (*watched) {
    run();
  }
}

Error TlsPump::Impl::handshake_error(int code) const {
  const std::string tried = "begin TLS with " + peer_name;
  const std::uint32_t flaws = mbedtls_ssl_get_verify_result(&ssl);
  if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED && flaws != 0 && flaws != UINT32_MAX) {
    std::array<char, 512> text{};
    mbedtls_x509_crt_verify_info(text.data(), text.size(), "", flaws);
    std::string why(text.data());
    std::ranges::replace(why, '\n', ' ');
    while (why.ends_with(' ')) {
      why.pop_back();
    }
    return {
        ErrorCode::kPermission, tried + ": its certificate is not the right one: " + why, {}, 0};
  }
  if (code == MBEDTLS_ERR_NET_RECV_FAILED || code == MBEDTLS_ERR_NET_SEND_FAILED) {
    return system_error(tried, socket_error);
  }
  if (code == MBEDTLS_ERR_SSL_CONN_EOF) {
    return {ErrorCode::kDisconnected, tried + ": it closed the connection", {}, 0};
  }
  return tls_error(tried, code);
}

Error TlsPump::Impl::transfer_error(int code) const {
  const std::string tried = "talk TLS with " + peer_name;
  if (code == MBEDTLS_ERR_NET_RECV_FAILED || code == MBEDTLS_ERR_NET_SEND_FAILED) {
    return system_error(tried, socket_error);
  }
  if (code == MBEDTLS_ERR_SSL_CONN_EOF || code == 0) {
    return {ErrorCode::kDisconnected, tried + ": the connection was cut off", {}, 0};
  }
  return tls_error(tried, code);
}

// ---- from the peer

void TlsPump::Impl::run_input() {
  std::size_t budget = kBudget;
  while (deliver() && !peer_has_ended) {
    if (budget == 0) {
      // Bytes that TLS holds do not make the socket readable.
      go_on.start(milliseconds(0), [this] { run(); });
      return;
    }
    int code = std::exchange(held_code, 0);
    if (code == 0) {
      // A record at a time; several make one delivery, and wake the user once.
      std::size_t filled = 0;
      do {
        code = mbedtls_ssl_read(&ssl, reinterpret_cast<unsigned char*>(clear_in.data()) + filled,
                                clear_in.size() - filled);
        filled += static_cast<std::size_t>(std::max(code, 0));
      } while (code > 0 && filled < clear_in.size());
      if (filled > 0) {
        for_plain = std::span(clear_in).first(filled);
        budget -= std::min(budget, filled);
        held_code = std::min(code, 0);
        continue;
      }
    }
    if (code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE) {
      wants_to_send = code == MBEDTLS_ERR_SSL_WANT_WRITE;
      return;
    }
    if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
      peer_has_ended = true;
      ::shutdown(plain.get(), SHUT_WR);
    } else if (code != MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
      end(transfer_error(code));
      return;
    }
  }
}

// False when the user has to take something first.
bool TlsPump::Impl::deliver() {
  while (!for_plain.empty() && !plain_takes_none) {
    const ssize_t count =
        ::send(plain.get(), for_plain.data(), for_plain.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      for_plain = for_plain.subspan(static_cast<std::size_t>(count));
    } else if (would_block(errno)) {
      return false;
    } else if (errno != EINTR) {
      plain_takes_none = true;
    }
  }
  for_plain = {};
  return true;
}

// ---- to the peer

void TlsPump::Impl::run_output() {
  std::size_t budget = kBudget;
  while (budget > 0 && !output_is_over && (!for_peer.empty() || fill_output())) {
    const int code = mbedtls_ssl_write(
        &ssl, reinterpret_cast<const unsigned char*>(for_peer.data()), for_peer.size());
    if (code == MBEDTLS_ERR_SSL_WANT_WRITE || code == MBEDTLS_ERR_SSL_WANT_READ) {
      return;
    }
    if (code < 0) {
      output_failed(code);
      return;
    }
    for_peer = for_peer.subspan(static_cast<std::size_t>(code));
    budget -= std::min(budget, static_cast<std::size_t>(code));
  }
  if (plain_has_ended && for_peer.empty() && !output_is_over) {
    end_output();
  }
}

bool TlsPump::Impl::fill_output() {
  if (plain_has_ended) {
    return false;
  }
  ssize_t count = 0;
  do {
    count = ::recv(plain.get(), clear_out.data(), clear_out.size(), MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count > 0) {
    for_peer = std::span(clear_out).first(static_cast<std::size_t>(count));
    return true;
  }
  plain_has_ended = count == 0 || !would_block(errno);
  plain_takes_none = plain_takes_none || (plain_has_ended && user_has_closed());
  return false;
}

// Not only the sending half: then nobody reads what the peer may still send.
bool TlsPump::Impl::user_has_closed() const {
  pollfd state{.fd = plain.get(), .events = 0, .revents = 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & POLLHUP) != 0;
}

void TlsPump::Impl::end_output() {
  const int code = mbedtls_ssl_close_notify(&ssl);
  if (code == MBEDTLS_ERR_SSL_WANT_WRITE) {
    wants_to_send = true;
    return;
  }
  output_is_over = true;
  ::shutdown(socket.get(), SHUT_WR);
}

// What the peer has sent before it went is read first; reading finds the end too.
void TlsPump::Impl::output_failed(int code) {
  output_is_over = true;
  plain_has_ended = true;
  for_peer = {};
  Error why = transfer_error(code);
  if (peer_has_ended) {
    end(std::move(why));
    return;
  }
  limit.start(kLastWords, [this, why = std::move(why)] { end(why); });
}

// ---- both

void TlsPump::Impl::update_interest() {
  if (!is_ready) {
    socket_watcher->watch(wants_to_send ? FdWatcher::kWritable : FdWatcher::kReadable);
    plain_watcher->watch(FdWatcher::kNone);
    return;
  }
  const bool reads = for_plain.empty() && !peer_has_ended;
  const bool writes = wants_to_send || !for_peer.empty();
  socket_watcher->watch((reads ? FdWatcher::kReadable : 0) | (writes ? FdWatcher::kWritable : 0));
  plain_watcher->watch((for_plain.empty() ? 0 : FdWatcher::kWritable) |
                       (for_peer.empty() && !plain_has_ended ? FdWatcher::kReadable : 0));
}

void TlsPump::Impl::end(std::optional<Error> why) {
  if (std::exchange(has_ended, true)) {
    return;
  }
  limit.stop();
  go_on.stop();
  socket_watcher.reset();
  plain_watcher.reset();
  // A close with bytes unread would take from the user what the peer has sent last.
  ::shutdown(plain.get(), SHUT_RDWR);
  while (::recv(plain.get(), clear_out.data(), clear_out.size(), MSG_DONTWAIT) > 0) {
  }
  plain.reset();
  socket.reset();
  auto ended = std::move(handlers.ended);
  if (ended) {
    ended(std::move(why));
  }
}

}  // namespace mirrord::net
