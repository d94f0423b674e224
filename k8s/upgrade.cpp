// k8s/upgrade.cpp — connects with libcurl on the loop, asks for the upgrade, reads the answer.
#include "k8s/upgrade.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "k8s/api_transfer.h"
#include "k8s/curl_handle.h"
#include "k8s/curl_multi.h"

namespace mirrord::k8s {
namespace {

constexpr std::size_t kMaxHead = 64 * 1024;
constexpr std::size_t kMaxBody = 64 * 1024;
constexpr std::chrono::milliseconds kBodyTimeout{
    3'000};  // the head already says that it is refused

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// Of an https or http URL.
struct ServerAddress {
  std::string host;  // as it stands in a Host header
  std::string prefix;
};

ServerAddress parse_server(const std::string& server) {
  const std::size_t scheme = server.find("://");
  const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  const std::size_t slash = server.find('/', begin);
  ServerAddress address{server.substr(begin, slash == std::string::npos ? slash : slash - begin),
                        slash == std::string::npos ? "" : server.substr(slash)};
  address.host.erase(0, address.host.rfind('@') + 1);
  while (address.prefix.ends_with('/')) {
    address.prefix.pop_back();
  }
  return address;
}

// Takes the sizes out of a body in chunked coding, as far as it is there.
std::string without_chunks(std::string_view coded) {
  std::string body;
  while (true) {
    const std::size_t line = coded.find("\r\n");
    std::size_t size = 0;
    if (line == std::string_view::npos ||
        std::from_chars(coded.data(), coded.data() + line, size, 16).ec != std::errc{} ||
        size == 0) {
      return body;
    }
    coded.remove_prefix(line + 2);
    body += coded.substr(0, size);
    coded.remove_prefix(std::min(coded.size(), size + 2));
  }
}

}  // namespace

std::string_view UpgradeAnswer::header(std::string_view name) const {
  std::string_view rest = headers;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(rest.size(), end + 1));
    const std::size_t colon = line.find(':');
    if (colon == name.size() && ::strncasecmp(line.data(), name.data(), colon) == 0) {
      return trimmed(line.substr(colon + 1));
    }
  }
  return {};
}

struct UpgradedLine::Impl {
  explicit Impl(ApiClient& api) : client(api), limit(api.loop()) {}
  ~Impl() { disconnect(); }

  void connect();
  void disconnect();
  void connected(CURLcode code);
  void ask();
  void write_request();
  void read_answer();
  bool answer_is_whole();
  void conclude();
  void finish(Result<UpgradeAnswer> result);
  void timed_out();
  Error failure(ErrorCode code, const std::string& why) const;

  ApiClient& client;
  UpgradeRequest request;
  Answered answered;
  std::chrono::milliseconds timeout{};

  CurlHandle easy;
  std::unique_ptr<CurlMulti> multi;  // after `easy`: must go first
  std::array<char, CURL_ERROR_SIZE> curl_error{};
  net::Timer limit;
  bool is_asking = false;
  bool has_renewed = false;  // the credentials
  std::string step = "connect";

  std::unique_ptr<net::FdWatcher> watcher;  // of the connection, once curl has made it
  std::function<void(int)> on_ready;
  std::string outgoing;  // the request
  std::string incoming;  // the answer, and what follows it
  std::optional<UpgradeAnswer> answer;
  std::size_t surplus_at = 0;  // of `incoming`: the first byte behind the answer's head
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

UpgradedLine::UpgradedLine(ApiClient& client) : impl_(std::make_unique<Impl>(client)) {}
UpgradedLine::~UpgradedLine() {
  *impl_->alive = false;
}

void UpgradedLine::start(UpgradeRequest request, std::chrono::milliseconds timeout,
                         Answered answered) {
  impl_->request = std::move(request);
  impl_->answered = std::move(answered);
  impl_->timeout = timeout;
  impl_->is_asking = true;
  impl_->limit.start(timeout, [impl = impl_.get()] { impl->timed_out(); });
  impl_->connect();
}

void UpgradedLine::Impl::connect() {
  disconnect();
  step = "connect";
  easy = make_curl_handle();
  if (const Status ready = client.prepare_upgrade(easy.get(), request.path); !ready) {
    client.loop().defer([this, watched = alive, why = ready.error()]() mutable {
      if (*watched) {
        finish(std::unexpected(std::move(why)));
      }
    });
    return;
  }
  curl_easy_setopt(easy.get(), CURLOPT_CONNECT_ONLY, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_HTTPPROXYTUNNEL,
                   1L);  // for http:// too: it is no plain HTTP
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, curl_error.data());
  curl_easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(timeout.count()));
  multi = std::make_unique<CurlMulti>(client.loop(), [] {});
  multi->add(
      easy.get(), [this](CURLcode code) { connected(code); },
      CurlMulti::Afterwards::kKeepConnection);
}

