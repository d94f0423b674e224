// net/dns.cpp — c-ares on the loop, below our own hosts, search list and deadlines.
#include "net/dns.h"

#include <ares.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "net/dns_files.h"

namespace mirrord::net {

namespace {

constexpr std::size_t kMaxRecords = 256;
// A query is repeated sooner and more often than resolv.conf says (a lost packet then costs one
// second instead of five); for how long in all is resolv.conf's word, see Channel::patience.
constexpr int kFirstTryMs = 1000;
constexpr int kMaxTries = 8;
// Answers are reused for this long at most, whatever their TTL: people change records while they
// debug.
constexpr unsigned kCacheSeconds = 5;

DnsFailure failure_of(ares_status_t status) {
  using Kind = DnsFailure::Kind;
  switch (status) {
    case ARES_ENODATA:
      return {Kind::kNoRecords, 0, {}};
    case ARES_ENOTFOUND:
      return {Kind::kNoRecords, 3, {}};
    case ARES_ETIMEOUT:
      return {Kind::kTimeout, 0, {}};
    case ARES_ECONNREFUSED:
    case ARES_ENOSERVER:
      return {Kind::kNoConnections, 0, {}};
    default:
      return {Kind::kServer, 0, ares_strerror(status)};
  }
}

}  // namespace

// One c-ares channel with the settings of one state of resolv.conf.
class Resolver::Channel : public std::enable_shared_from_this<Resolver::Channel> {
 public:
  Channel(Loop& loop, DnsSettings settings)
      : loop_(loop), settings_(std::move(settings)), timer_(loop) {
    ares_options options{};
    options.flags = ARES_FLAG_NOALIASES | (settings_.use_tcp ? ARES_FLAG_USEVC : 0) |
                    (settings_.edns0 ? ARES_FLAG_EDNS : 0);
    const auto timeout_ms = static_cast<int>(
        std::chrono::duration_cast<std::chrono::milliseconds>(settings_.timeout).count());
    options.timeout = std::min(timeout_ms, kFirstTryMs);
    options.maxtimeout = timeout_ms;
    options.tries = kMaxTries;
    options.ndots = 0;
    options.qcache_max_ttl = kCacheSeconds;
    options.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
      static_cast<Channel*>(self)->watch(fd, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    // Nothing may come from this process's own /etc: every option is given, and the files that
    // c-ares wants to read are empty ones.
    char nothing[] = "/dev/null";
    char lookups[] = "b";
    options.resolvconf_path = nothing;
    options.hosts_path = nothing;
    options.lookups = lookups;
    const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_MAXTIMEOUTMS | ARES_OPT_TRIES |
                     ARES_OPT_NDOTS | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF |
                     ARES_OPT_HOSTS_FILE | ARES_OPT_SOCK_STATE_CB | ARES_OPT_QUERY_CACHE |
                     (settings_.rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);
    if (ares_init_options(&channel_, &options, mask) != ARES_SUCCESS) {
      channel_ = nullptr;
      return;
    }
    std::string servers;
    for (const std::string& server : settings_.servers) {
      servers += (servers.empty() ? "" : ",") + server;
    }
    ares_set_servers_ports_csv(channel_, servers.c_str());
  }
  ~Channel() {
    if (channel_ != nullptr) {
      ares_destroy(channel_);
    }
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Ends all queries without an answer.
  void cancel() {
    is_cancelled_ = true;
    const auto keep = shared_from_this();
    if (channel_ != nullptr) {
      ares_cancel(channel_);
    }
  }
  // Nobody waits for what has been answered but not been passed on yet either.
  [[nodiscard]] bool is_cancelled() const { return is_cancelled_; }
  // How long one name may take: what resolv.conf allows for all tries at all servers.
  [[nodiscard]] std::chrono::milliseconds patience() const {
    const auto servers = static_cast<int>(std::max<std::size_t>(settings_.servers.size(), 1));
    return std::min(std::chrono::milliseconds(settings_.timeout * settings_.attempts * servers),
                    std::chrono::milliseconds(std::chrono::seconds(60)));
  }

  void query(const std::string& name, ares_dns_rec_type_t type, ares_callback_dnsrec callback,
             void* argument) {
    if (channel_ == nullptr) {
      callback(argument, ARES_ENOMEM, 0, nullptr);
      return;
    }
    ares_query_dnsrec(channel_, name.c_str(), ARES_CLASS_IN, type, callback, argument, nullptr);
    arm_timer();
  }

 private:
  void watch(int fd, bool readable, bool writable) {
    if (!readable && !writable) {
      watchers_.erase(fd);
      return;
    }
    auto& watcher = watchers_[fd];
    if (!watcher) {
      watcher =
          std::make_unique<FdWatcher>(loop_, fd, [this, fd](int events) { process(fd, events); });
    }
    watcher->watch((readable ? FdWatcher::kReadable : 0) | (writable ? FdWatcher::kWritable : 0));
  }

  void process(int fd, int events) {
    const auto keep = shared_from_this();
    ares_fd_events_t event{};
    event.fd = fd;
    event.events =
        ((events & FdWatcher::kReadable) != 0 ? static_cast<unsigned>(ARES_FD_EVENT_READ) : 0) |
        ((events & FdWatcher::kWritable) != 0 ? static_cast<unsigned>(ARES_FD_EVENT_WRITE) : 0);
    ares_process_fds(channel_, &event, 1, ARES_PROCESS_FLAG_NONE);
    arm_timer();
  }

  void arm_timer() {
    timeval space{};
    const timeval* next = ares_timeout(channel_, nullptr, &space);
    if (next == nullptr) {
      timer_.stop();
      return;
    }
    const std::chrono::milliseconds delay(next->tv_sec * 1000 + next->tv_usec / 1000 + 1);
    timer_.start(delay, [this] {
      const auto keep = shared_from_this();
      ares_process_fds(channel_, nullptr, 0, ARES_PROCESS_FLAG_NONE);
      arm_timer();
    });
  }

  Loop& loop_;
  DnsSettings settings_;
  Timer timer_;
  std::map<int, std::unique_ptr<FdWatcher>> watchers_;
  ares_channel_t* channel_ = nullptr;
  bool is_cancelled_ = false;
};

// One look-up at the servers: candidate after candidate, each with its record types at once.
class Resolver::Lookup : public std::enable_shared_from_this<Resolver::Lookup> {
 public:
  struct Reply {
    std::vector<DnsRecord> records;
    std::string pointer;  // the first PTR name
    ares_status_t status = ARES_SUCCESS;
  };
  using Done = std::move_only_function<void(std::expected<Reply, DnsFailure>)>;

  Lookup(Loop& loop, std::shared_ptr<Channel> channel, std::vector<std::string> candidates,
         std::vector<ares_dns_rec_type_t> types, bool is_sequential, Done done)
      : loop_(loop),
        channel_(std::move(channel)),
        candidates_(std::move(candidates)),
        types_(std::move(types)),
        is_sequential_(is_sequential),
        done_(std::move(done)),
        deadline_(loop) {}

  void next_candidate() {
    if (candidate_ == candidates_.size()) {
      finish_with_failure();
      return;
    }
    replies_.assign(types_.size(), {});
    // Weak: a timer keeps its callback, and must not keep the look-up that owns it.
    deadline_.start(channel_->patience(), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->failure_ = {DnsFailure::Kind::kTimeout, 0, {}};
        self->finish_with_failure();
      }
    });
    asked_ = is_sequential_ ? 1 : types_.size();
    waiting_ = asked_;
    for (std::size_t i = 0; i < asked_; ++i) {
      ask(i);
    }
  }

