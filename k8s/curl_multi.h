// k8s/curl_multi.h — libcurl's transfers on the event loop.
#pragma once

#include <functional>
#include <memory>

#include "k8s/curl_handle.h"
#include "net/loop.h"

namespace mirrord::k8s {

// Lives on the loop's thread. None of its callbacks comes from inside libcurl, so they may do
// anything, also destroy this object.
class CurlMulti {
 public:
  // `after_round` comes after libcurl has worked, before the ends of transfers are told: what its
  // callbacks have gathered can be handed on.
  CurlMulti(net::Loop& loop, std::function<void()> after_round);
  ~CurlMulti();  // transfers end without their callbacks
  CurlMulti(const CurlMulti&) = delete;
  CurlMulti& operator=(const CurlMulti&) = delete;

  using Finished = std::move_only_function<void(CURLcode)>;
  // `handle` stays the caller's and must not go before `remove` or the end. A connection that was
  // made for its own sake (CURLOPT_CONNECT_ONLY) lives until `remove`, or as long as this object.
  enum class Afterwards { kDone, kKeepConnection };
  void add(CURL* handle, Finished finished, Afterwards afterwards = Afterwards::kDone);
  void remove(CURL* handle);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace mirrord::k8s