void UpgradedLine::Impl::disconnect() {
  watcher.reset();
  multi.reset();
  easy.reset();
}

Error UpgradedLine::Impl::failure(ErrorCode code, const std::string& why) const {
  Error error{code, step + " to the API server " + client.config().server + ": " + why, {}, 0};
  if (step == "connect") {
    error.hint = "Check that the server of context " + client.config().context + " is reachable.";
  }
  return error;
}

void UpgradedLine::Impl::connected(CURLcode code) {
  if (code != CURLE_OK) {
    finish(std::unexpected(
        failure(code == CURLE_OPERATION_TIMEDOUT ? ErrorCode::kTimeout : ErrorCode::kDisconnected,
                curl_error[0] != '\0' ? curl_error.data() : curl_easy_strerror(code))));
    return;
  }
  curl_socket_t socket = CURL_SOCKET_BAD;
  curl_easy_getinfo(easy.get(), CURLINFO_ACTIVESOCKET, &socket);
  if (socket == CURL_SOCKET_BAD) {
    finish(std::unexpected(failure(ErrorCode::kDisconnected, "the connection was lost")));
    return;
  }
  // A peer that is gone without a word is noticed by the kernel, also while it owes us an answer.
  constexpr int kOn = 1;
  constexpr int kIdleSeconds = 20;
  constexpr int kProbes = 3;
  constexpr unsigned kUnacknowledgedMs = 60'000;
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof kOn);
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &kIdleSeconds, sizeof kIdleSeconds);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &kIdleSeconds, sizeof kIdleSeconds);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
  ::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof kUnacknowledgedMs);
  watcher = std::make_unique<net::FdWatcher>(client.loop(), socket, [this](int events) {
    const auto ready = on_ready;
    if (ready) {
      ready(events);
    }
  });
  ask();
}

void UpgradedLine::Impl::ask() {
  auto credentials = client.config().credentials ? client.config().credentials(false)
                                                 : Result<Credentials>(Credentials{});
  if (!credentials) {
    finish(std::unexpected(std::move(credentials.error())));
    return;
  }
  const ServerAddress server = parse_server(client.config().server);
  outgoing = request.method + " " + server.prefix + request.path +
             " HTTP/1.1\r\nHost: " + server.host + "\r\nUser-Agent: mirrord\r\n";
  CurlList identity;
  append_identity(identity, client.config(), *credentials);
  for (const curl_slist* header = identity.get(); header != nullptr; header = header->next) {
    outgoing += std::string(header->data) + "\r\n";
  }
  for (const std::string& header : request.headers) {
    outgoing += header + "\r\n";
  }
  outgoing += "\r\n";
  incoming.clear();
  answer.reset();
  step = "send " + request.method + " " + request.path;
  write_request();
}

void UpgradedLine::Impl::write_request() {
  while (!outgoing.empty()) {
    std::size_t count = 0;
    const CURLcode sent = curl_easy_send(easy.get(), outgoing.data(), outgoing.size(), &count);
    if (sent == CURLE_AGAIN) {
      on_ready = [this](int) { write_request(); };
      watcher->watch(net::FdWatcher::kWritable);
      return;
    }
    if (sent != CURLE_OK) {
      finish(std::unexpected(failure(ErrorCode::kDisconnected, "the connection was lost")));
      return;
    }
    outgoing.erase(0, count);
  }
  on_ready = [this](int) { read_answer(); };
  watcher->watch(net::FdWatcher::kReadable);
  read_answer();
}

void UpgradedLine::Impl::read_answer() {
  bool has_ended = false;
  while (!answer_is_whole()) {
    std::array<char, 4096> piece;
    std::size_t count = 0;
    const CURLcode got = curl_easy_recv(easy.get(), piece.data(), piece.size(), &count);
    if (got == CURLE_AGAIN) {
      return;
    }
    if (got != CURLE_OK || count == 0) {
      has_ended = true;
      break;
    }
    incoming.append(piece.data(), count);
  }
  if (!answer) {
    finish(std::unexpected(failure(
        has_ended ? ErrorCode::kDisconnected : ErrorCode::kPeer,
        has_ended ? "the server closed the connection unanswered" : "the answer is not HTTP")));
    return;
  }
  conclude();
}

