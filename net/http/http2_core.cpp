// net/http/http2_core.cpp — the conversation with nghttp2. It calls back only while it is given bytes or asked for
// some; all that is submitted within a callback leaves when the outermost call ends.
#include "net/http/http2_core.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <utility>

#include "net/http/body_start.h"
#include "net/http/translate.h"

namespace mirrord::net::http {

namespace {

// Output is passed on in pieces of about this size, so that it can be held in between.
constexpr std::size_t kOutputPiece = 256 * 1024;

nghttp2_nv field(std::string_view name, std::string_view value) {
  // nghttp2 copies both and changes neither; its interface has no const.
  return {const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(name.data())),
          const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(value.data())),
          name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// The fields, behind the pseudo header fields. Both must outlive the result.
std::vector<nghttp2_nv> fields_of(std::span<const Header> pseudo, const Headers& headers) {
  std::vector<nghttp2_nv> fields(pseudo.size() + headers.size());
  std::size_t count = 0;
  for (const Header header : pseudo)
    fields[count++] = field(header.name, header.value);
  for (const Header header : headers)
    fields[count++] = field(header.name, header.value);
  return fields;
}

}  // namespace

// The callbacks, as nghttp2 wants them: plain functions with the core as their last argument.
struct Http2Callbacks {
  static Http2Core& core(void* user_data) { return *static_cast<Http2Core*>(user_data); }

  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user_data) {
    Http2Core& self = core(user_data);
    const bool is_end = (head->flags & NGHTTP2_FLAG_END_STREAM) != 0;
    const bool is_empty_data = head->type == NGHTTP2_DATA && head->length == 0 && !is_end;
    if (head->type == NGHTTP2_HEADERS || (head->type == NGHTTP2_DATA && !is_empty_data))
      self.useless_frames_ = 0;
    else if (is_empty_data || head->type == NGHTTP2_PRIORITY || head->type > NGHTTP2_CONTINUATION)
      ++self.useless_frames_;
    if (self.useless_frames_ > self.limits_.useless_frames)
      self.break_off(NGHTTP2_ENHANCE_YOUR_CALM, "the peer sends frames that carry nothing");
    return 0;
  }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Core& self = core(user_data);
    if (frame->hd.type != NGHTTP2_HEADERS)
      return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
      self.open(frame->hd.stream_id);
    if (Http2Stream* stream = self.find_stream(frame->hd.stream_id)) {
      stream->head_bytes = 0;
      stream->is_interim = false;
    }
    self.partial_head_ = frame->hd.length;
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user_data) {
    Http2Core& self = core(user_data);
    Http2Stream* stream = self.find_stream(frame->hd.stream_id);
    if (stream == nullptr || frame->hd.type != NGHTTP2_HEADERS)
      return 0;
    stream->head_bytes += name_size + value_size + 32;  // RFC 9113 §6.5.2
    Headers& fields = stream->has_head   ? stream->trailers
                      : self.is_server() ? stream->request.headers
                                         : stream->response.headers;
    if (stream->head_bytes > self.limits_.head_bytes ||
        fields.size() >= self.limits_.header_count) {
      stream->is_too_large = true;
      return 0;
    }
    const Header header{{reinterpret_cast<const char*>(name), name_size},
                        {reinterpret_cast<const char*>(value), value_size}};
    if (header.name.starts_with(':'))
      take_pseudo_header(*stream, header);
    else
      fields.add(header.name, header.value);
    return 0;
  }

  static void take_pseudo_header(Http2Stream& stream, const Header& header) {
    if (header.name == ":method") {
      stream.request.method = header.value;
    } else if (header.name == ":path") {
      stream.request.target = header.value;
    } else if (header.name == ":scheme") {
      stream.request.scheme = header.value;
    } else if (header.name == ":authority") {
      stream.request.authority = header.value;
    } else if (header.name == ":status") {  // three digits: nghttp2 has checked
      stream.response.status = 0;
      for (const char digit : header.value)
        stream.response.status = stream.response.status * 10 + (digit - '0');
    }
  }

  static int on_frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Core& self = core(user_data);
    self.has_received_goaway_ = self.has_received_goaway_ || frame->hd.type == NGHTTP2_GOAWAY;
    self.has_settings_ = self.has_settings_ || frame->hd.type == NGHTTP2_SETTINGS;
    const bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
      self.partial_head_ = 0;
    Http2Stream* stream = self.find_stream(frame->hd.stream_id);
    if (stream == nullptr)
      return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && !stream->has_head) {
      self.finish_head(*stream, is_end);
    } else if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && is_end) {
      if (stream->is_too_large && stream->is_head_told)  // its trailers
        return nghttp2_submit_rst_stream(self.session_, NGHTTP2_FLAG_NONE, stream->id,
                                         NGHTTP2_ENHANCE_YOUR_CALM);
      stream->has_end = true;
      if (stream->is_head_told)
        self.tell_end(*stream);
    }
    return 0;
  }

  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id,
                     const std::uint8_t* data, std::size_t size, void* user_data) {
    Http2Core& self = core(user_data);
    Http2Stream* stream = self.find_stream(id);
    if (stream == nullptr || stream->is_over || stream->consumes_itself) {
      nghttp2_session_consume(session, id, size);
      if (stream == nullptr || stream->is_over)
        return 0;
    } else {
      stream->unconsumed += size;
    }
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    if (stream->is_head_told) {
      self.owner_->on_body(*stream, bytes);
    } else {
      stream->start.append(as_text(bytes));
      if (stream->start.size() >= BodyStartCollector::kMost)
        self.tell_head(*stream);
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session* session, std::int32_t id, std::uint32_t error,
                             void* user_data) {
    Http2Core& self = core(user_data);
    const auto found = self.streams_.find(id);
    if (found == self.streams_.end())
      return 0;
    // What came before the end is told, unless the peer has taken it back.
    if (error == NGHTTP2_NO_ERROR && found->second->has_head && !found->second->is_head_told)
      self.tell_head(*found->second);
    nghttp2_session_consume_connection(session, found->second->unconsumed);
    const auto stream = std::move(found->second);
    self.streams_.erase(found);
    self.owner_->on_close(*stream, error);
    return 0;
  }

  static int on_invalid_frame(nghttp2_session*, const nghttp2_frame*, int error, void* user_data) {
    core(user_data).violation_ = nghttp2_strerror(error);
    return 0;
  }

  static nghttp2_ssize send(nghttp2_session*, const std::uint8_t* data, std::size_t size, int,
                            void* user_data) {
    Http2Core& self = core(user_data);
    if (self.output_.size() >= kOutputPiece)
      return NGHTTP2_ERR_WOULDBLOCK;
    self.output_.append(reinterpret_cast<const char*>(data), size);
    return static_cast<nghttp2_ssize>(size);
  }

  // How much of a stream's queue goes into the next frame.
  static nghttp2_ssize read_body(nghttp2_session* session, std::int32_t id, std::uint8_t*,
                                 std::size_t size, std::uint32_t* flags, nghttp2_data_source*,
                                 void* user_data) {
    Http2Stream* stream = core(user_data).find_stream(id);
    if (stream == nullptr)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (stream->queued() == 0 && !stream->is_ended) {
      stream->is_deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    const std::size_t count = std::min(size, stream->queued());
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (stream->is_ended && count == stream->queued()) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream->trailers_out.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const std::vector<nghttp2_nv> fields = fields_of({}, stream->trailers_out);
        nghttp2_submit_trailer(session, id, fields.data(), fields.size());
      }
    }
    return static_cast<nghttp2_ssize>(count);
  }

  static int send_body(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* frame_head,
                       std::size_t size, nghttp2_data_source*, void* user_data) {
    Http2Core& self = core(user_data);
    if (self.output_.size() >= kOutputPiece)
      return NGHTTP2_ERR_WOULDBLOCK;
    Http2Stream* stream = self.find_stream(frame->hd.stream_id);
    if (stream == nullptr)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    constexpr std::size_t kFrameHead = 9;
    self.output_.append(reinterpret_cast<const char*>(frame_head), kFrameHead);
    self.output_.append(stream->queue, stream->sent, size);
    stream->sent += size;
    if (stream->sent * 2 >= stream->queue.size()) {
      stream->queue.erase(0, stream->sent);
      stream->sent = 0;
    }
    if (stream->is_above && stream->queued() < self.limits_.queued_bytes / 2) {
      stream->is_above = false;
      self.drained_.push_back(stream->id);
    }
    return 0;
  }

  static nghttp2_data_provider2 body_source() { return {.source = {}, .read_callback = read_body}; }

  static void install(nghttp2_session_callbacks* callbacks) {
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_send_callback2(callbacks, send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_body);
  }
};

