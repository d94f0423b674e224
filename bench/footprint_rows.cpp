// bench/footprint_rows.cpp — sizes on disk, start-up of the executable, memory of the waiting roles.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "bench/options.h"
#include "bench/process.h"
#include "bench/relay.h"

namespace mirrord::bench {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  std::ranges::replace(text, '\0', ' ');
  return text;
}

// The process of the executable that plays a role: it says so in its arguments, the intproxy (a
// fork of `exec`) in its name.
pid_t find_role(const std::string& executable, const std::string& role) {
  const auto program = std::filesystem::canonical(executable);
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    const pid_t pid = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    std::error_code error;
    if (pid <= 0 || std::filesystem::read_symlink(entry.path() / "exe", error) != program) {
      continue;
    }
    const std::string first = text_of(entry.path() / "comm");
    const bool is_intproxy = first.starts_with("mirrord-intprox");
    if (role == "intproxy" ? is_intproxy
                           : !is_intproxy && text_of(entry.path() / "cmdline").contains(role)) {
      return pid;
    }
  }
  return -1;
}

// The intproxy's memory after all kinds of work on a session.
void measure_intproxy(const Options& options, Rows& rows) {
  const std::uint16_t port = free_port();
  const Background agent(
      {options.mirrord, "agent", "-l", std::to_string(port), "-t", "60", "targetless"},
      "agent ready");
  const std::string config = options.folder + "/footprint.json";
  std::ofstream(config) << "{\"feature\": {\"fs\": {\"mode\": \"write\", \"read_write\": [\"^"
                        << options.folder << "/\"]}, \"network\": {\"incoming\": \"off\"}}}\n";
  const auto source = make_source_server(256U << 20);
  const auto sink = make_sink_server();
  const auto echo = make_echo_server();
  const std::string probe = options.probe;
  const std::string& folder = options.folder;
  const std::string work = "(" + probe + " read " + folder + "/large 262144; " + probe + " write " +
                           folder + "/written 262144 256; " + probe + " list " + folder +
                           "/entries 10; " + probe + " small " + folder + "/small 100; " + probe +
                           " download 127.0.0.1 1 " + std::to_string(source->port()) + "; " +
                           probe + " upload 127.0.0.1 256 " + std::to_string(sink->port()) + "; " +
                           probe + " many 127.0.0.1 200 " + std::to_string(echo->port()) +
                           ") >/dev/null; echo finished; sleep 60";
  const Background session({options.mirrord, "exec", "-f", config, "--agent-address",
                            "127.0.0.1:" + std::to_string(port), "--", "/bin/sh", "-c", work},
                           "finished");
  const pid_t pid = find_role(options.mirrord, "intproxy");
  rows.push_back({"footprint", "intproxy resident, peak of all kinds of work", "allowed",
                  51 * 0.3 / 1.048576, peak_resident_mib(pid), "MiB", Kind::kTime, 1, ""});
}

}  // namespace

void measure_footprint(const Options& options, Rows& rows) {
  measure_intproxy(options, rows);
  const auto mib = [](const std::string& path) {
    return static_cast<double>(std::filesystem::file_size(path)) / 1048576;
  };
  rows.push_back({"footprint", "executable, all roles and the hook", "allowed", 6,
                  mib(options.mirrord), "MiB", Kind::kTime, 1, ""});
  const std::string extracted = options.folder + "/extracted";
  std::filesystem::create_directories(extracted);
  run_and_time_ms({options.mirrord, "extract", extracted});
  for (const auto& file : std::filesystem::directory_iterator(extracted)) {
    rows.push_back({"footprint", "the hook", "allowed", 400, mib(file.path()) * 1024, "KiB",
                    Kind::kTime, 1, ""});
  }
  const auto started_ms = [](const std::vector<std::string>& command) {
    std::vector<double> samples;
    for (int i = 0; i < 15; ++i) {
      samples.push_back(run_and_time_ms(command));
    }
    return median(std::move(samples));
  };
  const std::string small_config = options.folder + "/small.json";
  std::ofstream(small_config) << "{\"feature\": {\"network\": {\"incoming\": \"off\"}}}\n";
  rows.push_back({"footprint", "--version", "allowed", 7 * 0.3,
                  started_ms({options.mirrord, "--version"}), "ms", Kind::kTime, 1, ""});
  rows.push_back({"footprint", "verify-config of a small file", "allowed", 14 * 0.3,
                  started_ms({options.mirrord, "verify-config", small_config}), "ms", Kind::kTime,
                  1, ""});
  const Background session(
      {options.mirrord, "demo", "--", "/bin/sh", "-c", "echo started; sleep 60"}, "started");
  ::usleep(500'000);
  for (const char* role : {"intproxy", "agent"}) {
    const pid_t pid = find_role(options.mirrord, role);
    if (pid > 0) {
      // The original's 25 MB and 12.3 MB, times the share; below the 8 MiB of either.
      const double allowed = (std::string(role) == "intproxy" ? 25 * 0.3 : 12.3 * 0.4) / 1.048576;
      rows.push_back({"footprint", std::string(role) + " resident, idle", "allowed", allowed,
                      resident_mib(pid), "MiB", Kind::kTime, 1, ""});
    }
  }
}

}  // namespace mirrord::bench