 private:
  struct Question {
    std::shared_ptr<Lookup> lookup;
    std::size_t candidate;
    std::size_t type;
  };

  void ask(std::size_t type) {
    auto* question = new Question{shared_from_this(), candidate_, type};
    channel_->query(
        candidates_[candidate_], types_[type],
        [](void* argument, ares_status_t status, std::size_t, const ares_dns_record_t* answer) {
          const std::unique_ptr<Question> mine(static_cast<Question*>(argument));
          Lookup& self = *mine->lookup;
          if (status == ARES_ECANCELLED || status == ARES_EDESTRUCTION) {
            self.done_ = nullptr;
          } else if (self.done_ && mine->candidate == self.candidate_) {
            self.answered(mine->type, status, answer);
          }
        },
        question);
  }

  void answered(std::size_t type, ares_status_t status, const ares_dns_record_t* answer) {
    Reply& reply = replies_[type];
    reply.status = status;
    if (status == ARES_SUCCESS && answer != nullptr) {
      collect(*answer, types_[type], reply);
      if (reply.records.empty() && reply.pointer.empty()) {
        reply.status = ARES_ENODATA;
      }
    }
    if (--waiting_ > 0) {
      return;
    }
    if (reply.status != ARES_SUCCESS && asked_ < types_.size()) {
      waiting_ = 1;
      ask(asked_++);
      return;
    }
    // A new turn of the loop: c-ares does not like being left from inside its callback for ever.
    loop_.defer([keep = shared_from_this()] { keep->candidate_answered(); });
  }

