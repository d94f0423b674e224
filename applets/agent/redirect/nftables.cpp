// applets/agent/redirect/nftables.cpp — the table, its set of ports and its rules; where connections went.
#include "applets/agent/redirect/nftables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "applets/agent/privileges.h"
#include "applets/agent/redirect/listeners.h"
#include "applets/agent/redirect/netfilter_batch.h"
#include "applets/agent/redirect/netns_name.h"
#include "applets/agent/redirect/table_guard.h"
#include "net/random.h"

namespace mirrord::agent {
namespace {

// The agent's own connections to the target carry it, and pass.
constexpr std::uint32_t kMark = 0x6d697272;
constexpr std::uint32_t kLoopback = 1;      // the index of lo in every network namespace
constexpr std::uint32_t kServiceType = 13;  // what `nft` calls inet_service
constexpr std::uint32_t kSetId = 1;
// One after destination translation (`nft`'s dstnat): a sidecar's rules come first, and what the sidecar then
// connects to is ours.
constexpr std::int32_t kPriority = -99;
constexpr int kOriginalDestination = 80;  // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
constexpr const char* kSet = "ports";
constexpr const char* kTablePrefix = "mirrord-";

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// The expressions of one rule, all on the first register.
class Rule {
 public:
  explicit Rule(NetfilterBatch& batch) : batch_(batch) {}