Http2Core::Http2Core(Role role, Http2Owner& owner, const Limits& limits)
    : role_(role), owner_(&owner), limits_(limits) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  Http2Callbacks::install(callbacks);
  nghttp2_option* options = nullptr;
  nghttp2_option_new(&options);
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_stream_reset_rate_limit(options, limits.reset_burst, limits.resets_per_second);
  nghttp2_option_set_no_closed_streams(options, 1);
  if (role == Role::kServer)
    nghttp2_session_server_new2(&session_, callbacks, this, options);
  else
    nghttp2_session_client_new2(&session_, callbacks, this, options);
  nghttp2_option_del(options);
  nghttp2_session_callbacks_del(callbacks);
}

Http2Core::~Http2Core() {
  nghttp2_session_del(session_);
}

// The first words, before anything else leaves.
void Http2Core::start() {
  if (std::exchange(is_started_, true))
    return;
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits_.head_bytes)}};
  if (is_server())
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.concurrent_streams});
  else
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<std::int32_t>(limits_.connection_window));
}

Http2Stream* Http2Core::find_stream(std::int32_t id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

Http2Stream* Http2Core::find(std::uint64_t id) {
  return find_stream(static_cast<std::int32_t>(id));
}

const Http2Stream* Http2Core::find(std::uint64_t id) const {
  const auto found = streams_.find(static_cast<std::int32_t>(id));
  return found == streams_.end() ? nullptr : found->second.get();
}

Http2Stream& Http2Core::open(std::int32_t id) {
  auto stream = std::make_unique<Http2Stream>();
  stream->id = id;
  stream->request.version = stream->response.version = Version::kHttp2;
  return *(streams_[id] = std::move(stream));
}

void Http2Core::receive(std::span<const std::byte> bytes) {
  if (is_closed_)
    return;
  start();
  ++depth_;
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const nghttp2_ssize taken = nghttp2_session_mem_recv2(session_, data, bytes.size());
  tell_heads();
  --depth_;
  if (taken < 0) {
    violation_ = nghttp2_strerror(static_cast<int>(taken));
    send_all();
    return close();
  }
  flush();
}

// A head is complete; interim ones may come before the final one.
void Http2Core::finish_head(Http2Stream& stream, bool is_end) {
  if (!is_server() && stream.response.status < 200 && !is_end) {
    owner_->on_interim(stream);
    stream.response = {};
    stream.response.version = Version::kHttp2;
    return;
  }
  stream.has_head = true;
  stream.has_end = is_end;
  untold_.push_back(stream.id);
}

void Http2Core::tell_heads() {
  for (std::size_t i = 0; i < untold_.size(); ++i) {
    Http2Stream* stream = find_stream(untold_[i]);
    if (stream != nullptr && !stream->is_head_told)
      tell_head(*stream);
  }
  untold_.clear();
}

void Http2Core::tell_head(Http2Stream& stream) {
  stream.is_head_told = true;
  if (stream.is_over)
    return;
  const std::string start = std::exchange(stream.start, {});
  const bool is_whole = stream.has_end && stream.trailers.empty();
  stream.is_end_told = is_whole;
  owner_->on_head(stream, {as_bytes(start), is_whole});
  if (stream.has_end)
    tell_end(stream);
}

void Http2Core::tell_end(Http2Stream& stream) {
  if (!std::exchange(stream.is_end_told, true) && !stream.is_over)
    owner_->on_end(stream);
}

void Http2Core::submit_response(Http2Stream& stream, const ResponseHead& given, bool has_body) {
  const ResponseHead head = to_http2(given);
  const std::string status = std::to_string(head.status);
  const Header pseudo[] = {{":status", status}};
  const std::vector<nghttp2_nv> fields = fields_of(pseudo, head.headers);
  const nghttp2_data_provider2 source = Http2Callbacks::body_source();
  stream.has_answer = true;
  stream.is_ended = !has_body;
  nghttp2_submit_response2(session_, stream.id, fields.data(), fields.size(),
                           has_body ? &source : nullptr);
}

void Http2Core::submit_interim(const Http2Stream& stream, const ResponseHead& given) {
  const ResponseHead head = to_http2(given);
  const std::string status = std::to_string(head.status);
  const Header pseudo[] = {{":status", status}};
  const std::vector<nghttp2_nv> fields = fields_of(pseudo, head.headers);
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id, nullptr, fields.data(),
                         fields.size(), nullptr);
}