  static void collect(const ares_dns_record_t& answer, ares_dns_rec_type_t type, Reply& reply) {
    const std::size_t count = ares_dns_record_rr_cnt(&answer, ARES_SECTION_ANSWER);
    for (std::size_t i = 0; i < count && reply.records.size() < kMaxRecords; ++i) {
      const ares_dns_rr_t* record = ares_dns_record_rr_get_const(&answer, ARES_SECTION_ANSWER, i);
      if (ares_dns_rr_get_type(record) != type) {
        continue;
      }
      IpAddress address;
      if (type == ARES_REC_TYPE_PTR) {
        if (reply.pointer.empty()) {
          reply.pointer = ares_dns_rr_get_str(record, ARES_RR_PTR_DNAME);
        }
        continue;
      }
      if (type == ARES_REC_TYPE_A) {
        std::memcpy(address.bytes.data(), ares_dns_rr_get_addr(record, ARES_RR_A_ADDR), 4);
      } else {
        address.is_v6 = true;
        std::memcpy(address.bytes.data(), ares_dns_rr_get_addr6(record, ARES_RR_AAAA_ADDR), 16);
      }
      reply.records.push_back({ares_dns_rr_get_name(record), address});
    }
  }

  void candidate_answered() {
    if (!done_ || channel_->is_cancelled()) {
      return;
    }
    Reply all;
    bool goes_on = true;
    for (Reply& reply : replies_) {
      std::ranges::move(reply.records, std::back_inserter(all.records));
      if (!reply.pointer.empty()) {
        all.pointer = std::move(reply.pointer);
      }
      goes_on = note_failure(reply.status) && goes_on;
    }
    if (!all.records.empty() || !all.pointer.empty()) {
      finish(std::move(all));
    } else if (goes_on) {
      ++candidate_;
      next_candidate();
    } else {
      finish_with_failure();
    }
  }

  // Keeps the gravest failure so far. Is it worth asking for the next candidate? As in glibc: yes,
  // except when the servers do not answer at all.
  bool note_failure(ares_status_t status) {
    if (status == ARES_SUCCESS) {
      return true;
    }
    DnsFailure failure = failure_of(status);
    const bool is_missing = failure.kind == DnsFailure::Kind::kNoRecords;
    const bool had_real_one = failure_ && failure_->kind != DnsFailure::Kind::kNoRecords;
    const bool had_no_data = failure_ && failure_->response_code == 0;
    if (!is_missing ? !had_real_one : (!failure_ || (!had_real_one && !had_no_data))) {
      failure_ = failure;
    }
    return is_missing || failure.kind == DnsFailure::Kind::kServer;
  }

  void finish_with_failure() {
    finish(std::unexpected(failure_.value_or(DnsFailure{DnsFailure::Kind::kNoRecords, 3, {}})));
  }

  void finish(std::expected<Reply, DnsFailure> result) {
    if (Done done = std::exchange(done_, nullptr)) {
      deadline_.stop();
      done(std::move(result));
    }
  }

