// tests/unit/net/dns_test.cpp — the resolver against scripted servers, with files of its own.
#include "net/dns.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "net/dns_config.h"
#include "tests/support/dns_server.h"
#include "tests/support/kernel.h"

namespace mirrord::net {
namespace {

using test::DnsQuestion;
using test::DnsReply;
using test::DnsServer;

class ResolverTest : public ::testing::Test {
 protected:
  ResolverTest() {
    char path[] = "/tmp/mirrord-dns-XXXXXX";
    root_ = ::mkdtemp(path);
    std::filesystem::create_directory(root_ + "/etc");
  }
  ~ResolverTest() override { std::filesystem::remove_all(root_); }

  void SetUp() override {
    if (!test::has_openat2())
      GTEST_SKIP() << "no openat2(2) here (qemu-user lacks it)";
  }

  void write(const char* name, const std::string& text) {
    const std::string path = root_ + "/etc/" + name;
    const std::string fresh = path + ".new";  // a new inode: the change is seen at once
    FILE* file = std::fopen(fresh.c_str(), "we");
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
    std::filesystem::rename(fresh, path);
  }
  void serve(const DnsServer& server, const std::string& more = {}) {
    write("resolv.conf", "nameserver " + server.resolv_conf_server() + "\n" + more);
  }

