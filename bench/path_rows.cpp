// bench/path_rows.cpp — program, hook, intproxy and agent together, against the same program bare.
//
// Limits: the original's figure divided by its own direct figure (reference measurements), times
// the share of it that ours may take.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "bench/options.h"
#include "bench/process.h"
#include "bench/relay.h"
#include "bench/wire_client.h"

namespace mirrord::bench {
namespace {

using Words = std::vector<std::string>;

// A running agent that `exec` connects to, optionally through a relay.
class Path {
 public:
  Path(const Options& options, std::chrono::microseconds delay, bool ignore_localhost = false)
      : options_(options),
        ignore_localhost_(ignore_localhost),
        agent_port_(free_port()),
        agent_(
            {options.mirrord, "agent", "-l", std::to_string(agent_port_), "-t", "60", "targetless"},
            "agent ready"),
        holder_(agent_port_, "1.29.0"),
        delay_(delay) {
    if (delay.count() > 0) {
      relay_ = make_delay_relay(agent_port_, delay);
    }
    write_config();
  }

  // `mirrord exec … -- words`
  Words wrapped(Words words) const {
    Words command = {options_.mirrord,
                     "exec",
                     "-f",
                     config_,
                     "--agent-address",
                     "127.0.0.1:" + std::to_string(port()),
                     "--"};
    command.insert(command.end(), words.begin(), words.end());
    return command;
  }
  double measure(const Words& words, const std::string& value) const {
    const Values values = run_and_read(wrapped(words));
    const auto found = values.find(value);
    return found == values.end() ? 0 : found->second;
  }
  // Round trip of one byte on the same link, in microseconds.
  double round_trip_us() const {
    const auto echo = make_echo_server();
    const auto relay = delay_.count() > 0 ? make_delay_relay(echo->port(), delay_) : nullptr;
    const int fd = connect_to(relay ? relay->port() : echo->port());
    const double us = p50_us(200, [&] {
      char byte = 'x';
      write_all(fd, &byte, 1);
      read_exactly(fd, &byte, 1);
    });
    ::close(fd);
    return us;
  }
  std::uint16_t port() const { return relay_ ? relay_->port() : agent_port_; }

 private:
  void write_config() {
    config_ = options_.folder + "/mirrord.json";
    std::FILE* file = std::fopen(config_.c_str(), "w");
    std::fprintf(file,
                 "{\"feature\": {\"fs\": {\"mode\": \"write\", \"read_write\": [\"^%s/\"]}, "
                 "\"network\": {\"incoming\": \"off\", "
                 "\"outgoing\": {\"ignore_localhost\": %s}}}}\n",
                 options_.folder.c_str(), ignore_localhost_ ? "true" : "false");
    std::fclose(file);
  }