  Loop& loop_;
  std::shared_ptr<Channel> channel_;
  std::vector<std::string> candidates_;
  std::vector<ares_dns_rec_type_t> types_;
  bool is_sequential_;
  Done done_;
  Timer deadline_;
  std::size_t candidate_ = 0;
  std::size_t asked_ = 0;
  std::size_t waiting_ = 0;
  std::vector<Reply> replies_;
  std::optional<DnsFailure> failure_;
};

namespace {

bool wants(DnsFamily family, const IpAddress& address) {
  return address.is_v6 ? family != DnsFamily::kIpv4 : family != DnsFamily::kIpv6;
}

// Puts IPv4 first, and for kAny leaves out IPv6 if there is any IPv4.
void order_records(std::vector<DnsRecord>& records, DnsFamily family) {
  std::ranges::stable_sort(records, {}, [](const DnsRecord& r) { return r.address.is_v6; });
  if (family == DnsFamily::kAny && !records.empty() && !records.front().address.is_v6) {
    std::erase_if(records, [](const DnsRecord& r) { return r.address.is_v6; });
  }
}

std::vector<DnsRecord> from_hosts(const HostsFile& hosts, const std::string& name,
                                  DnsFamily family) {
  std::vector<DnsRecord> records;
  const auto [begin, end] = hosts.by_name.equal_range(name);
  for (auto entry = begin; entry != end && records.size() < kMaxRecords; ++entry) {
    if (wants(family, entry->second.address)) {
      records.push_back({entry->second.canonical_name, entry->second.address});
    }
  }
  if (records.empty() && is_localhost(name)) {
    for (const IpAddress& address : {IpAddress::v4(127, 0, 0, 1), IpAddress::v6_loopback()}) {
      if (wants(family, address)) {
        records.push_back({name, address});
      }
    }
  }
  order_records(records, family);
  return records;
}

std::vector<ares_dns_rec_type_t> record_types(DnsFamily family) {
  switch (family) {
    case DnsFamily::kIpv4:
      return {ARES_REC_TYPE_A};
    case DnsFamily::kIpv6:
      return {ARES_REC_TYPE_AAAA};
    case DnsFamily::kBoth:
    case DnsFamily::kAny:
      break;
  }
  return {ARES_REC_TYPE_A, ARES_REC_TYPE_AAAA};
}

DnsFailure no_records(std::uint16_t code) {
  return {DnsFailure::Kind::kNoRecords, code, {}};
}

}  // namespace

Resolver::Resolver(Loop& loop, Fd root, Overrides overrides)
    : loop_(loop), overrides_(overrides), files_(std::make_unique<Files>()) {
  static const int initialised = ares_library_init(ARES_LIB_INIT_ALL);
  (void)initialised;
  files_->root = std::move(root);
}

Resolver::~Resolver() {
  for (const std::weak_ptr<Channel>& used : channels_) {
    if (const auto channel = used.lock()) {
      channel->cancel();
    }
  }
}

void Resolver::reload() {
  const int root = files_->root.get();
  if (const auto text = files_->hosts_file.read_if_changed(root)) {
    files_->hosts = parse_hosts(*text);
  }
  const auto text = files_->resolv_conf.read_if_changed(root);
  if (!text && channel_) {
    return;
  }
  files_->settings = parse_resolv_conf(text.value_or(std::string()));
  files_->settings.timeout = overrides_.timeout.value_or(files_->settings.timeout);
  files_->settings.attempts = overrides_.attempts.value_or(files_->settings.attempts);
  channel_ = std::make_shared<Channel>(loop_, files_->settings);
  std::erase_if(channels_, [](const std::weak_ptr<Channel>& used) { return used.expired(); });
  channels_.push_back(channel_);
}

void Resolver::lookup(const std::string& name, DnsFamily family,
                      std::move_only_function<void(DnsAnswer)> done) {
  if (const auto literal = IpAddress::parse(name)) {
    if (wants(family, *literal)) {
      done(std::vector<DnsRecord>{{name, *literal}});
    } else {
      done(std::unexpected(no_records(0)));
    }
    return;
  }
  if (!is_askable(name)) {
    done(std::unexpected(no_records(3)));
    return;
  }
  reload();
  const std::string normal = normal_name(name);
  std::vector<DnsRecord> known = from_hosts(files_->hosts, normal, family);
  if (!known.empty() || is_localhost(normal)) {
    done(std::move(known));
    return;
  }
  if (files_->resolv_conf.open_error() == EACCES || files_->resolv_conf.open_error() == EPERM) {
    done(std::unexpected(DnsFailure{DnsFailure::Kind::kPermission, 0, {}}));
    return;
  }
  auto answer = [family,
                 done = std::move(done)](std::expected<Lookup::Reply, DnsFailure> reply) mutable {
    if (!reply) {
      done(std::unexpected(std::move(reply.error())));
      return;
    }
    order_records(reply->records, family);
    done(std::move(reply->records));
  };
  std::make_shared<Lookup>(loop_, channel_, search_candidates(files_->settings, name),
                           record_types(family), family == DnsFamily::kAny, std::move(answer))
      ->next_candidate();
}

void Resolver::reverse(const IpAddress& address,
                       std::move_only_function<void(DnsNameAnswer)> done) {
  reload();
  if (const auto known = files_->hosts.by_address.find(address);
      known != files_->hosts.by_address.end()) {
    done(known->second);
    return;
  }
  auto answer = [done = std::move(done)](std::expected<Lookup::Reply, DnsFailure> reply) mutable {
    if (reply) {
      done(std::move(reply->pointer));
    } else {
      done(std::unexpected(std::move(reply.error())));
    }
  };
  std::make_shared<Lookup>(loop_, channel_, std::vector<std::string>{reverse_name(address)},
                           std::vector<ares_dns_rec_type_t>{ARES_REC_TYPE_PTR}, false,
                           std::move(answer))
      ->next_candidate();
}

}  // namespace mirrord::net