  Resolver& resolver() {
    if (!resolver_) {
      Fd root(::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      resolver_ = std::make_unique<Resolver>(loop_, std::move(root), overrides_);
    }
    return *resolver_;
  }

  DnsAnswer lookup(const std::string& name, DnsFamily family = DnsFamily::kBoth) {
    std::optional<DnsAnswer> result;
    resolver().lookup(name, family, [&](DnsAnswer answer) {
      result = std::move(answer);
      stop();
    });
    run_until([&] { return result.has_value(); });
    return std::move(*result);
  }
  // The addresses as text, in order, or the failure.
  std::string text_of(const std::string& name, DnsFamily family = DnsFamily::kBoth) {
    const DnsAnswer answer = lookup(name, family);
    if (!answer) {
      return "failure " + std::to_string(static_cast<int>(answer.error().kind)) + " " +
             std::to_string(answer.error().response_code) + answer.error().text;
    }
    std::string text;
    for (const DnsRecord& record : *answer) {
      text += (text.empty() ? "" : " ") + record.address.to_string();
    }
    return text;
  }

  // A stop before the loop runs would end the next run, so it is only for answers that come late.
  void stop() {
    if (is_running_) {
      loop_.stop();
    }
  }
  void run_until(std::function<bool()> is_done) {
    if (!is_done()) {
      is_running_ = true;
      loop_.run();
      is_running_ = false;
    }
    ASSERT_TRUE(is_done());
  }

  Loop loop_;
  bool is_running_ = false;
  Resolver::Overrides overrides_;
  std::unique_ptr<Resolver> resolver_;
  std::string root_;
};

DnsReply addresses(std::initializer_list<const char*> texts) {
  DnsReply reply;
  for (const char* text : texts) {
    reply.addresses.push_back(*IpAddress::parse(text));
  }
  return reply;
}

DnsReply failing(std::uint8_t code) {
  DnsReply reply;
  reply.code = code;
  return reply;
}

DnsReply dropped() {
  DnsReply reply;
  reply.is_dropped = true;
  return reply;
}

constexpr const char* kNoName = "failure 0 3";
constexpr const char* kNoData = "failure 0 0";
constexpr const char* kTimedOut = "failure 1 0";

TEST(ResolvConf, ReadsServersSearchAndOptions) {
  const DnsSettings settings = parse_resolv_conf(
      "# a comment\nnameserver 10.0.0.10\nnameserver fe80::1%eth0 # first\n;nameserver 9.9.9.9\n"
      "nameserver nonsense\ndomain gone.example\n"
      "search ns.svc.cluster.local svc.cluster.local. cluster.local\n"
      "options ndots:5 timeout:99 attempts:3 rotate use-vc edns0 unknown:7");
  EXPECT_EQ(settings.servers, (std::vector<std::string>{"10.0.0.10", "fe80::1%eth0"}));
  EXPECT_EQ(settings.search, (std::vector<std::string>{"ns.svc.cluster.local", "svc.cluster.local",
                                                       "cluster.local"}));
  EXPECT_EQ(settings.ndots, 5);
  EXPECT_EQ(settings.timeout, std::chrono::seconds(30));
  EXPECT_EQ(settings.attempts, 3);
  EXPECT_TRUE(settings.rotate && settings.use_tcp && settings.edns0);
}

TEST(ResolvConf, AnEmptyFileMeansTheServerOnThisMachine) {
  EXPECT_EQ(parse_resolv_conf("").servers, std::vector<std::string>{"127.0.0.1"});
}

TEST(ResolvConf, OrdersCandidatesByTheNumberOfDots) {
  DnsSettings settings;
  settings.search = {"a.example", "b.example"};
  settings.ndots = 2;
  using Names = std::vector<std::string>;
  EXPECT_EQ(search_candidates(settings, "web"), (Names{"web.a.example", "web.b.example", "web"}));
  EXPECT_EQ(search_candidates(settings, "a.b.c"),
            (Names{"a.b.c", "a.b.c.a.example", "a.b.c.b.example"}));
  EXPECT_EQ(search_candidates(settings, "web."), (Names{"web"}));
}

TEST(DnsNames, RefusesWhatCannotBeAsked) {
  EXPECT_TRUE(is_askable("_http._tcp.example.com."));
  EXPECT_TRUE(is_askable(std::string(63, 'a') + ".com"));
  for (const std::string& name :
       {std::string(), std::string("."), std::string("a..b"), std::string(64, 'a'),
        std::string("a b"), std::string("a\0b", 3), std::string(254, 'a'), std::string("a..")}) {
    EXPECT_FALSE(is_askable(name)) << name;
  }
  EXPECT_EQ(reverse_name(*IpAddress::parse("1.2.3.4")), "4.3.2.1.in-addr.arpa");
  EXPECT_EQ(reverse_name(*IpAddress::parse("2001:db8::1")),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

TEST_F(ResolverTest, LiteralsAndLocalhostNeedNeitherFilesNorServers) {
  EXPECT_EQ(text_of("10.1.2.3"), "10.1.2.3");
  EXPECT_EQ(text_of("2001:db8::7"), "2001:db8::7");
  EXPECT_EQ(text_of("10.1.2.3", DnsFamily::kIpv6), kNoData);
  EXPECT_EQ(text_of("localhost"), "127.0.0.1 ::1");
  EXPECT_EQ(text_of("LocalHost."), "127.0.0.1 ::1");
  EXPECT_EQ(text_of("db.localhost", DnsFamily::kIpv6), "::1");
  EXPECT_EQ(text_of("localhost", DnsFamily::kAny), "127.0.0.1");
}

TEST_F(ResolverTest, TheHostsFileComesFirst) {
  DnsServer server([](const DnsQuestion&) { return addresses({"9.9.9.9"}); });
  ASSERT_TRUE(server.is_up());
  serve(server);
  write("hosts",
        "10.0.0.1 db.example db # primary\nfd00::1 db\n10.0.0.2\tdb\n127.0.0.5 localhost\n");
  EXPECT_EQ(text_of("DB"), "10.0.0.1 10.0.0.2 fd00::1");
  EXPECT_EQ(lookup("db")->front().name, "db.example");
  EXPECT_EQ(text_of("db", DnsFamily::kIpv6), "fd00::1");
  EXPECT_EQ(text_of("localhost", DnsFamily::kIpv4), "127.0.0.5");
  EXPECT_TRUE(server.questions().empty());
  EXPECT_EQ(text_of("other", DnsFamily::kIpv4), "9.9.9.9");
}

TEST_F(ResolverTest, AMissingHostsFileDoesNotMatter) {
  DnsServer server([](const DnsQuestion&) { return addresses({"10.5.5.5", "fd00::5"}); });
  serve(server);
  EXPECT_EQ(text_of("web.example"), "10.5.5.5 fd00::5");
}

TEST_F(ResolverTest, FilesAreReadAgainWhenTheyChange) {
  DnsServer first([](const DnsQuestion&) { return addresses({"10.0.0.1"}); });
  DnsServer second([](const DnsQuestion&) { return addresses({"10.0.0.2"}); });
  serve(first);
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), "10.0.0.1");
  serve(second);
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), "10.0.0.2");
  write("hosts", "10.0.0.3 web.example\n");
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), "10.0.0.3");
  std::filesystem::remove(root_ + "/etc/hosts");
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), "10.0.0.2");
}