  const Options& options_;
  bool ignore_localhost_;
  std::uint16_t agent_port_;
  Background agent_;
  WireClient holder_;
  std::chrono::microseconds delay_;
  std::unique_ptr<Server> relay_;
  std::string config_;
};

struct Case {
  const char* name;
  Words words;  // the probe's arguments
  const char* value;
  Kind kind;
  double direct_there, original_there, share;
  const char* unit;
  int count = 0;  // of samples, for times
};

constexpr int kRateRounds = 5;

Words probe_words(const Options& options, const Words& arguments) {
  Words words = {options.probe};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

// The program bare, or with other arguments, against the program under `exec`: reply times sample by
// sample in turn, rates run by run.
Paired measure_against(const Options& options, const Path& path, const Words& bare,
                       const Words& ours, const char* value, Kind kind, int count) {
  if (kind == Kind::kTime && count > 0) {
    const auto paced = [](Words words) {
      words.insert(words.begin() + 1, "paced");
      return words;
    };
    PacedProbe yardstick(paced(probe_words(options, bare)));
    PacedProbe measured(path.wrapped(paced(probe_words(options, ours))));
    return measure_paired(
        std::max(count / options.scale, 160), [&] { return yardstick.sample_us(); },
        [&] { return measured.sample_us(); });
  }
  return measure_rounds(
      kRateRounds, [&] { return run_and_read(probe_words(options, bare))[value]; },
      [&] { return path.measure(probe_words(options, ours), value); });
}

void add_case(const Options& options, const Path& path, const Case& item, Rows& rows) {
  Row row{"whole path",
          item.name,
          "the program bare",
          0,
          0,
          item.unit,
          item.kind,
          item.original_there / item.direct_there * item.share,
          "original " + std::to_string(static_cast<int>(item.original_there)) + " there"};
  row.set(
      measure_against(options, path, item.words, item.words, item.value, item.kind, item.count));
  rows.push_back(std::move(row));
}

std::string times(const Options& options, int full) {
  return std::to_string(std::max(full / options.scale, 10));
}

// A name of this machine's hosts file that is not localhost: answered by the agent alone.
std::string name_in_hosts() {
  std::FILE* file = std::fopen("/etc/hosts", "r");
  char line[512];
  char address[128];
  char name[128];
  std::string found;
  while (file != nullptr && std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "%127s %127s", address, name) == 2 && address[0] != '#' &&
        std::string(name) != "localhost") {
      found = name;
      break;
    }
  }
  if (file != nullptr) {
    std::fclose(file);
  }
  return found;
}

// Rates of reading. The program bare reads the page cache, four times as fast here as where the
// original was measured, while a plain TCP stream runs at the same speed: that is the yardstick.
void measure_reading(const Options& options, const Path& path, Rows& rows) {
  constexpr double kStreamThere = 3807;  // MiB/s
  const auto source = make_source_server(256U << 20);
  struct Reading {
    const char* name;
    const char* chunk;
    double original_there, share;
  };
  for (const Reading& item : {Reading{"reading 256 MiB by 4 KiB", "4096", 52, 15},
                              Reading{"reading 256 MiB by 64 KiB", "65536", 245, 4},
                              Reading{"reading 256 MiB by 1 MiB", "1048576", 269, 4}}) {
    Row row{"whole path",
            item.name,
            "plain TCP stream",
            0,
            0,
            "MiB/s",
            Kind::kRate,
            item.original_there / kStreamThere * item.share,
            "original " + std::to_string(static_cast<int>(item.original_there)) + " there"};
    row.set(measure_rounds(
        kRateRounds,
        [&] {
          return run_and_read({options.probe, "download", "127.0.0.1", "1",
                               std::to_string(source->port())})["download_mib_s"];
        },
        [&] {
          return path.measure({options.probe, "read", options.folder + "/large", item.chunk},
                              "read_mib_s");
        }));
    rows.push_back(std::move(row));
  }
}

void measure_files(const Options& options, const Path& path, Rows& rows) {
  const std::string& folder = options.folder;
  const Case cases[] = {
      {"open + read + close of 200 B",
       {"small", folder + "/small", "1"},
       "p50_us",
       Kind::kTime,
       1.9,
       237,
       0.3,
       "µs",
       2000},
      {"stat", {"stat", folder + "/small", "1"}, "p50_us", Kind::kTime, 0.9, 118, 0.4, "µs", 5000},
      {"open of a missing file",
       {"missing", folder + "/none", "1"},
       "p50_us",
       Kind::kTime,
       1.0,
       115,
       0.4,
       "µs",
       5000},
      {"listing of 500 entries",
       {"list", folder + "/entries", "1"},
       "p50_us",
       Kind::kTime,
       156,
       31900,
       0.05,
       "µs",
       300},
      {"getaddrinfo of localhost",
       {"resolve", "localhost", "1"},
       "p50_us",
       Kind::kTime,
       6,
       306,
       0.3,
       "µs",
       1000},
  };
  for (const Case& item : cases) {
    add_case(options, path, item, rows);
  }
}

// Against a chain with the same number of hops and nothing in them but copying.
void against_chain(const Options& options, const Path& path, Rows& rows, std::uint16_t target,
                   const Words& words, Row row, const char* value, int count = 0) {
  const auto second = make_plain_relay(target);
  const auto first = make_plain_relay(second->port());
  Words bare = words;
  bare.push_back(std::to_string(first->port()));
  Words ours = words;
  ours.push_back(std::to_string(target));
  row.yardstick_name = "two plain TCP relays";
  row.set(measure_against(options, path, bare, ours, value, row.kind, count));
  rows.push_back(std::move(row));
}

void measure_replies(const Options& options, const Path& path, Rows& rows) {
  const auto echo = make_echo_server();
  const std::string host = "127.0.0.1";
  const std::string echo_port = std::to_string(echo->port());
  const Case cases[] = {
      {"connect + first echo",
       {"connect-echo", host, "1", echo_port},
       "p50_us",
       Kind::kTime,
       68,
       620,
       0.5,
       "µs",
       500},
      {"echo of 64 B on an open connection",
       {"echo", host, "1", echo_port},
       "p50_us",
       Kind::kTime,
       26,
       165,
       0.5,
       "µs",
       5000},
  };
  for (const Case& item : cases) {
    add_case(options, path, item, rows);
  }
  against_chain(options, path, rows, echo->port(), {"echo", host, "1"},
                {"whole path", "echo of 64 B", "", 0, 0, "µs", Kind::kTime, 1.5, ""}, "p50_us",
                5000);
  against_chain(
      options, path, rows, echo->port(), {"many", host, "1000"},
      {"whole path", "1,000 connections, each one echo", "", 0, 0, "ms", Kind::kTime, 1.5, ""},
      "many_ms");
}

void measure_streams(const Options& options, const Path& path, Rows& rows) {
  const auto source = make_source_server(256U << 20);
  const auto sink = make_sink_server();
  const std::string host = "127.0.0.1";
  const Case cases[] = {
      {"download of 256 MiB",
       {"download", host, "1", std::to_string(source->port())},
       "download_mib_s",
       Kind::kRate,
       5700,
       708,
       2,
       "MiB/s"},
      {"upload of 256 MiB",
       {"upload", host, "256", std::to_string(sink->port())},
       "upload_mib_s",
       Kind::kRate,
       3200,
       742,
       2,
       "MiB/s"},
  };
  for (const Case& item : cases) {
    add_case(options, path, item, rows);
  }
  against_chain(options, path, rows, source->port(), {"download", host, "1"},
                {"whole path", "download of 256 MiB", "", 0, 0, "MiB/s", Kind::kRate, 0.8, ""},
                "download_mib_s");
  against_chain(options, path, rows, sink->port(), {"upload", host, "256"},
                {"whole path", "upload of 256 MiB", "", 0, 0, "MiB/s", Kind::kRate, 0.8, ""},
                "upload_mib_s");
}

// Round trips of an operation: its extra time on a slower link, in units of that link's round trip.
double round_trips(const Path& fast, const Path& slow, const Words& words) {
  const double extra = slow.measure(words, "p50_us") - fast.measure(words, "p50_us");
  return extra / (slow.round_trip_us() - fast.round_trip_us());
}

}  // namespace