// True too when there is no use in reading on.
bool UpgradedLine::Impl::answer_is_whole() {
  if (!answer) {
    const std::size_t end = incoming.find("\r\n\r\n");
    const std::string_view start = "HTTP/1.";
    if (end == std::string::npos) {
      return incoming.size() > kMaxHead || !std::string_view(incoming)
                                                .substr(0, start.size())
                                                .starts_with(start.substr(0, incoming.size()));
    }
    const std::size_t line = incoming.find("\r\n");
    int status = 0;
    if (!incoming.starts_with(start) || line < 12 || end > kMaxHead ||
        std::from_chars(incoming.data() + 9, incoming.data() + 12, status).ec != std::errc{}) {
      return true;
    }
    answer = UpgradeAnswer{status, incoming.substr(line, end + 2 - line), {}};
    surplus_at = end + 4;
    if (status != 101) {
      limit.start(kBodyTimeout, [this] { conclude(); });
    }
  }
  if (answer->status == 101) {
    return true;
  }
  const std::size_t body_size = incoming.size() - surplus_at;
  std::size_t length = 0;
  const std::string_view announced = answer->header("Content-Length");
  if (std::from_chars(announced.data(), announced.data() + announced.size(), length).ec ==
          std::errc{} &&
      body_size >= length) {
    return true;
  }
  return body_size >= kMaxBody ||
         (answer->header("Transfer-Encoding") == "chunked" && incoming.ends_with("\r\n0\r\n\r\n"));
}

void UpgradedLine::Impl::conclude() {
  if (answer->status == 401 && !has_renewed) {
    has_renewed = true;
    limit.start(timeout, [this] { timed_out(); });
    if (client.config().credentials) {
      if (auto renewed = client.config().credentials(true); !renewed) {
        finish(std::unexpected(std::move(renewed.error())));
        return;
      }
    }
    connect();
    return;
  }
  if (answer->status != 101) {
    answer->body = incoming.substr(surplus_at);
    if (answer->header("Transfer-Encoding") == "chunked") {
      answer->body = without_chunks(answer->body);
    }
  }
  finish(std::move(*answer));
}

void UpgradedLine::Impl::timed_out() {
  finish(std::unexpected(
      failure(ErrorCode::kTimeout,
              "no answer within " + std::to_string(timeout.count() / 1000) + " seconds")));
}

void UpgradedLine::Impl::finish(Result<UpgradeAnswer> result) {
  if (!std::exchange(is_asking, false)) {
    return;
  }
  limit.stop();
  on_ready = nullptr;
  const bool has_line = result && result->status == 101;
  if (watcher) {
    watcher->watch(net::FdWatcher::kNone);
  }
  Answered callback = std::move(answered);
  if (!has_line) {
    disconnect();
  }
  callback(std::move(result));
}

UpgradedLine::Transfer UpgradedLine::receive(std::span<std::byte> room) {
  Impl& impl = *impl_;
  if (impl.surplus_at < impl.incoming.size()) {
    const std::size_t count = std::min(room.size(), impl.incoming.size() - impl.surplus_at);
    const auto begin = std::as_bytes(std::span(impl.incoming)).subspan(impl.surplus_at, count);
    std::ranges::copy(begin, room.begin());
    impl.surplus_at += count;
    return {Transfer::State::kDone, count};
  }
  std::size_t count = 0;
  const CURLcode got = curl_easy_recv(impl.easy.get(), room.data(), room.size(), &count);
  if (got == CURLE_AGAIN) {
    return {Transfer::State::kBlocked, 0};
  }
  if (got != CURLE_OK) {
    return {Transfer::State::kFailed, 0};
  }
  return {count > 0 ? Transfer::State::kDone : Transfer::State::kEnded, count};
}

UpgradedLine::Transfer UpgradedLine::send(std::span<const std::byte> bytes) {
  std::size_t count = 0;
  const CURLcode sent = curl_easy_send(impl_->easy.get(), bytes.data(), bytes.size(), &count);
  if (sent == CURLE_AGAIN) {
    return {Transfer::State::kBlocked, 0};
  }
  return {sent == CURLE_OK ? Transfer::State::kDone : Transfer::State::kFailed, count};
}

void UpgradedLine::watch(int events, const std::function<void(int events)>& ready) {
  impl_->on_ready = ready;
  impl_->watcher->watch(events);
}

Error UpgradedLine::error() const {
  const bool has_text = impl_->curl_error[0] != '\0';
  return {ErrorCode::kDisconnected,
          "the connection to the API server " + impl_->client.config().server +
              " was lost: " + (has_text ? impl_->curl_error.data() : "no reason known"),
          {},
          0};
}

}  // namespace mirrord::k8s
