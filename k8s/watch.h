// k8s/watch.h — keeps up with a collection of objects: what there is, and every change after it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "k8s/api_client.h"
#include "k8s/json.h"

namespace mirrord::k8s {

struct WatchRequest {
  std::string path;  // of the collection: "/api/v1/namespaces/default/pods"
  std::string label_selector, field_selector;
  // Changes after this version; empty: the objects there are come first.
  std::string resource_version;
  // How long the server may stay out of reach, or answer with failures, before the watch gives up.
  std::chrono::milliseconds patience{30'000};
};

enum class WatchEvent { kAdded, kModified, kDeleted };

struct WatchHandlers {
  // `object` lives as long as the call. Of an object that went while the connection was lost, the
  // kDeleted shows the metadata's name, namespace and uid only.
  std::move_only_function<void(WatchEvent event, JsonView object)> event;
  // The objects that exist have all been reported. Optional; at most once.
  std::move_only_function<void()> synced;
  // No further event will come. Once; 401, 403 and 404 at once, others after `patience`.
  std::move_only_function<void(ApiError why)> failed;
};

// Lists, watches from there with bookmarks, resumes where a watch ended, and lists again when the
// server no longer has the past (410). Lives on the client's loop; callbacks come from the loop,
// never from the constructor, and may destroy it.
class Watch {
 public:
  Watch(ApiClient& client, WatchRequest request, WatchHandlers handlers);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace mirrord::k8s