void measure_bypass(const Options& options, Rows& rows) {
  const Path path(options, std::chrono::microseconds(0), true);
  const std::string local = options.folder + "-local";
  const Words words = {options.probe, "cheap", local, std::to_string(200000 / options.scale)};
  const Values bare = run_and_read(words);
  const Values hooked = run_and_read(path.wrapped(words));
  for (const char* name : {"open_close_ns", "stat_ns", "read_ns", "close_ns", "connect_ns"}) {
    // The limit is 150 ns on top of the bare call (two calls are timed together in the first and third).
    const double base = bare.at(name);
    const bool is_pair = std::string(name) == "open_close_ns" || std::string(name) == "read_ns";
    rows.push_back({"bypassed", name, "the bare call", base, hooked.at(name), "ns", Kind::kTime,
                    (base + (is_pair ? 300 : 150)) / base, ""});
  }
}

void measure_whole_path(const Options& options, Rows& rows) {
  const auto measure_times = [&](Rows& into) {
    const Path path(options, std::chrono::microseconds(0));
    measure_files(options, path, into);
    measure_replies(options, path, into);
  };
  Rows judged;
  {
    const OneProcessor pinned;
    measure_times(judged);
  }
  Rows beside;
  measure_times(beside);
  show_beside(judged, beside);
  rows.insert(rows.end(), judged.begin(), judged.end());
  const Path path(options, std::chrono::microseconds(0));
  measure_reading(options, path, rows);
  measure_streams(options, path, rows);
  const double bare = [&] {
    std::vector<double> samples;
    for (int i = 0; i < 21; ++i) {
      samples.push_back(run_and_time_ms({"/bin/true"}));
    }
    return median(samples);
  }();
  std::vector<double> samples;
  for (int i = 0; i < std::max(21 / options.scale, 5); ++i) {
    samples.push_back(run_and_time_ms(path.wrapped({"/bin/true"})));
  }
  const double ours = median(samples);
  rows.push_back({"whole path", "exec /bin/true, added", "allowed", 14, ours - bare, "ms",
                  Kind::kTime, 1, ""});
  const std::string loop = "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done";
  const double bare_loop = run_and_time_ms({"/bin/sh", "-c", loop});
  const double our_loop = run_and_time_ms(path.wrapped({"/bin/sh", "-c", loop})) - (ours - bare);
  rows.push_back({"whole path", "each further process, added", "allowed", 2,
                  (our_loop - bare_loop) / 100, "ms", Kind::kTime, 1, ""});
}