TEST_F(ResolverTest, SearchDomainsAreTriedInOrder) {
  DnsServer server([](const DnsQuestion& question) {
    return question.name == "web.second.example" ? addresses({"10.2.2.2"}) : failing(3);
  });
  serve(server, "search first.example second.example\noptions ndots:3\n");
  const DnsAnswer answer = lookup("web", DnsFamily::kIpv4);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->front(), (DnsRecord{"web.second.example", *IpAddress::parse("10.2.2.2")}));
  std::vector<std::string> asked;
  for (const DnsQuestion& question : server.questions()) {
    asked.push_back(question.name);
  }
  EXPECT_EQ(asked, (std::vector<std::string>{"web.first.example", "web.second.example"}));
}

TEST_F(ResolverTest, FamiliesAskForTheRightTypes) {
  DnsServer server([](const DnsQuestion& question) {
    if (question.name == "six.example" && question.type == test::kTypeA) {
      return DnsReply{};
    }
    return addresses({"10.1.1.1", "fd00::1"});
  });
  serve(server);
  EXPECT_EQ(text_of("a.example", DnsFamily::kIpv4), "10.1.1.1");
  EXPECT_EQ(text_of("b.example", DnsFamily::kIpv6), "fd00::1");
  EXPECT_EQ(text_of("c.example", DnsFamily::kAny), "10.1.1.1");
  EXPECT_EQ(text_of("six.example", DnsFamily::kAny), "fd00::1");
  std::multiset<std::string> asked;
  for (const DnsQuestion& question : server.questions()) {
    asked.insert(question.name + (question.type == test::kTypeA ? " A" : " AAAA"));
  }
  EXPECT_EQ(asked, (std::multiset<std::string>{"a.example A", "b.example AAAA", "c.example A",
                                               "six.example A", "six.example AAAA"}));
}

TEST_F(ResolverTest, FollowsAnAliasAndNamesTheOwner) {
  DnsServer server([](const DnsQuestion&) {
    DnsReply reply = addresses({"10.3.3.3"});
    reply.pointer = "real.example";
    return reply;
  });
  serve(server);
  const DnsAnswer answer = lookup("alias.example", DnsFamily::kIpv4);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->front().name, "real.example");
}

TEST_F(ResolverTest, TellsFailuresApart) {
  DnsServer server([](const DnsQuestion& question) {
    if (question.name == "empty.example") {
      return DnsReply{};
    }
    return failing(question.name == "broken.example" ? 2 : 3);
  });
  serve(server);
  EXPECT_EQ(text_of("nowhere.example"), kNoName);
  EXPECT_EQ(text_of("empty.example"), kNoData);
  EXPECT_EQ(text_of("bad name"), kNoName);
  const DnsAnswer broken = lookup("broken.example", DnsFamily::kIpv4);
  ASSERT_FALSE(broken.has_value());
  EXPECT_EQ(broken.error().kind, DnsFailure::Kind::kServer);
  EXPECT_FALSE(broken.error().text.empty());
}

TEST_F(ResolverTest, NobodyListeningIsNoConnection) {
  write("resolv.conf", "nameserver [127.0.0.1]:1\noptions timeout:1 attempts:1\n");
  const DnsAnswer answer = lookup("web.example", DnsFamily::kIpv4);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, DnsFailure::Kind::kNoConnections);
}