bool Http2Core::takes_requests() const {
  return !is_closed_ && !is_shutting_down_ && !has_received_goaway_ &&
         nghttp2_session_check_request_allowed(session_) != 0;
}

bool Http2Core::may_request() const {
  constexpr std::uint32_t kBeforeItIsKnown = 100;
  const std::uint32_t most = std::min(
      nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
      has_settings_ ? limits_.concurrent_streams : kBeforeItIsKnown);
  return takes_requests() && streams_.size() < most;
}

Http2Stream* Http2Core::submit_request(const RequestHead& given, bool has_body) {
  start();
  const RequestHead head = to_http2(given);
  // A CONNECT has neither scheme nor path; an authority may be missing elsewhere.
  const Header all[] = {{":method", head.method},
                        {":authority", head.authority},
                        {":scheme", head.scheme},
                        {":path", head.target}};
  std::span<const Header> pseudo = std::span(all).first(head.method == "CONNECT" ? 2 : 4);
  const Header without_authority[] = {all[0], all[2], all[3]};
  if (head.authority.empty())
    pseudo = without_authority;
  const std::vector<nghttp2_nv> fields = fields_of(pseudo, head.headers);
  const nghttp2_data_provider2 source = Http2Callbacks::body_source();
  const std::int32_t id = nghttp2_submit_request2(session_, nullptr, fields.data(), fields.size(),
                                                  has_body ? &source : nullptr, nullptr);
  if (id < 0)
    return nullptr;
  Http2Stream& stream = open(id);
  stream.method = head.method;
  stream.is_ended = !has_body;
  return &stream;
}

