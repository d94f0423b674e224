// k8s/upgrade.h — a connection to the API server that leaves HTTP: connected by libcurl (TLS, proxy),
// asked for by one request, and then a plain stream of bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "k8s/api_client.h"
#include "net/error.h"

namespace mirrord::k8s {

struct UpgradeRequest {
  std::string method = "GET";
  std::string path;                  // escaped
  std::vector<std::string> headers;  // "Upgrade: websocket"; Host and credentials are added
};

struct UpgradeAnswer {
  int status = 0;  // 101 when the server agrees
  std::string headers;
  std::string body;  // of a refusal; its beginning, when it is long

  // The value of the first header of that name, without spaces around it; empty if there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

// Lives on the loop's thread. Callbacks may destroy it.
class UpgradedLine {
 public:
  explicit UpgradedLine(ApiClient& client);
  ~UpgradedLine();
  UpgradedLine(const UpgradedLine&) = delete;
  UpgradedLine& operator=(const UpgradedLine&) = delete;

  // Call once. When the credentials are refused (401), new ones are tried once.
  using Answered = std::move_only_function<void(Result<UpgradeAnswer>)>;
  void start(UpgradeRequest request, std::chrono::milliseconds timeout, Answered answered);

  // ---- After a 101: the stream.
  struct Transfer {
    enum class State { kDone, kBlocked, kEnded, kFailed };
    State state = State::kDone;
    std::size_t count = 0;  // kDone: at least one
  };
  Transfer receive(std::span<std::byte> room);
  // After kBlocked the same bytes must come again.
  Transfer send(std::span<const std::byte> bytes);
  // Received bytes may wait inside TLS: call `receive` until it is blocked before waiting.
  void watch(int events, const std::function<void(int events)>& ready);
  // What went wrong when a transfer failed.
  [[nodiscard]] Error error() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mirrord::k8s