  void load(nft_meta_keys key) {
    add("meta", [&] {
      batch_.number(NFTA_META_KEY, key);
      batch_.number(NFTA_META_DREG, NFT_REG_1);
    });
  }
  template <class T>
  void compare(nft_cmp_ops operation, const T& value) {
    add("cmp", [&] {
      batch_.number(NFTA_CMP_SREG, NFT_REG_1);
      batch_.number(NFTA_CMP_OP, operation);
      batch_.nest(NFTA_CMP_DATA, [&] { batch_.bytes(NFTA_DATA_VALUE, bytes_of(value)); });
    });
  }
  // Only what goes to this host: others' traffic may pass through it.
  void is_for_this_host() {
    add("fib", [&] {
      batch_.number(NFTA_FIB_DREG, NFT_REG_1);
      batch_.number(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
      batch_.number(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
    });
    compare(NFT_CMP_EQ, std::uint32_t{RTN_LOCAL});
  }
  // Only what begins. Connection tracking takes packets of connections that it has not seen before,
  // as from before there was any rule, for new ones too.
  void is_a_first_packet() {
    constexpr std::uint8_t kFlags = 0x17;  // ACK, RST, SYN, FIN
    constexpr std::uint8_t kSyn = 0x02;
    constexpr std::uint8_t kNone = 0;
    load_transport(13, sizeof kFlags);
    add("bitwise", [&] {
      batch_.number(NFTA_BITWISE_SREG, NFT_REG_1);
      batch_.number(NFTA_BITWISE_DREG, NFT_REG_1);
      batch_.number(NFTA_BITWISE_LEN, sizeof kFlags);
      batch_.nest(NFTA_BITWISE_MASK, [&] { batch_.bytes(NFTA_DATA_VALUE, bytes_of(kFlags)); });
      batch_.nest(NFTA_BITWISE_XOR, [&] { batch_.bytes(NFTA_DATA_VALUE, bytes_of(kNone)); });
    });
    compare(NFT_CMP_EQ, kSyn);
  }
  void is_a_chosen_port() {
    load_transport(2, sizeof(std::uint16_t));
    add("lookup", [&] {
      batch_.text(NFTA_LOOKUP_SET, kSet);
      batch_.number(NFTA_LOOKUP_SREG, NFT_REG_1);
      batch_.number(NFTA_LOOKUP_SET_ID, kSetId);
    });
  }
  void redirect_to(std::uint16_t port) {
    add("immediate", [&] {
      batch_.number(NFTA_IMMEDIATE_DREG, NFT_REG_1);
      batch_.nest(NFTA_IMMEDIATE_DATA,
                  [&] { batch_.bytes(NFTA_DATA_VALUE, bytes_of(htons(port))); });
    });
    add("redir", [&] {
      batch_.number(NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
      batch_.number(NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
    });
  }

 private:
  void load_transport(std::uint32_t offset, std::uint32_t length) {
    add("payload", [&] {
      batch_.number(NFTA_PAYLOAD_DREG, NFT_REG_1);
      batch_.number(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
      batch_.number(NFTA_PAYLOAD_OFFSET, offset);
      batch_.number(NFTA_PAYLOAD_LEN, length);
    });
  }
  template <class Content>
  void add(const char* name, Content content) {
    batch_.nest(NFTA_LIST_ELEM, [&] {
      batch_.text(NFTA_EXPR_NAME, name);
      batch_.nest(NFTA_EXPR_DATA, content);
    });
  }

  NetfilterBatch& batch_;
};

class Nftables final : public Redirector {
 public:
  Nftables(net::Loop& loop, Accepted accepted)
      : loop_(loop),
        accepted_(std::move(accepted)),
        listeners_(loop, [this](Fd socket, const sockaddr_storage& peer) {
          pass_on(std::move(socket), peer);
        }) {}
  ~Nftables() override { *alive_ = false; }

  Status start(TableOwner owner) {
    MIRRORD_CHECK_STATUS(listeners_.open());
    MIRRORD_TRY(socket, open_netfilter_socket());
    socket_ = std::move(socket);
    MIRRORD_TRY(name, hold_name(table_));
    name_ = std::move(name);
    remove_left_tables();
    if (owner == TableOwner::kGuard) {
      NetfilterBatch removal;
      add_removal(removal, table_);
      MIRRORD_TRY(guard, TableGuard::start(removal.finish()));
      guard_.emplace(std::move(guard));
    }
    // The look-up of the destination is a kernel module of its own, which may be missing.
    Status made = make_table(true);
    return made || made.error().sys == EPERM ? made : make_table(false);
  }

  void add_port(std::uint16_t port, Done done) override {
    answer(std::move(done), change_port(NFT_MSG_NEWSETELEM, NLM_F_CREATE, port));
  }
  void remove_port(std::uint16_t port, Done done) override {
    answer(std::move(done), change_port(NFT_MSG_DELSETELEM, 0, port));
  }

  Status exempt(int socket, const sockaddr_storage& /*destination*/) override {
    const RaisedNetAdmin raised;
    if (::setsockopt(socket, SOL_SOCKET, SO_MARK, &kMark, sizeof kMark) != 0)
      return fail_system("mark a connection to the target", errno);
    return {};
  }

  [[nodiscard]] std::string_view name() const override { return "nftables"; }

 private:
  static void add_removal(NetfilterBatch& batch, const std::string& table) {
    batch.message(NFT_MSG_DELTABLE, 0);
    batch.text(NFTA_TABLE_NAME, table);
  }

  // Of agents that were killed together with their guards. One that lives holds its table's name.
  void remove_left_tables() {
    const RaisedNetAdmin raised;
    for (const std::string& table : netfilter_tables(socket_.get())) {
      if (!table.starts_with(kTablePrefix) || !hold_name(table))
        continue;
      NetfilterBatch batch;
      add_removal(batch, table);
      (void)batch.commit(socket_.get(), "remove a table");  // another user's is not ours to remove
    }
  }

  Status make_table(bool looks_up) {
    NetfilterBatch batch;
    batch.message(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
    batch.text(NFTA_TABLE_NAME, table_);
    if (!guard_)
      batch.number(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);

    batch.message(NFT_MSG_NEWSET, NLM_F_CREATE);
    batch.text(NFTA_SET_TABLE, table_);
    batch.text(NFTA_SET_NAME, kSet);
    batch.number(NFTA_SET_ID, kSetId);
    batch.number(NFTA_SET_KEY_TYPE, kServiceType);
    batch.number(NFTA_SET_KEY_LEN, sizeof(std::uint16_t));

    add_chain(batch, "prerouting", NF_INET_PRE_ROUTING);
    add_chain(batch, "output", NF_INET_LOCAL_OUT);
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      if (listeners_.fd(family) < 0)
        continue;
      add_rule(batch, "prerouting", [&](Rule& rule) {
        if (looks_up)
          rule.is_for_this_host();
        finish(rule, family);
      });
      // What a program of the target sends to the target itself leaves by lo.
      add_rule(batch, "output", [&](Rule& rule) {
        rule.load(NFT_META_OIF);
        rule.compare(NFT_CMP_EQ, kLoopback);
        rule.load(NFT_META_MARK);
        rule.compare(NFT_CMP_NEQ, kMark);
        finish(rule, family);
      });
    }
    const RaisedNetAdmin raised;
    return batch.commit(socket_.get(), "make the nftables table " + table_);
  }

  void finish(Rule& rule, Family family) const {
    rule.load(NFT_META_NFPROTO);
    rule.compare(NFT_CMP_EQ,
                 static_cast<std::uint8_t>(family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6));
    rule.load(NFT_META_L4PROTO);
    rule.compare(NFT_CMP_EQ, static_cast<std::uint8_t>(IPPROTO_TCP));
    rule.is_a_first_packet();
    rule.is_a_chosen_port();
    rule.redirect_to(listeners_.port(family));
  }

  void add_chain(NetfilterBatch& batch, const char* name, std::uint32_t hook) const {
    batch.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    batch.text(NFTA_CHAIN_TABLE, table_);
    batch.text(NFTA_CHAIN_NAME, name);
    batch.text(NFTA_CHAIN_TYPE, "nat");
    batch.nest(NFTA_CHAIN_HOOK, [&] {
      batch.number(NFTA_HOOK_HOOKNUM, hook);
      batch.number(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(kPriority));
    });
  }

  template <class Content>
  void add_rule(NetfilterBatch& batch, const char* chain, Content content) const {
    batch.message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    batch.text(NFTA_RULE_TABLE, table_);
    batch.text(NFTA_RULE_CHAIN, chain);
    batch.nest(NFTA_RULE_EXPRESSIONS, [&] {
      Rule rule(batch);
      content(rule);
    });
  }

  Status change_port(int type, int flags, std::uint16_t port) {
    NetfilterBatch batch;
    batch.message(type, flags);
    batch.text(NFTA_SET_ELEM_LIST_TABLE, table_);
    batch.text(NFTA_SET_ELEM_LIST_SET, kSet);
    batch.nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
      batch.nest(NFTA_LIST_ELEM, [&] {
        batch.nest(NFTA_SET_ELEM_KEY, [&] { batch.bytes(NFTA_DATA_VALUE, bytes_of(htons(port))); });
      });
    });
    const RaisedNetAdmin raised;
    return batch.commit(socket_.get(), "change a port of the nftables table " + table_);
  }

  void pass_on(Fd socket, const sockaddr_storage& peer) {
    Redirected redirected{std::move(socket), peer, {}};
    const int level = peer.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    socklen_t size = peer.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    // Without an original destination it came to the listener's own port: nobody's business.
    if (::getsockopt(redirected.socket.get(), level, kOriginalDestination, &redirected.destination,
                     &size) == 0)
      accepted_(std::move(redirected));
  }

  void answer(Done done, Status status) {
    loop_.defer([done = std::move(done), status = std::move(status), alive = alive_]() mutable {
      if (*alive)
        done(std::move(status));
    });
  }

  net::Loop& loop_;
  Accepted accepted_;
  // Not of the process's number: agents of several containers, of which each counts for itself, meet here.
  const std::string table_ = kTablePrefix + net::random_hex(4);
  RedirectListeners listeners_;
  Fd name_;                          // that of the table
  Fd socket_;                        // owns the table, if nobody else does
  std::optional<TableGuard> guard_;  // removes it
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<std::unique_ptr<Redirector>> make_nftables(net::Loop& loop, Redirector::Accepted accepted,
                                                  TableOwner owner) {
  auto made = std::make_unique<Nftables>(loop, std::move(accepted));
  MIRRORD_CHECK_STATUS(made->start(owner));
  return made;
}

}  // namespace mirrord::agent