namespace {

void measure_round_trips(const Options& options, Rows& rows) {
  const OneProcessor pinned;
  const Path fast(options, std::chrono::microseconds(0));
  const Path slow(options, std::chrono::microseconds(500));
  const std::string& folder = options.folder;
  const auto trips = [&](const char* name, const Words& words, double limit) {
    Words command = {options.probe};
    command.insert(command.end(), words.begin(), words.end());
    rows.push_back({"1 ms link", name, "round trip", 1, round_trips(fast, slow, command), "trips",
                    Kind::kTime, limit, ""});
  };
  trips("open + fstat + read + close", {"small", folder + "/small", times(options, 300)}, 1.2);
  trips("ls -l of 1,000 entries", {"list-long", folder + "/thousand", "10"}, 6);
  const std::string name = name_in_hosts();
  if (!name.empty()) {
    const double lookup =
        slow.measure({options.probe, "resolve", name, times(options, 300)}, "p50_us");
    rows.push_back({"1 ms link", "DNS answer", "round trip + 100 µs", slow.round_trip_us() + 100,
                    lookup, "µs", Kind::kTime, 1, ""});
  }
}

}  // namespace

void measure_delayed_link(const Options& options, Rows& rows) {
  measure_round_trips(options, rows);
  const Path fast(options, std::chrono::microseconds(0));
  const Path slow(options, std::chrono::microseconds(500));
  const std::string& folder = options.folder;
  constexpr std::uint64_t kBytes = 256U << 20;
  const auto source = make_source_server(kBytes);
  const auto sink = make_sink_server();
  const auto relay_down = make_delay_relay(source->port(), std::chrono::microseconds(500));
  const auto relay_up = make_delay_relay(sink->port(), std::chrono::microseconds(500));
  const auto add = [&](const char* group, const char* name, const char* yardstick_name,
                       const Path& path, const Words& plain, const char* plain_value,
                       const Words& ours, const char* value, double limit) {
    Row row{group, name, yardstick_name, 0, 0, "MiB/s", Kind::kRate, limit, ""};
    row.set(measure_rounds(
        kRateRounds, [&] { return run_and_read(probe_words(options, plain))[plain_value]; },
        [&] { return path.measure(probe_words(options, ours), value); }));
    rows.push_back(std::move(row));
  };
  const auto download = [](const Server& server) {
    return Words{"download", "127.0.0.1", "1", std::to_string(server.port())};
  };
  const auto upload = [](const Server& server) {
    return Words{"upload", "127.0.0.1", "256", std::to_string(server.port())};
  };
  const Words read = {"read", folder + "/large", "262144"};
  const Words write = {"write", folder + "/written", "262144", "256"};
  const char* same_link = "plain TCP stream, same link";
  const char* plain = "plain TCP stream";
  add("1 ms link", "reading 256 MiB", same_link, slow, download(*relay_down), "download_mib_s",
      read, "read_mib_s", 0.8);
  add("1 ms link", "writing 256 MiB", same_link, slow, upload(*relay_up), "upload_mib_s", write,
      "write_mib_s", 0.8);
  add("loopback", "reading 256 MiB", plain, fast, download(*source), "download_mib_s", read,
      "read_mib_s", 0.4);
  add("loopback", "writing 256 MiB", plain, fast, upload(*sink), "upload_mib_s", write,
      "write_mib_s", 0.4);
}

}  // namespace mirrord::bench
