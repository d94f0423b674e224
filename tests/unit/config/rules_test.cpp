// tests/unit/config/rules_test.cpp — decisions for paths and addresses, mapping, settings page.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>

#include "applets/config/filters.h"
#include "applets/config/path_mapping.h"
#include "applets/config/path_rules.h"
#include "applets/config/settings_file.h"

namespace mirrord::config {
namespace {

using local::Decision;

PathContext context() {
  PathContext context;
  context.home = "/home/me";
  context.working_directory = "/home/me/work";
  context.executables = {"/srv/app/server", "/srv/bin/script"};
  return context;
}

// "read/write" of a path: L local, R remote, N not found; `m` when a mapping applies.
std::string decide(const FileRules& files, const std::string& path) {
  const auto table = compile_paths(path_rules(files, context()), files.mode, LetterCase::kFold);
  if (!table)
    return table.error().what;
  const uint8_t outcome = evaluate_path(*table, path);
  constexpr char kLetters[] = {'L', 'R', 'N'};
  return std::string(1, kLetters[static_cast<int>(local::read_decision(outcome))]) +
         kLetters[static_cast<int>(local::write_decision(outcome))] +
         ((outcome & local::kOutcomeMap) != 0 ? "m" : "");
}

FileRules mode(FileMode mode) {
  FileRules files;
  files.mode = mode;
  return files;
}

TEST(PathDecisions, FourModesWithoutLists) {
  EXPECT_EQ(decide(mode(FileMode::kLocal), "/srv/data"), "LL");
  EXPECT_EQ(decide(mode(FileMode::kLocalWithOverrides), "/srv/data"), "LL");
  EXPECT_EQ(decide(mode(FileMode::kRead), "/srv/data"), "RL");
  EXPECT_EQ(decide(mode(FileMode::kWrite), "/srv/data"), "RR");
}

TEST(PathDecisions, UserListsInEveryMode) {
  struct Row {
    const char* path;
    const char* overrides;
    const char* read;
    const char* write;
  };
  const Row rows[] = {
      {"/srv/gone", "NN", "NN", "NN"},    {"/srv/both", "RR", "RR", "RR"},
      {"/srv/ro", "RL", "RL", "RL"},      {"/srv/here", "LL", "LL", "LL"},
      {"/srv/other", "LL", "RL", "RR"},   {"/srv/gone/both/ro", "NN", "NN", "NN"},
      {"/srv/here/ro", "RL", "RL", "RL"}, {"/srv/ro/both", "RR", "RR", "RR"},
      {"/etc/both", "RR", "RR", "RR"},    {"/etc/resolv.conf", "RL", "RL", "RL"},
      {"/etc/hosts", "RL", "RL", "RL"},   {"/etc/passwd", "LL", "LL", "LL"},
  };
  for (const Row& row : rows) {
    FileRules files;
    files.not_found = {"^/srv/gone"};
    files.read_write = {"both$"};
    files.read_only = {"/ro($|/)"};
    files.local = {"^/srv/here"};
    files.mode = FileMode::kLocalWithOverrides;
    EXPECT_EQ(decide(files, row.path), row.overrides) << row.path;
    files.mode = FileMode::kRead;
    EXPECT_EQ(decide(files, row.path), row.read) << row.path;
    files.mode = FileMode::kWrite;
    EXPECT_EQ(decide(files, row.path), row.write) << row.path;
    files.mode = FileMode::kLocal;
    EXPECT_EQ(decide(files, row.path), "LL") << row.path;
  }
}

TEST(PathDecisions, BuiltInLists) {
  const FileRules read = mode(FileMode::kRead);
  const std::pair<const char*, const char*> samples[] = {
      {"/etc/resolv.conf", "RL"},
      {"/etc/hostname", "RL"},
      {"/etc/ssl/certs", "RL"},
      {"/etc/ssl/certs/ca.pem", "RL"},
      {"/etc/ssl/certsx", "LL"},
      {"/ETC/HOSTS", "RL"},
      {"/home/me/.kube/config", "NN"},
      {"/home/me/.config/gcloud/x", "NN"},
      {"/home/me/.azure", "NN"},
      {"/home/me/.bashrc", "LL"},
      {"/srv/lib/x.so", "LL"},
      {"/srv/lib/x.so.1", "RL"},
      {"/srv/x.sh", "LL"},
      {"/srv/x.py", "LL"},
      {"/srv/app.js", "LL"},
      {"/srv/app.json", "RL"},
      {"/srv/x.jar", "LL"},
      {"/proc/self/maps", "LL"},
      {"/proc", "LL"},
      {"/process", "RL"},
      {"/usr/lib/x", "LL"},
      {"/opt/tool", "LL"},
      {"/dev/null", "LL"},
      {"/tmp/x", "LL"},
      {"/tmpx", "LL"},
      {"/run/x", "LL"},
      {"/var/run/secrets/token", "RL"},
      {"/var/tmp", "LL"},
      {"/", "LL"},
      {"/srv/node_modules/a/b.txt", "LL"},
      {"/srv/package.json", "LL"},
      {"/srv/.asdf/x", "LL"},
      {"/srv/.tool-versions", "LL"},
      {"/home/me/work/file", "LL"},
      {"/srv/app/server", "LL"},
      {"/srv/app/server2", "RL"},
      {"/srv/bin/script", "LL"},
      {"/Program Files/x", "LL"},
      {"/srv/data.csv", "RL"},
      {"/srv/clr-1-pipe-2", "LL"},
      {"/x/jvm.cfg", "LL"},
  };
  for (const auto& [path, expected] : samples)
    EXPECT_EQ(decide(read, path), expected) << path;
  EXPECT_EQ(decide(mode(FileMode::kWrite), "/etc/hosts"), "RL");
  EXPECT_EQ(decide(mode(FileMode::kWrite), "/home/me/.kube/config"), "NN");
  EXPECT_EQ(decide(mode(FileMode::kLocalWithOverrides), "/home/me/.kube/config"), "NN");
}

TEST(PathDecisions, AMappingIsMarkedBesideTheDecision) {
  FileRules files;
  files.mode = FileMode::kRead;
  files.mapping = {{"^/srv/old/", "/srv/new/"}};
  EXPECT_EQ(decide(files, "/srv/old/a"), "RLm");
  EXPECT_EQ(decide(files, "/srv/old"), "RL");
  files.local = {"^/srv/old"};
  EXPECT_EQ(decide(files, "/srv/old/a"), "LLm");
}

TEST(PathMapping, FirstRuleInTheFilesOrderRewritesOnce) {
  const auto mapping = PathMapping::create({{"^/a/(.*)", "/b/$1"},
                                            {"^/a/x", "/never"},
                                            {"(?<dir>/q)/w", "${dir}/e$$"},
                                            {"^/k(?=/v)", "/look"}});
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->map("/a/x/a/y"), "/b/x/a/y");
  EXPECT_EQ(mapping->map("/A/x"), "/b/x") << "letters fold";
  EXPECT_EQ(mapping->map("/p/q/w/q/w"), "/p/q/e$/q/w");
  EXPECT_EQ(mapping->map("/k/v"), "/look/v") << "look-around is allowed here";
  EXPECT_EQ(mapping->map("/none"), std::nullopt);
  EXPECT_FALSE(PathMapping::create({{"(", "x"}}).has_value());
}

Destination destination(const std::string& address, uint16_t port) {
  Destination to;
  if (!parse_address(address, to.family, to.address))
    to.name = address;
  to.port = port;
  to.protocol = local::FilterProtocol::kTcp;
  return to;
}

TEST(Filters, GrammarAndMatching) {
  struct Row {
    const char* filter;
    const char* address;
    uint16_t port;
    bool expected;
  };
  const Row rows[] = {
      {"tcp://1.2.3.4:80", "1.2.3.4", 80, true},
      {"tcp://1.2.3.4:80", "1.2.3.4", 81, false},
      {"TCP://1.2.3.4", "1.2.3.4", 81, true},
      {"udp://1.2.3.4", "1.2.3.4", 81, false},
      {"any://1.2.3.4", "1.2.3.4", 81, true},
      {"10.0.0.0/8", "10.9.9.9", 1, true},
      {"10.0.0.0/8", "11.0.0.0", 1, false},
      {"10.0.0.0/12:5", "10.15.0.1", 5, true},
      {"10.0.0.0/12:5", "10.16.0.1", 5, false},
      {":443", "9.9.9.9", 443, true},
      {":443", "9.9.9.9", 444, false},
      {"tcp://", "9.9.9.9", 1, true},
      {"", "9.9.9.9", 1, true},
      {"0.0.0.0:7", "9.9.9.9", 7, true},
      {"[fd00::]/8:80", "fd12::1", 80, true},
      {"[fd00::]/8", "fe80::1", 80, false},
      {"[::1]:80", "::1", 80, true},
      {"a.example", "A.Example", 1, true},
      {"a.example", "xa.example", 1, false},
      {"a.example:2", "a.example", 1, false},
  };
  for (const Row& row : rows) {
    const auto entry = parse_filter(row.filter, FilterGrammar::kOutgoing);
    ASSERT_TRUE(entry.has_value()) << row.filter;
    EXPECT_EQ(filter_matches(*entry, destination(row.address, row.port)), row.expected)
        << row.filter << " and " << row.address;
  }
  for (const char* wrong : {"http://a", "a b", "::1", "[::1", "[xyz]:1", "a:", "a:x", "a:65536",
                            "name/8", "/8", "1.2.3.4/x", "[::1]/129"})
    EXPECT_FALSE(parse_filter(wrong, FilterGrammar::kOutgoing).has_value()) << wrong;
  EXPECT_FALSE(parse_filter("", FilterGrammar::kDns).has_value());
  EXPECT_FALSE(parse_filter("tcp://a", FilterGrammar::kDns).has_value());
  EXPECT_TRUE(parse_filter("a.example:53", FilterGrammar::kDns).has_value());
}

template <class T>
std::vector<T> section(const std::vector<std::byte>& page, local::Section where) {
  std::vector<T> items(where.size / sizeof(T));
  std::memcpy(items.data(), page.data() + where.offset, items.size() * sizeof(T));
  return items;
}
std::string text(const std::vector<std::byte>& page, local::Section where) {
  const auto letters = section<char>(page, where);
  return {letters.begin(), letters.end()};
}

TEST(SettingsPage, HoldsEverySection) {
  ResolvedConfig config;
  config.network.outgoing_filter = {FilterSide::kRemote, {"a.example:80", "10.0.0.0/8"}};
  config.network.dns_filter = {FilterSide::kLocal, {"b.example"}};
  config.network.unix_streams = {"^/Run/x\\.sock$"};
  config.environment.unset = {"A", "B"};
  config.skip_processes = {"mine"};
  config.network.ipv6 = false;
  SettingsInput input;
  input.session_directory = "/tmp/s";
  input.hook_path = "/h.so";
  input.ignored_ports = "80, 8000-8100,x,9-1";
  input.environment = {"X=1"};
  const auto page = build_settings(config, input);
  ASSERT_TRUE(page.has_value());
  local::Settings settings;
  std::memcpy(&settings, page->data(), sizeof settings);
  EXPECT_EQ(settings.magic, local::kSettingsMagic);
  EXPECT_EQ(settings.size, page->size());
  EXPECT_EQ(text(*page, settings.socket_path), "/tmp/s/intproxy.sock");
  EXPECT_EQ(text(*page, settings.hook_path), "/h.so");
  EXPECT_EQ(text(*page, settings.unset), std::string("A\0B\0", 4));
  EXPECT_EQ(text(*page, settings.environment), std::string("X=1\0", 4));
  EXPECT_EQ(text(*page, settings.skip_processes).substr(0, 8), std::string("mine\0as\0", 8));
  EXPECT_NE(settings.flags & local::kFilterNeedsNames, 0U);
  EXPECT_NE(settings.flags & local::kOutgoingFilterRemote, 0U);
  EXPECT_EQ(settings.flags & local::kDnsFilterRemote, 0U);
  EXPECT_EQ(settings.flags & local::kIpv6, 0U);
  EXPECT_NE(settings.flags & local::kUnixStreams, 0U);
  const auto outgoing = section<local::FilterRule>(*page, settings.outgoing_filter);
  ASSERT_EQ(outgoing.size(), 2U);
  EXPECT_EQ(text(*page, settings.filter_names), std::string("a.example\0b.example\0", 20));
  EXPECT_EQ(section<local::FilterRule>(*page, settings.dns_filter)[0].name, 10U);
  const auto ports = section<local::PortRange>(*page, settings.ignored_ports);
  ASSERT_EQ(ports.size(), 2U);
  EXPECT_EQ(ports[1].first, 8000);
  EXPECT_EQ(ports[1].last, 8100);
  const auto sockets = section<std::byte>(*page, settings.unix_automaton);
  EXPECT_EQ(local::read_decision(evaluate_path(sockets, "/Run/x.sock")), Decision::kRemote);
  EXPECT_EQ(local::read_decision(evaluate_path(sockets, "/run/x.sock")), Decision::kLocal);
}

TEST(SettingsPage, AnEmptyRemoteListMakesEverythingLocal) {
  ResolvedConfig config;
  config.network.outgoing_filter = {FilterSide::kRemote, {}};
  const auto page = build_settings(config, {});
  ASSERT_TRUE(page.has_value());
  local::Settings settings;
  std::memcpy(&settings, page->data(), sizeof settings);
  EXPECT_NE(settings.flags & local::kOutgoingFilterRemote, 0U);
  EXPECT_EQ(section<local::FilterRule>(*page, settings.outgoing_filter).size(), 1U);
}

}  // namespace
}  // namespace mirrord::config
