// k8s/watch.cpp — list, watch, resume, and list again when the past is gone.
#include "k8s/watch.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace mirrord::k8s {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kServerSeconds = 60;          // after which the server ends a watch
constexpr milliseconds kIdleLimit{75'000};  // a little more: then the connection is dead
constexpr milliseconds kHeadLimit{15'000};
constexpr milliseconds kFirstPause{100};
constexpr milliseconds kLongestPause{5'000};
constexpr milliseconds kGoodWatch{5'000};   // open that long without an event: it works
constexpr milliseconds kShortWatch{1'000};  // ended sooner: not at once again

std::string key_of(JsonView object) {
  const JsonView metadata = object["metadata"];
  return std::string(metadata["namespace"].text()) + "/" + std::string(metadata["name"].text());
}

// What is left to say of an object that is gone.
Json remains_of(const std::string& key, const std::string& uid) {
  const std::size_t slash = key.find('/');
  return Json::object({{"metadata", Json::object({{"namespace", key.substr(0, slash)},
                                                  {"name", key.substr(slash + 1)},
                                                  {"uid", uid}})}});
}

bool is_final(const ApiError& why) {
  return why.status == 401 || why.status == 403 || why.status == 404;
}

}  // namespace

struct Watch::Impl : std::enable_shared_from_this<Watch::Impl> {
  Impl(ApiClient& api, WatchRequest what, WatchHandlers to)
      : client(api),
        request(std::move(what)),
        handlers(std::move(to)),
        version(request.resource_version),
        pause(api.loop()),
        idle(api.loop()) {}

  [[nodiscard]] std::string query() const;
  void begin();
  void list(const std::string& place);
  void take_page(Json page);
  void report_gone();
  void watch();
  void take_line(std::string_view line);
  void watch_ended(std::optional<ApiError> why);
  void again(milliseconds after);
  void in_trouble(ApiError why);
  void tell(WatchEvent event, JsonView object);
  void take_object(JsonView object);

  ApiClient& client;
  WatchRequest request;
  WatchHandlers handlers;
  std::string version;  // to watch from; empty: list first
  net::Timer pause;
  net::Timer idle;
  std::unique_ptr<ApiClient::Stream> stream;
  std::map<std::string, std::string> known;  // key → uid
  std::set<std::string> seen;                // in the list that is being read
  std::optional<Clock::time_point> trouble_since;
  Clock::time_point watching_since;
  std::optional<Clock::time_point> opened_at;  // of the present watch
  int failures = 0;
  bool has_synced = false;
  bool is_over = false;
};

std::string Watch::Impl::query() const {
  std::string text;
  if (!request.label_selector.empty()) {
    text += "&labelSelector=" + escape(request.label_selector);
  }
  if (!request.field_selector.empty()) {
    text += "&fieldSelector=" + escape(request.field_selector);
  }
  return text;
}

void Watch::Impl::begin() {
  if (version.empty()) {
    seen.clear();
    list({});
  } else {
    watch();
  }
}

void Watch::Impl::list(const std::string& place) {
  ApiRequest page;
  page.path = request.path + "?limit=500" + query();
  if (!place.empty()) {
    page.path += "&continue=" + escape(place);
  }
  page.timeout = request.patience;
  client.send(std::move(page), [weak = weak_from_this()](ApiResult<Json> answer) {
    const auto self = weak.lock();
    if (!self || self->is_over) {
      return;
    }
    if (answer) {
      self->take_page(std::move(*answer));
    } else {
      self->in_trouble(std::move(answer.error()));
    }
  });
}

void Watch::Impl::take_page(Json page) {
  for (const JsonView item : page["items"]) {
    seen.insert(key_of(item));
    take_object(item);
    if (is_over) {
      return;
    }
  }
  if (const std::string_view next = page["metadata"]["continue"].text(); !next.empty()) {
    list(std::string(next));
    return;
  }
  version = page["metadata"]["resourceVersion"].text();
  if (version.empty()) {
    ApiError error;
    error.code = ErrorCode::kPeer;
    error.what = "GET " + request.path + " at " + client.config().server +
                 ": the answer is not a list of objects";
    in_trouble(std::move(error));
    return;
  }
  report_gone();
  if (!is_over && !std::exchange(has_synced, true) && handlers.synced) {
    handlers.synced();
  }
  if (!is_over) {
    watch();
  }
}

// Objects that went while nobody was listening.
void Watch::Impl::report_gone() {
  const auto before = known;
  for (const auto& [key, uid] : before) {
    if (is_over || seen.contains(key)) {
      continue;
    }
    known.erase(key);
    tell(WatchEvent::kDeleted, remains_of(key, uid).view());
  }
  seen.clear();
}

// An object as it is now.
void Watch::Impl::take_object(JsonView object) {
  std::string uid(object["metadata"]["uid"].text());
  const auto [entry, is_new] = known.try_emplace(key_of(object), uid);
  if (!is_new && entry->second != uid) {  // another one of the same name
    const std::string old = std::exchange(entry->second, std::move(uid));
    tell(WatchEvent::kDeleted, remains_of(entry->first, old).view());
    tell(WatchEvent::kAdded, object);
    return;
  }
  tell(is_new ? WatchEvent::kAdded : WatchEvent::kModified, object);
}

void Watch::Impl::tell(WatchEvent event, JsonView object) {
  if (!is_over && handlers.event) {
    handlers.event(event, object);
  }
}

void Watch::Impl::watch() {
  ApiRequest opening;
  opening.path = request.path + "?watch=true&allowWatchBookmarks=true&timeoutSeconds=" +
                 std::to_string(kServerSeconds) + "&resourceVersion=" + escape(version) + query();
  opening.timeout = kHeadLimit;
  watching_since = Clock::now();
  opened_at.reset();
  const auto weak = weak_from_this();
  ApiClient::StreamHandlers to;
  to.opened = [weak] {
    if (const auto self = weak.lock()) {
      self->opened_at = Clock::now();
    }
  };
  to.line = [weak](std::string_view line) {
    if (const auto self = weak.lock(); self && !self->is_over) {
      self->take_line(line);
    }
  };
  to.ended = [weak](std::optional<ApiError> why) {
    if (const auto self = weak.lock(); self && !self->is_over) {
      self->watch_ended(std::move(why));
    }
  };
  stream = client.open_stream(std::move(opening), std::move(to));
  idle.start(kIdleLimit, [this] {
    stream.reset();
    again(milliseconds(0));
  });
}

void Watch::Impl::take_line(std::string_view line) {
  if (line.empty()) {
    return;
  }
  const auto event = Json::parse(line, "an event of the watch");
  const std::string_view type = event ? (*event)["type"].text() : std::string_view();
  const JsonView object = event ? (*event)["object"] : JsonView();
  if (!object.is_object() || type == "ERROR") {
    ApiError error;
    error.code = ErrorCode::kPeer;
    error.what = "watching " + request.path + " at " + client.config().server + ": " +
                 (type == "ERROR" ? std::string(object["message"].text("the watch has failed"))
                                  : std::string("an event makes no sense"));
    error.status = type == "ERROR" ? static_cast<int>(object["code"].number(500)) : 500;
    error.reason = object["reason"].text();
    stream.reset();
    in_trouble(std::move(error));
    return;
  }
  idle.start(kIdleLimit, [this] {
    stream.reset();
    again(milliseconds(0));
  });
  trouble_since.reset();
  failures = 0;
  if (const std::string_view now = object["metadata"]["resourceVersion"].text(); !now.empty()) {
    version = now;
  }
  if (type == "ADDED" || type == "MODIFIED") {
    take_object(object);
  } else if (type == "DELETED") {
    known.erase(key_of(object));
    tell(WatchEvent::kDeleted, object);
  }
}

void Watch::Impl::watch_ended(std::optional<ApiError> why) {
  stream.reset();
  idle.stop();
  if (why) {
    in_trouble(std::move(*why));
    return;
  }
  const bool is_short = Clock::now() - watching_since < kShortWatch;
  again(is_short ? kFirstPause * 5 : milliseconds(0));
}

void Watch::Impl::again(milliseconds after) {
  idle.stop();
  pause.start(after, [this] { begin(); });
}

void Watch::Impl::in_trouble(ApiError why) {
  idle.stop();
  if (why.status != 0) {
    version.clear();  // the server is there, and what it remembers is in question
  }
  const auto now = Clock::now();
  if (opened_at && now - *opened_at >= kGoodWatch) {  // all was well until now
    trouble_since.reset();
    failures = 0;
  }
  opened_at.reset();
  if (!trouble_since) {
    trouble_since = now;
  }
  const bool is_past = why.status == 410;
  const auto after = is_past && failures == 0
                         ? milliseconds(0)
                         : std::min(kFirstPause * (1 << std::min(failures, 6)), kLongestPause);
  ++failures;
  if (is_final(why) || now + after - *trouble_since >= request.patience) {
    is_over = true;
    if (handlers.failed) {
      handlers.failed(std::move(why));
    }
    return;
  }
  again(after);
}

Watch::Watch(ApiClient& client, WatchRequest request, WatchHandlers handlers)
    : impl_(std::make_shared<Impl>(client, std::move(request), std::move(handlers))) {
  impl_->begin();
}

Watch::~Watch() {
  impl_->is_over = true;
  impl_->pause.stop();
  impl_->idle.stop();
  impl_->stream.reset();
}

}  // namespace mirrord::k8s