void Http2Core::add_body(Http2Stream& stream, std::span<const std::byte> bytes) {
  if (stream.is_ended || bytes.empty())
    return;
  stream.queue.append(as_text(bytes));
  stream.is_above = stream.is_above || stream.queued() > limits_.queued_bytes;
  if (std::exchange(stream.is_deferred, false))
    nghttp2_session_resume_data(session_, stream.id);
}

void Http2Core::end_body(Http2Stream& stream, const Headers& trailers) {
  if (std::exchange(stream.is_ended, true))
    return;
  for (const Header header : trailers)
    stream.trailers_out.add(lower_case(header.name), header.value);
  if (std::exchange(stream.is_deferred, false))
    nghttp2_session_resume_data(session_, stream.id);
}

void Http2Core::reset(Http2Stream& stream, std::uint32_t error) {
  stream.is_over = true;
  stream.queue.clear();
  stream.sent = 0;
  consume(stream, stream.unconsumed);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, error);
}

void Http2Core::consume(Http2Stream& stream, std::size_t bytes) {
  const std::size_t count = std::min(bytes, stream.unconsumed);
  stream.unconsumed -= count;
  if (count > 0)
    nghttp2_session_consume(session_, stream.id, count);
}

void Http2Core::shut_down() {
  if (std::exchange(is_shutting_down_, true) || is_closed_)
    return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
}

void Http2Core::hold_output(bool is_held) {
  is_held_ = is_held;
  flush();
}

void Http2Core::flush() {
  if (depth_ > 0 || is_closed_)
    return;
  ++depth_;
  for (send_all(); !drained_.empty(); send_all())
    tell_drained();
  --depth_;
  const bool wants_nothing =
      nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
  if (wants_nothing)
    close();
}

void Http2Core::send_all() {
  while (!is_held_) {
    const int sent = nghttp2_session_send(session_);
    const std::string piece = std::exchange(output_, {});
    if (piece.empty())
      break;
    owner_->on_output(as_bytes(piece));
    if (sent != 0)
      break;
  }
}

void Http2Core::tell_drained() {
  for (const std::int32_t id : std::exchange(drained_, {})) {
    if (Http2Stream* stream = find_stream(id); stream != nullptr && !stream->is_over)
      owner_->on_drained(*stream);
  }
}

void Http2Core::break_off(std::uint32_t error, std::string_view why) {
  violation_ = why;
  nghttp2_session_terminate_session(session_, error);
}

void Http2Core::fail(std::string_view why) {
  if (is_closed_)
    return;
  if (violation_.empty() && !streams_.empty())
    violation_ = why;
  close();
}

void Http2Core::close() {
  if (std::exchange(is_closed_, true))
    return;
  const auto open = std::exchange(streams_, {});
  for (const auto& [id, stream] : open)
    owner_->on_close(*stream, NGHTTP2_CANCEL);
  owner_->on_closed();
}

}  // namespace mirrord::net::http
