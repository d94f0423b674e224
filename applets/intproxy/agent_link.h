// applets/intproxy/agent_link.h — the one connection to the agent: handshake, version gates,
// keep-alive, fair sending, and the match of replies to requests.
//
// agent_link.cpp     the messages of an agent that is there
// agent_connect.cpp  connect requests
// agent_resume.cpp   a broken connection, and how it goes on over another stream
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "applets/intproxy/remote.h"
#include "applets/intproxy/remote_descriptors.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/stream.h"
#include "proto/client_message.h"
#include "proto/daemon_message.h"
#include "proto/stream_decoder.h"
#include "proto/version.h"

namespace mirrord::intproxy {

// A reply's callback. After the agent is lost it gets agent_lost_error(); when a connection that goes on
// later broke, and the request cannot be repeated, interrupted_error(). Called exactly once.
template <class T>
using Reply = std::move_only_function<void(proto::Res<T>)>;

class AgentLink {
 public:
  struct Options {
    std::chrono::milliseconds handshake_timeout{30'000};
    std::chrono::milliseconds ping_interval{30'000};
    // An agent that answers pings may still owe an answer for ever (a file system that hangs). When
    // nothing of a kind was answered for this long, its requests fail with ETIMEDOUT.
    std::chrono::milliseconds reply_limit{300'000};
  };
  // What came of the descriptors that were opened again. The others stay invalid.
  struct Restored {
    std::size_t files = 0;
    std::vector<proto::u64> changed;  // there, but not as before
    std::vector<proto::u64> gone;     // cannot be opened any more
  };
  struct Handlers {
    std::move_only_function<void()> ready;  // the handshake is done
    // Once. All pending replies have been called with the loss by then.
    std::move_only_function<void(const Error& why)> lost;
    std::move_only_function<void(proto::LogMessage&& message)> log;
    // For links that can resume(): the stream has broken, or one that should replace it has. Called
    // before the requests that cannot be repeated fail.
    std::move_only_function<void(const Error& why)> interrupted;
    // The new stream is in use, all that could be restored is. May be empty.
    std::move_only_function<void(const Restored& restored)> restored;
  };

  AgentLink(net::Loop& loop, Fd socket, std::string peer_name, Options options);
  ~AgentLink();  // pending replies are dropped without a call
  AgentLink(const AgentLink&) = delete;
  AgentLink& operator=(const AgentLink&) = delete;

  void start(Handlers handlers);
  void close(std::string_view why);  // loses the agent on purpose
  // The session is over: says goodbye, so that the agent does not wait for this client.
  void leave();

  // ---- Another stream. From allow_resume() on the link survives the end of its stream: requests
  // that come meanwhile wait, those under way are repeated where that is safe.
  void allow_resume() { can_resume_ = true; }
  // Breaks the stream on purpose.
  void interrupt(Error why);
  // Goes on over a new stream; while interrupted. What goes wrong with it is another interruption.
  void resume(Fd socket, std::string peer_name, std::chrono::milliseconds handshake_timeout);
  // Counts the streams: what belongs to one (ids of connections) means nothing on the next.
  [[nodiscard]] std::uint64_t connection() const { return connection_; }
  // Asks for a sign of life and calls back when it has come, but not when the stream breaks before.
  void ping(std::move_only_function<void()> answered);
  // Replies so far, of all kinds.
  [[nodiscard]] std::uint64_t answers() const;
  // An agent that says Close is replaced by another one, if this is set.
  void survive_close() { survives_close_ = true; }

  [[nodiscard]] bool is_ready() const { return is_ready_; }
  [[nodiscard]] bool is_lost() const { return is_lost_; }
  [[nodiscard]] const Error& loss() const { return loss_; }
  // The version that both sides use, and its gates: supports(proto::Gate::kReadlink).
  [[nodiscard]] const proto::SemVer& version() const { return version_; }
  [[nodiscard]] bool supports(proto::Gate gate) const { return proto::satisfies(version_, gate); }
  // The agent gives descriptor numbers out in order: reserve_descriptor() says the next one.
  [[nodiscard]] bool speaks_flight() const { return speaks_flight_; }

  // ---- Messages of one sender stay in order; senders share the stream fairly by bytes. Ping and
  // the like overtake all of them.
  class Sender {
   public:
    explicit Sender(AgentLink& link);
    ~Sender();  // what is queued still leaves
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;
    void send(proto::ClientMessage&& message);
    // Bytes that have not reached the socket. Stop producing above kHighMark…
    [[nodiscard]] std::size_t queued_bytes() const;
    // …and go on when this is called: the queue has fallen below half of it. May be empty.
    void on_room(std::move_only_function<void()> callback);
    static constexpr std::size_t kHighMark = 512 * 1024;

   private:
    friend class AgentLink;
    struct Queue;
    AgentLink& link_;
    std::shared_ptr<Queue> queue_;
  };

  // ---- Files. Requests and replies are in order.
  // request<"ReadLimited">(FileRequest, reply): the name is that of the reply variant.
  using PartCallback = std::move_only_function<void(std::span<const std::byte>)>;
  template <proto::FixedString ReplyName, class Callback>
  void request(proto::FileRequest request, Callback reply, PartCallback part = nullptr) {
    using Value = proto::FileResponse::ValueOf<ReplyName>;
    send_file(
        std::move(request),
        [this, reply = std::move(reply)](FileOutcome outcome) mutable {
          if (!outcome) {
            reply(Value(std::unexpected(outcome.error())));
          } else if (Value* value = (*outcome)->template get_if<ReplyName>()) {
            reply(std::move(*value));
          } else {
            refuse_reply(**outcome, ReplyName.view());
            reply(Value(std::unexpected(agent_lost_error())));
          }
        },
        std::move(part));
  }
  // A read whose bytes are handed on while they arrive: `part` gets those before the last ones,
  // which come with the reply.
  template <class Callback>
  void read_in_parts(proto::FileRequest read, PartCallback part, Callback reply) {
    request<"ReadLimited">(std::move(read), std::move(reply), std::move(part));
  }
  void send_without_reply(proto::FileRequest request);  // Close and CloseDir
  // The number that the agent gives to the next Open, OpenRelative or FdOpenDir request. Call it
  // once for each of them, in their order; only when speaks_flight().
  std::uint64_t reserve_descriptor() { return descriptors_.reserve(); }
  [[nodiscard]] Sender& file_sender() { return *file_sender_; }

  // ---- Environment and DNS: replies are in order per kind. The V1 form is used where the agent
  // needs it (then IPv4 only).
  void get_environment(proto::GetEnvVarsRequest request, Reply<proto::RemoteEnvVars> reply);
  void resolve(proto::GetAddrInfoRequestV2 request, Reply<proto::DnsLookup> reply);
  void resolve_reverse(proto::Ip address, Reply<std::string> reply);

  // ---- Outgoing. ConnectV2 matched by uid, or the ordered legacy form. Read and Close messages go
  // to the handlers below, in order with the connect replies.
  // kStolen and kMirrored are made by the agent, not asked for; only their words differ.
  enum class Outgoing { kTcp, kUdp, kSeqpacket, kStolen, kMirrored };
  void connect(Outgoing kind, proto::SocketAddress remote, Sender& sender,
               Reply<proto::DaemonConnect> reply);
  // Messages that are not replies: set_handler<"TcpOutgoing">([](proto::DaemonTcpOutgoing&&) {}).
  // Connect replies are taken out before. Without a handler a message is dropped.
  template <proto::FixedString Name, class Handler>
  void set_handler(Handler handler) {
    handlers_by_kind_[proto::DaemonMessage::index_of<Name>] =
        [handler = std::move(handler)](proto::DaemonMessage& message) mutable {
          handler(std::move(message.get<Name>()));
        };
  }

  // Stops reading from the agent while a part's queues are full. Counted.
  void hold_input();
  void release_input();

  // ---- for tests and the log
  [[nodiscard]] std::size_t pending_file_replies() const { return pending_files_.size(); }

 private:
  static constexpr std::size_t kLongestRead = 256 * 1024;  // see kPart in agent_link.cpp

  using FileOutcome = std::expected<proto::FileResponse*, proto::ResponseError>;
  using FileCallback = std::move_only_function<void(FileOutcome)>;
  using MessageHandler = std::move_only_function<void(proto::DaemonMessage&)>;

  // Whether requests of one kind are answered at all; looked at with every ping.
  struct Progress {
    std::uint64_t answers = 0;       // so far
    std::uint64_t seen_answers = 0;  // at the last look
    std::uint64_t since_ms = 0;      // nothing has changed since
  };
  [[nodiscard]] bool is_overdue(Progress& progress, bool is_waiting) const;
  template <class Callback>
  void expire(Progress& progress, std::deque<Callback>& pending);
  template <class Callback>
  static Callback dropped(const Callback& given_up);  // what takes its place in the order

  void send_file(proto::FileRequest&& request, FileCallback reply, PartCallback part);
  void refuse_reply(const proto::FileResponse& got, std::string_view expected);
  void lose(Error why);
  void start_stream(std::chrono::milliseconds handshake_timeout);
  void on_bytes(std::size_t count);
  void on_message(proto::DaemonMessage&& message);
  void on_version(const proto::SemVer& settled);
  void on_file_reply(proto::FileResponse& response);
  bool take_connect_reply(proto::DaemonMessage& message);
  void on_ping_timer();
  void expire_pending();
  void send_control(proto::ClientMessage&& message);
  // False when the message cannot be encoded; then nothing was queued.
  enum class Urgency { kNow, kCanWait };
  bool enqueue(const std::shared_ptr<Sender::Queue>& queue, proto::ClientMessage&& message,
               Urgency urgency = Urgency::kNow);
  // The same; the message is as it was afterwards, but for a payload.
  bool enqueue_kept(const std::shared_ptr<Sender::Queue>& queue, proto::ClientMessage& message,
                    Urgency urgency);
  template <class Pending, class T>
  void answer_next(std::deque<Pending>& pending, Progress& progress, proto::Res<T>&& result);
  // A request that comes after the loss: its caller must not be called back before it returns.
  template <class Callback>
  bool refuse_if_lost(Callback& reply) {
    if (is_lost_) {
      loop_.defer(
          [reply = std::move(reply)]() mutable { reply(std::unexpected(agent_lost_error())); });
    }
    return is_lost_;
  }
  void schedule_pump();
  void pump();
  void fail_all_pending();

  net::Loop& loop_;
  std::string peer_name_;
  const std::string client_key_;  // the same on every stream: the agent knows who comes back
  Options options_;
  Handlers handlers_;
  bool is_ready_ = false;
  bool is_lost_ = false;
  bool speaks_flight_ = false;
  bool pong_is_due_ = false;
  bool heard_since_ping_ = false;
  bool pump_is_scheduled_ = false;
  bool linger_is_running_ = false;
  bool can_resume_ = false;
  bool survives_close_ = false;
  bool is_settled_ = false;  // the version is: more than control messages may be sent
  int input_holds_ = 0;
  std::uint64_t connection_ = 0;
  // While files are opened again on a new stream.
  struct Restoring {
    std::size_t remaining;  // files, and one for the beginning itself
    Restored result;
  };
  std::optional<Restoring> restoring_;
  Error loss_;
  proto::SemVer version_;
  Progress file_progress_;
  Progress environment_progress_;
  Progress lookup_progress_;
  Progress reverse_progress_;
  Progress legacy_progress_[2];
  Progress connect_progress_;
  struct PendingFile {
    FileCallback reply;  // null: Close and CloseDir, which keep their place among the others
    PartCallback part;
    proto::FileRequest request;       // kept by links that can resume
    std::optional<proto::u64> makes;  // the number of the descriptor, if it is known already
    std::size_t handed_on = 0;        // bytes that `part` has got
    bool is_given_up = false;         // the answer is dropped when it comes
    void operator()(FileOutcome outcome) {
      if (reply) {
        reply(std::move(outcome));
      }
    }
  };
  // A look-up, with its request for links that can resume.
  template <class Request, class Answer>
  struct PendingLookup {
    Request request;
    Reply<Answer> reply;
    void operator()(proto::Res<Answer> result) { reply(std::move(result)); }
  };
  void hand_on_part();
  void transmit(PendingFile&& pending);
  void note_answer(PendingFile& pending, proto::FileResponse& response);
  void send_lookup(const proto::GetAddrInfoRequestV2& request);
  void send_reverse(proto::Ip address);

  // ---- agent_resume.cpp
  void break_off(Error why);
  void hold(PendingFile&& pending);
  [[nodiscard]] bool is_restorable(proto::u64 number) const;
  std::vector<PendingFile> hold_repeatable();
  bool keeps(PendingFile& pending, std::unordered_set<proto::u64>& named);
  void clear_queues();
  void begin_restore();
  void send_restoring(proto::FileRequest request, FileCallback reply);
  void reopen(proto::u64 number);
  void on_reopened(proto::u64 number, proto::u64 there);
  void check_reopened(proto::u64 number, proto::u64 there, const proto::MetadataInternal& now);
  void one_restored();
  void finish_restore();

  RemoteDescriptors descriptors_;
  std::deque<PendingFile> pending_files_;        // sent; the first one has a reply
  std::deque<PendingFile> held_files_;           // while interrupted: to be sent
  std::unordered_set<proto::u64> held_numbers_;  // of descriptors that these make
  std::deque<Reply<proto::RemoteEnvVars>> pending_environment_;
  std::deque<PendingLookup<proto::GetAddrInfoRequestV2, proto::DnsLookup>> pending_lookups_;
  std::deque<PendingLookup<proto::Ip, std::string>> pending_reverse_;
  std::unordered_map<proto::Uid, Reply<proto::DaemonConnect>> pending_connects_;
  std::deque<Reply<proto::DaemonConnect>> pending_legacy_[2];  // TCP, UDP
  std::deque<std::move_only_function<void()>> pending_pings_;  // null: the keep-alive's
  MessageHandler handlers_by_kind_[proto::DaemonMessage::kSize];

  std::shared_ptr<Sender::Queue> control_;
  std::deque<std::shared_ptr<Sender::Queue>> active_;  // queues with something to send
  std::unique_ptr<Sender> file_sender_;
  std::unique_ptr<Sender> simple_sender_;

  proto::StreamDecoder<proto::DaemonMessage> decoder_;
  net::Timer timer_;
  net::Timer linger_;
  std::unique_ptr<net::Stream> stream_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::intproxy
