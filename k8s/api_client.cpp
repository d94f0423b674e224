// k8s/api_client.cpp — starts transfers, tries them again, hands answers and lines on.
#include "k8s/api_client.h"

#include <sys/random.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "k8s/api_error.h"
#include "k8s/api_transfer.h"
#include "k8s/curl_multi.h"

namespace mirrord::k8s {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using TransferPointer = std::shared_ptr<Transfer>;

// How long what the source said is used without asking it again: much less than the time by which
// it renews credentials before they run out.
constexpr milliseconds kCredentialAge{5'000};
constexpr milliseconds kFirstPause{100};
constexpr milliseconds kLongestPause{5'000};
// A server that has never answered is probably the wrong one, or down: no use in waiting long.
constexpr milliseconds kUnknownServerPatience{2'000};
constexpr std::size_t kKeptUpgrades = 64;

// From half of it up to the whole, so that many clients do not come back at the same moment.
milliseconds jittered(milliseconds pause) {
  std::uint16_t random = 0;
  static_cast<void>(::getrandom(&random, sizeof random, GRND_NONBLOCK));
  return pause / 2 + milliseconds(pause.count() / 2 * random / 0xFFFF);
}

bool is_safe(const ApiRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

bool is_before_sending(CURLcode code) {
  return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
         code == CURLE_SSL_CONNECT_ERROR;
}

// The system's own word for why there is no connection, else libcurl's.
std::string reason_of(const Transfer& transfer, CURLcode code) {
  long error_number = 0;
  curl_easy_getinfo(transfer.handle.get(), CURLINFO_OS_ERRNO, &error_number);
  if (code == CURLE_COULDNT_CONNECT && error_number != 0) {
    return system_error("connect", static_cast<int>(error_number)).what.substr(9);
  }
  return transfer.reason.data();
}

// "GET /api/v1/pods: 200 in 12 ms".
std::string summary_of(const Transfer& transfer, CURLcode code) {
  const auto time = std::chrono::steady_clock::now() - transfer.begun;
  return transfer.request.method + " " + transfer.request.path + ": " +
         (code == CURLE_OK ? std::to_string(transfer.status) : reason_of(transfer, code)) + " in " +
         std::to_string(time / std::chrono::milliseconds(1)) + " ms";
}

bool is_lost_connection(CURLcode code) {
  return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
         code == CURLE_PARTIAL_FILE || code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM;
}

}  // namespace

std::string escape(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
    if (is_plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

struct ApiClient::Impl : std::enable_shared_from_this<ApiClient::Impl> {
  Impl(net::Loop& of, ClientConfig from)
      : loop(of), config(std::move(from)), multi(of, [this] { deliver_news(); }) {
    if (config.server.starts_with("http:")) {
      speaks_http2 = false;
    }
  }

  TransferPointer start(TransferPointer transfer);
  void give_up(const TransferPointer& transfer);
  void close();

  void get_credentials(const TransferPointer& transfer, bool refused);
  void ask_source();
  void take_credentials(Result<Credentials> got);
  void attempt(const TransferPointer& transfer);
  void begin_attempt(const TransferPointer& transfer);
  void scout_is_done();
  void attempt_ended(const TransferPointer& transfer, CURLcode code);
  void renew_and_repeat(const TransferPointer& transfer);
  bool try_again(const TransferPointer& transfer, CURLcode code);
  void fail(const TransferPointer& transfer, ApiError error);
  void conclude_answer(const TransferPointer& transfer);
  void conclude_stream(const TransferPointer& transfer);
  void finish(const TransferPointer& transfer, ApiResult<Json> result);
  void end_stream(const TransferPointer& transfer, std::optional<ApiError> why);
  void deliver_news();
  void deliver_lines(const TransferPointer& transfer, bool is_end);

  net::Loop& loop;
  ClientConfig config;
  CurlMulti multi;
  std::vector<TransferPointer> transfers;  // that are not over
  std::vector<TransferPointer> waiting;    // for credentials
  std::shared_ptr<const Credentials> credentials;
  Clock::time_point credentials_at;
  // libcurl opens a connection for every request as long as it does not know that one can serve them
  // all. So the first request goes ahead until its connection stands, and the others follow.
  std::optional<bool> speaks_http2;
  TransferPointer scout;
  std::vector<TransferPointer> held;
  bool is_asking = false;
  bool must_renew = false;
  bool has_answered = false;  // the server, ever
  bool is_closed = false;
  std::deque<HandleLists> upgrades;  // the last ones
};

TransferPointer ApiClient::Impl::start(TransferPointer transfer) {
  transfers.push_back(transfer);
  get_credentials(transfer, false);
  return transfer;
}

void ApiClient::Impl::give_up(const TransferPointer& transfer) {
  if (std::exchange(transfer->is_over, true)) {
    return;
  }
  transfer->pause.stop();
  if (!is_closed) {
    multi.remove(transfer->handle.get());
    std::erase(transfers, transfer);
    std::erase(waiting, transfer);
    std::erase(held, transfer);
    if (transfer == scout) {
      scout_is_done();
    }
  }
}

void ApiClient::Impl::close() {
  held.clear();
  for (const TransferPointer& transfer : std::vector(transfers)) {
    give_up(transfer);
  }
  is_closed = true;
}

// ---- Credentials ---------------------------------------------------------------------------------

void ApiClient::Impl::get_credentials(const TransferPointer& transfer, bool refused) {
  const bool is_fresh = credentials && Clock::now() - credentials_at < kCredentialAge;
  if (is_fresh && !refused) {
    attempt(transfer);
    return;
  }
  waiting.push_back(transfer);
  must_renew = must_renew || refused;
  if (!is_asking) {
    ask_source();
  }
}

// On the thread pool, as a plugin may take its time.
void ApiClient::Impl::ask_source() {
  is_asking = true;
  const bool refused = std::exchange(must_renew, false);
  auto answer = std::make_shared<Result<Credentials>>();
  const auto work = [source = config.credentials, refused, answer] {
    *answer = source ? source(refused) : Result<Credentials>(Credentials());
  };
  loop.submit(work, [self = weak_from_this(), answer] {
    if (const auto impl = self.lock(); impl && !impl->is_closed) {
      impl->take_credentials(std::move(*answer));
    }
  });
}

void ApiClient::Impl::take_credentials(Result<Credentials> got) {
  const auto self = shared_from_this();
  is_asking = false;
  if (got && must_renew) {  // it was asked before the present ones were refused
    ask_source();
    return;
  }
  if (got) {
    credentials_at = Clock::now();
    if (!credentials || *credentials != *got) {
      credentials = std::make_shared<const Credentials>(std::move(*got));
    }
  }
  for (const TransferPointer& transfer : std::exchange(waiting, {})) {
    if (transfer->is_over) {
      continue;
    }
    if (!got) {
      ApiError error;
      static_cast<Error&>(error) = got.error();
      fail(transfer, std::move(error));
    } else if (transfer->credentials == credentials) {  // they were refused
      fail(transfer, answer_error(config, transfer->request, transfer->status, transfer->body));
    } else {
      attempt(transfer);
    }
  }
}

// ---- Attempts ------------------------------------------------------------------------------------

void ApiClient::Impl::attempt(const TransferPointer& transfer) {
  const auto now = Clock::now();
  if (transfer->begun == Clock::time_point()) {
    transfer->begun = now;
    transfer->deadline = now + transfer->request.timeout;
  }
  if (!speaks_http2 && scout && scout != transfer) {
    held.push_back(transfer);
    return;
  }
  if (!speaks_http2) {
    scout = transfer;
  }
  begin_attempt(transfer);
}

void ApiClient::Impl::begin_attempt(const TransferPointer& transfer) {
  transfer->credentials = credentials;
  const auto left = std::chrono::duration_cast<milliseconds>(transfer->deadline - Clock::now());
  prepare_attempt(*transfer, config, left, speaks_http2.value_or(false));
  if (transfer->kind == Transfer::Kind::kStream) {
    transfer->pause.start(std::max(left, milliseconds(1)),
                          [self = weak_from_this(), watched = std::weak_ptr(transfer)] {
                            const auto impl = self.lock();
                            const auto late = watched.lock();
                            if (impl && late) {
                              impl->attempt_ended(late, CURLE_OPERATION_TIMEDOUT);
                            }
                          });
  }
  multi.add(transfer->handle.get(), [this, watched = std::weak_ptr(transfer)](CURLcode code) {
    if (const auto ended = watched.lock()) {
      attempt_ended(ended, code);
    }
  });
}

// It knows what the server speaks, or has failed: then another one goes ahead.
void ApiClient::Impl::scout_is_done() {
  if (scout->is_connected) {
    speaks_http2 = scout->speaks_http2;
  }
  scout.reset();
  for (const TransferPointer& transfer : std::exchange(held, {})) {
    attempt(transfer);
  }
}

void ApiClient::Impl::attempt_ended(const TransferPointer& transfer, CURLcode code) {
  const auto self = shared_from_this();
  if (transfer->is_over) {
    return;
  }
  if (transfer == scout) {
    scout_is_done();
  }
  has_answered = has_answered || transfer->status != 0;
  if (config.log) {
    config.log(summary_of(*transfer, code));
  }
  if (code == CURLE_OK && transfer->status == 401 && !std::exchange(transfer->has_renewed, true)) {
    renew_and_repeat(transfer);
    return;
  }
  if (try_again(transfer, code)) {
    return;
  }
  if (transfer->is_too_large) {
    transfer->body.clear();
    fail(transfer,
         request_error(config, transfer->request, ErrorCode::kPeer, "the answer is too large"));
  } else if (code != CURLE_OK) {
    fail(transfer, transfer_error(config, transfer->request, code, reason_of(*transfer, code)));
  } else if (transfer->status / 100 != 2) {
    fail(transfer, answer_error(config, transfer->request, transfer->status, transfer->body));
  } else if (transfer->kind == Transfer::Kind::kStream) {
    conclude_stream(transfer);
  } else {
    conclude_answer(transfer);
  }
}

void ApiClient::Impl::renew_and_repeat(const TransferPointer& transfer) {
  if (transfer->credentials != credentials) {  // another request has renewed them meanwhile
    attempt(transfer);
    return;
  }
  get_credentials(transfer, true);
}

// Whether the request is on its way again, or will be.
bool ApiClient::Impl::try_again(const TransferPointer& transfer, CURLcode code) {
  if (transfer->kind == Transfer::Kind::kStream) {
    return false;
  }
  const int status = transfer->status;
  bool is_worth_it = false;
  auto end = transfer->deadline;
  if (code == CURLE_OK) {
    const bool is_passing = status == 502 || status == 503 || status == 504;
    is_worth_it = status == 429 || (is_passing && is_safe(transfer->request)) ||
                  ((status == 500 || is_passing) && transfer->retry_after.count() > 0);
  } else {
    is_worth_it =
        is_before_sending(code) ||
        (is_lost_connection(code) && is_safe(transfer->request) && !transfer->is_too_large);
    if (!has_answered) {
      end = std::min(end, transfer->begun + kUnknownServerPatience);
    }
  }
  const int doublings = std::min(transfer->attempts - 1, 6);
  auto pause = jittered(std::min(kFirstPause * (1 << doublings), kLongestPause));
  pause = std::max<milliseconds>(pause, transfer->retry_after);
  if (!is_worth_it || Clock::now() + pause >= end) {
    return false;
  }
  transfer->pause.start(pause, [self = weak_from_this(), watched = std::weak_ptr(transfer)] {
    const auto impl = self.lock();
    const auto again = watched.lock();
    if (impl && again && !again->is_over) {
      again->credentials.reset();  // new ones are not needed, but do no harm
      impl->get_credentials(again, false);
    }
  });
  return true;
}

// ---- Ends ----------------------------------------------------------------------------------------

void ApiClient::Impl::fail(const TransferPointer& transfer, ApiError error) {
  if (error.code == ErrorCode::kTimeout && error.status == 0 && transfer->attempts > 0) {
    const auto seconds = transfer->request.timeout.count() / 1000;
    error.what += ", within " + std::to_string(seconds) + " seconds";
  }
  if (transfer->kind == Transfer::Kind::kStream) {
    deliver_lines(transfer, false);
    end_stream(transfer, std::move(error));
  } else {
    finish(transfer, std::unexpected(std::move(error)));
  }
}

void ApiClient::Impl::conclude_answer(const TransferPointer& transfer) {
  if (transfer->body.empty()) {
    finish(transfer, Json());
    return;
  }
  auto parsed = Json::parse(transfer->body, "the answer");
  if (!parsed) {
    fail(transfer, request_error(config, transfer->request, ErrorCode::kPeer, parsed.error().what));
    return;
  }
  finish(transfer, std::move(*parsed));
}

void ApiClient::Impl::conclude_stream(const TransferPointer& transfer) {
  deliver_lines(transfer, true);
  end_stream(transfer, std::nullopt);
}

void ApiClient::Impl::finish(const TransferPointer& transfer, ApiResult<Json> result) {
  ApiClient::Done done = std::move(transfer->done);
  if (!transfer->is_over) {
    give_up(transfer);
    done(std::move(result));
  }
}

void ApiClient::Impl::end_stream(const TransferPointer& transfer, std::optional<ApiError> why) {
  if (!transfer->is_over) {
    give_up(transfer);
    if (transfer->handlers.ended) {
      transfer->handlers.ended(std::move(why));
    }
  }
}

void ApiClient::Impl::deliver_news() {
  const auto self = shared_from_this();
  if (scout && scout->is_connected) {
    scout_is_done();
  }
  for (const TransferPointer& transfer : std::vector(transfers)) {
    if (!std::exchange(transfer->has_news, false) || transfer->is_over ||
        transfer->kind != Transfer::Kind::kStream || transfer->status / 100 != 2) {
      continue;
    }
    deliver_lines(transfer, false);
  }
}

void ApiClient::Impl::deliver_lines(const TransferPointer& transfer, bool is_end) {
  if (transfer->status / 100 != 2 || transfer->is_over) {
    return;
  }
  if (!std::exchange(transfer->has_opened, true)) {
    has_answered = true;
    transfer->pause.stop();
    if (transfer->handlers.opened) {
      transfer->handlers.opened();
    }
  }
  std::string body = std::exchange(transfer->body, {});
  if (transfer->handlers.piece) {
    if (!body.empty()) {
      transfer->handlers.piece(body);
    }
    return;
  }
  std::size_t begin = 0;
  std::size_t end = body.find('\n', transfer->scanned);
  while (end != std::string::npos && !transfer->is_over) {
    transfer->handlers.line(std::string_view(body).substr(begin, end - begin));
    begin = end + 1;
    end = body.find('\n', begin);
  }
  if (transfer->is_over) {
    return;
  }
  if (is_end && begin < body.size()) {
    transfer->handlers.line(std::string_view(body).substr(begin));
    return;
  }
  body.erase(0, begin);
  transfer->body = std::move(body);
  transfer->scanned = transfer->body.size();
  if (transfer->body.size() > Transfer::kMaxLine) {
    transfer->body.clear();
    fail(transfer, request_error(config, transfer->request, ErrorCode::kPeer,
                                 "a line of the answer is too long"));
  }
}

// ---- The interface -------------------------------------------------------------------------------

ApiClient::ApiClient(net::Loop& loop, ClientConfig config)
    : impl_(std::make_shared<Impl>(loop, std::move(config))) {}

ApiClient::~ApiClient() {
  impl_->close();
}

const ClientConfig& ApiClient::config() const {
  return impl_->config;
}

net::Loop& ApiClient::loop() {
  return impl_->loop;
}

void ApiClient::send(ApiRequest request, Done done) {
  auto transfer = std::make_shared<Transfer>(impl_->loop);
  transfer->request = std::move(request);
  transfer->done = std::move(done);
  impl_->start(std::move(transfer));
}

struct ApiClient::Call::State {
  std::weak_ptr<Impl> impl;
  net::Loop& loop;
  TransferPointer transfer;
  std::optional<ApiResult<Json>> answer;
};

ApiClient::Call::Call(std::shared_ptr<State> state) : state_(std::move(state)) {}
ApiClient::Call::Call(Call&&) noexcept = default;
ApiClient::Call& ApiClient::Call::operator=(Call&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

ApiClient::Call::~Call() {
  if (state_ && state_->transfer) {
    if (const auto impl = state_->impl.lock()) {
      impl->give_up(state_->transfer);
    }
  }
}

ApiResult<Json> ApiClient::Call::wait() {
  const auto state = state_;
  if (!state->loop.run_until([&] { return state->answer.has_value(); })) {
    ApiError error;
    error.code = ErrorCode::kInternal;
    error.what = state->transfer->request.method + " " + state->transfer->request.path +
                 ": the wait was interrupted";
    return std::unexpected(std::move(error));
  }
  return std::move(*state->answer);
}

ApiClient::Call ApiClient::begin(ApiRequest request) {
  auto state = std::make_shared<Call::State>(Call::State{impl_, impl_->loop, {}, {}});
  auto transfer = std::make_shared<Transfer>(impl_->loop);
  transfer->request = std::move(request);
  transfer->done = [watched = std::weak_ptr(state)](ApiResult<Json> result) {
    if (const auto waiting = watched.lock()) {
      waiting->answer.emplace(std::move(result));
    }
  };
  state->transfer = transfer;
  impl_->start(std::move(transfer));
  return Call(std::move(state));
}

struct ApiClient::Stream::State {
  std::weak_ptr<Impl> impl;
  TransferPointer transfer;
};

ApiClient::Stream::Stream(std::unique_ptr<State> state) : state_(std::move(state)) {}

ApiClient::Stream::~Stream() {
  if (const auto impl = state_->impl.lock()) {
    impl->give_up(state_->transfer);
  }
}

std::unique_ptr<ApiClient::Stream> ApiClient::open_stream(ApiRequest request,
                                                          StreamHandlers handlers) {
  auto transfer = std::make_shared<Transfer>(impl_->loop);
  transfer->kind = Transfer::Kind::kStream;
  transfer->request = std::move(request);
  transfer->handlers = std::move(handlers);
  auto state = std::make_unique<Stream::State>(Stream::State{impl_, transfer});
  impl_->start(std::move(transfer));
  return std::unique_ptr<Stream>(new Stream(std::move(state)));
}

bool ApiClient::run_until(const std::function<bool()>& is_done, milliseconds limit) {
  bool is_late = false;
  net::Timer timer(impl_->loop);
  timer.start(limit, [&] { is_late = true; });
  return impl_->loop.run_until([&] { return is_late || is_done(); }) && is_done();
}

Status ApiClient::prepare_upgrade(CURL* handle, std::string_view path) {
  Credentials used;
  if (impl_->config.credentials) {
    MIRRORD_TRY(got, impl_->config.credentials(false));
    used = std::move(got);
  }
  impl_->upgrades.emplace_back();
  if (impl_->upgrades.size() > kKeptUpgrades) {
    impl_->upgrades.pop_front();
  }
  HandleLists& lists = impl_->upgrades.back();
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  set_server(handle, lists, impl_->config, used, path);
  append_identity(lists.headers, impl_->config, used);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, lists.headers.get());
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  return {};
}

}  // namespace mirrord::k8s
