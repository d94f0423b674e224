// k8s/pod_list_reader.h — what `ls` needs of a list of pods, out of its protobuf form, while it
// arrives: the server makes that form in half the time of JSON, and no list stands in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord::k8s {

struct ListedPod {
  std::string name;
  std::vector<std::string> containers;
  bool is_ready = false;  // the condition Ready is True
};

// Reads "k8s\0", runtime.Unknown around v1.PodList (generated.proto of k8s.io/api/core/v1 and
// k8s.io/apimachinery). Fields that are not needed are skipped; one pod may have 4 MiB.
class PodListReader {
 public:
  using Take = std::move_only_function<void(const ListedPod& pod)>;
  explicit PodListReader(Take take) : take_(std::move(take)) {}

  // The next bytes of the answer. An error is final: the bytes are no such list.
  Status feed(std::string_view bytes);
  // At the end of the answer: whether the list was whole.
  [[nodiscard]] bool is_complete() const { return is_in_list_ && left_ == 0; }
  // Where the next page begins; empty: there is none.
  [[nodiscard]] const std::string& continue_token() const { return continue_token_; }

 private:
  enum class Step { kMore, kDone, kMalformed };
  Step take_header();
  Step take_list_field();

  Take take_;
  std::string buffer_;
  std::size_t at_ = 0;      // how much of the buffer is used up
  std::uint64_t left_ = 0;  // of the list
  bool has_magic_ = false;
  bool is_in_list_ = false;
  std::string continue_token_;
};

}  // namespace mirrord::k8s
