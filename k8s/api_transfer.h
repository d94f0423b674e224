// k8s/api_transfer.h — one exchange with the API server: options of libcurl, what came back. Private
// to the API client.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "k8s/api_client.h"
#include "k8s/curl_handle.h"

namespace mirrord::k8s {

// Lists that a handle refers to.
struct HandleLists {
  CurlList headers;
  CurlList routes;
};

// One request and, in turn, its attempts. Shared between whoever waits for it and the client.
struct Transfer {
  enum class Kind { kAnswer, kStream };
  static constexpr std::size_t kMaxAnswer = std::size_t{256} * 1024 * 1024;
  static constexpr std::size_t kMaxLine = std::size_t{16} * 1024 * 1024;
  static constexpr std::size_t kMaxHead = std::size_t{128} * 1024;
  static constexpr std::size_t kMaxErrorBody = std::size_t{64} * 1024;

  explicit Transfer(net::Loop& loop) : pause(loop) {}

  Kind kind = Kind::kAnswer;
  ApiRequest request;
  ApiClient::Done done;
  ApiClient::StreamHandlers handlers;

  CurlHandle handle;
  HandleLists lists;
  std::shared_ptr<const Credentials> credentials;
  std::array<char, CURL_ERROR_SIZE> reason{};
  std::chrono::steady_clock::time_point deadline;
  std::chrono::steady_clock::time_point begun;
  net::Timer pause;  // before the next attempt; for a stream, the limit of the wait for its head
  int attempts = 0;
  bool has_renewed = false;  // the credentials
  bool is_over = false;      // answered, ended or given up

  // What the present attempt has brought.
  int status = 0;  // once the head is complete
  std::size_t head_size = 0;
  std::chrono::seconds retry_after{0};  // as the server asks
  std::string body;
  std::size_t scanned = 0;  // of a stream's body: no line feed up to here
  bool is_too_large = false;
  bool has_opened = false;
  bool is_connected = false;  // and `speaks_http2` is known
  bool speaks_http2 = false;
  bool has_news = false;
};

// What a transfer sends besides its own headers: who we are.
void append_identity(CurlList& headers, const ClientConfig& config, const Credentials& credentials);

// Where the server is and how to trust it. `lists` and `config` must outlive the handle's use.
void set_server(CURL* handle, HandleLists& lists, const ClientConfig& config,
                const Credentials& credentials, std::string_view path);

// Makes a fresh handle for the next attempt, which may last as long as `limit`. `waits_for_stream`:
// the server is known for HTTP/2, so a connection that is being made will serve this one too.
void prepare_attempt(Transfer& transfer, const ClientConfig& config,
                     std::chrono::milliseconds limit, bool waits_for_stream);

}  // namespace mirrord::k8s
