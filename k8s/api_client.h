// k8s/api_client.h — requests to the Kubernetes API server: many at a time over one connection,
// with retries, time limits and errors in the server's own words.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "k8s/client_config.h"
#include "k8s/json.h"
#include "net/error.h"
#include "net/loop.h"

typedef void CURL;

namespace mirrord::k8s {

// Why a request failed. `status` is the HTTP status or 0 when there was no answer; `reason` is that
// of the Status object: NotFound, Forbidden, AlreadyExists, …
struct ApiError : Error {
  int status = 0;
  std::string reason;
};
template <class T>
using ApiResult = std::expected<T, ApiError>;

struct ApiRequest {
  std::string method = "GET";
  std::string path;  // "/api/v1/namespaces/default/pods?limit=500", escaped already
  std::string body;
  std::string content_type = "application/json";
  std::string accept = "application/json";
  std::chrono::milliseconds timeout{30'000};  // for the whole of it, retries included
};

// Percent-encodes one segment of a path or one value of a query.
std::string escape(std::string_view text);

class ApiClient {
 public:
  // Lives on the thread of `loop`. No callback comes from inside a call of this class, and each may
  // destroy the client.
  ApiClient(net::Loop& loop, ClientConfig config);
  ~ApiClient();  // what is under way ends without its callback
  ApiClient(const ApiClient&) = delete;
  ApiClient& operator=(const ApiClient&) = delete;

  [[nodiscard]] const ClientConfig& config() const;
  [[nodiscard]] net::Loop& loop();

  using Done = std::move_only_function<void(ApiResult<Json>)>;
  // Begins at once; `done` comes from the loop, never before this returns. Answers of 429, 502, 503
  // and 504 and broken connections are tried again with growing pauses while the time limit allows
  // it (a server that never answered: for two seconds); requests that are not safe to repeat only
  // when the server cannot have acted on them or asks for it by Retry-After. New credentials are
  // asked for once when they are refused (401). The time limit does not count the credentials'
  // plugin, which may ask the user.
  void send(ApiRequest request, Done done);

  // One request under way, for code that is written in the order in which it runs.
  class Call {
   public:
    Call(Call&&) noexcept;
    Call& operator=(Call&&) noexcept;
    ~Call();                 // gives the request up
    ApiResult<Json> wait();  // runs the loop until the answer is there; not from a callback

   private:
    friend class ApiClient;
    struct State;
    explicit Call(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
  };
  Call begin(ApiRequest request);
  Call begin_get(std::string path) { return begin({.path = std::move(path)}); }

  // An answer that has no end of its own: a watch, a followed log. Gone when destroyed.
  class Stream {
   public:
    ~Stream();

    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

   private:
    friend class ApiClient;
    struct State;
    explicit Stream(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
  };
  struct StreamHandlers {
    std::move_only_function<void()> opened;  // the server has answered 200. Optional
    // Without its line feed; bounded. One that breaks off by an error is not reported.
    std::move_only_function<void(std::string_view line)> line;
    // In place of `line`: all bytes, in pieces as they come.
    std::move_only_function<void(std::string_view bytes)> piece;
    // The end: no value when the server ended it in good order. Once, last.
    std::move_only_function<void(std::optional<ApiError> why)> ended;
  };
  // `request.timeout` limits the wait for the answer's head. Nothing is tried again but refused
  // credentials (401). A line holds at most 16 MiB.
  std::unique_ptr<Stream> open_stream(ApiRequest request, StreamHandlers handlers);

  // Runs the loop until `is_done` holds or the time is over; false when it is over.
  bool run_until(const std::function<bool()>& is_done, std::chrono::milliseconds limit);

  // For connections that leave HTTP (port-forward): sets URL, TLS, proxy and credentials of
  // `handle`, which is the caller's. HTTP/1.1 only; the credentials' headers are those of
  // CURLOPT_HTTPHEADER. Texts stay valid while the client lives, those of the last 64 calls.
  Status prepare_upgrade(CURL* handle, std::string_view path);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // also held while a callback runs, which may destroy the client
};

}  // namespace mirrord::k8s