TEST_F(ResolverTest, ASilentServerEndsWithATimeout) {
  DnsServer server([](const DnsQuestion&) { return dropped(); });
  serve(server, "options timeout:30 attempts:5\n");
  overrides_ = {.timeout = std::chrono::seconds(1), .attempts = 1};
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), kTimedOut);
}

TEST_F(ResolverTest, ALostPacketIsAskedForAgain) {
  int seen = 0;
  DnsServer server(
      [&](const DnsQuestion&) { return ++seen == 1 ? dropped() : addresses({"10.4.4.4"}); });
  serve(server, "options timeout:1 attempts:2\n");
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), "10.4.4.4");
}

TEST_F(ResolverTest, ADeadServerIsPassedOver) {
  DnsServer silent([](const DnsQuestion&) { return dropped(); });
  DnsServer alive([](const DnsQuestion&) { return addresses({"10.6.6.6"}); }, "::1");
  ASSERT_TRUE(alive.is_up());
  write("resolv.conf", "nameserver [127.0.0.1]:1\nnameserver " + silent.resolv_conf_server() +
                           "\nnameserver " + alive.resolv_conf_server() + "\noptions timeout:1\n");
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), "10.6.6.6");
}

TEST_F(ResolverTest, ATruncatedAnswerIsFetchedOverTcp) {
  DnsServer server([](const DnsQuestion& question) {
    DnsReply reply = addresses({"10.7.7.7"});
    reply.is_truncated = !question.is_tcp;
    return reply;
  });
  serve(server);
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), "10.7.7.7");
  EXPECT_TRUE(server.questions().back().is_tcp);
}

TEST_F(ResolverTest, ManyLookUpsRunAtTheSameTime) {
  DnsServer server([](const DnsQuestion&) { return addresses({"10.8.8.8"}); });
  serve(server);
  int waiting = 150;
  int good = 0;
  for (int i = 0; i < 150; ++i) {
    resolver().lookup("host" + std::to_string(i) + ".example", DnsFamily::kIpv4,
                      [&](DnsAnswer answer) {
                        good += answer.has_value() ? 1 : 0;
                        if (--waiting == 0) {
                          stop();
                        }
                      });
  }
  run_until([&] { return waiting == 0; });
  EXPECT_EQ(good, 150);
}

TEST_F(ResolverTest, ReverseLookUpsUseHostsThenTheServer) {
  DnsServer server([](const DnsQuestion& question) {
    DnsReply reply;
    reply.code = question.name == "9.0.0.10.in-addr.arpa" ? 0 : 3;
    reply.pointer = reply.code == 0 ? "nine.example" : "";
    return reply;
  });
  serve(server);
  write("hosts", "10.0.0.1 one.example one\n");
  const auto reverse = [&](const char* address) {
    std::optional<DnsNameAnswer> result;
    resolver().reverse(*IpAddress::parse(address), [&](DnsNameAnswer answer) {
      result = std::move(answer);
      stop();
    });
    run_until([&] { return result.has_value(); });
    return *result;
  };
  EXPECT_EQ(reverse("10.0.0.1"), "one.example");
  EXPECT_EQ(reverse("10.0.0.9"), "nine.example");
  EXPECT_FALSE(reverse("10.0.0.8").has_value());
}

TEST_F(ResolverTest, EndingItDropsLookUpsUnderWay) {
  DnsServer server([](const DnsQuestion&) { return dropped(); });
  serve(server);
  bool was_called = false;
  resolver().lookup("web.example", DnsFamily::kBoth, [&](DnsAnswer) { was_called = true; });
  resolver_.reset();
  loop_.run();  // nothing is left to wait for
  EXPECT_FALSE(was_called);
}

TEST_F(ResolverTest, LinksDoNotLeaveTheRoot) {
  DnsServer server([](const DnsQuestion&) { return addresses({"10.9.9.9"}); });
  write("resolv.real", "nameserver " + server.resolv_conf_server() + "\n");
  std::filesystem::create_symlink("/etc/resolv.real", root_ + "/etc/resolv.conf");
  EXPECT_EQ(text_of("web.example", DnsFamily::kIpv4), "10.9.9.9");
}

}  // namespace
}  // namespace mirrord::net
