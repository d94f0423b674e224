// applets/agent/files.h — answers one client's file requests in the order they came.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>

#include "applets/agent/client.h"
#include "applets/agent/file_calls.h"
#include "proto/file.h"

namespace mirrord::agent {

// What the kernel can answer from memory is answered at once on the loop's thread. The first
// request that would have to wait, and all behind it, go to the thread pool; pings and other traffic
// of the client go on meanwhile.
class Files {
 public:
  explicit Files(ClientLink& link);
  ~Files();  // a request that a pool thread is busy with ends by itself; its answer is dropped
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  void handle(proto::FileRequest&& request);
  void on_drained();
  void number_all_opens() { calls_->number_all_opens(); }
  // Calls back once, when every request that has come is carried out.
  void when_idle(net::Callback callback);

 private:
  struct Batch;
  void run();
  bool answer_from_memory(proto::FileRequest& request);
  void submit();
  void finish(Batch& batch);
  void update_hold();
  void reply(proto::FileResponse&& response, net::LeasedPipe payload = nullptr);

  ClientLink& link_;
  std::shared_ptr<FileCalls> calls_;
  std::deque<proto::FileRequest> queue_;
  std::size_t queued_bytes_ = 0;  // of writes
  bool is_busy_ = false;          // a pool thread has the calls
  bool holds_input_ = false;
  net::Callback on_idle_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::agent
