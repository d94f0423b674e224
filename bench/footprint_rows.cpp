// bench/footprint_rows.cpp — sizes on disk, start-up of the executable, memory of the waiting roles.
#include <dirent.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "bench/options.h"
#include "bench/process.h"

namespace mirrord::bench {
namespace {

// The process whose command line has `mirrord` as its program and `role` as its argument or name.
pid_t find_role(const std::string& executable, const std::string& role) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    const pid_t pid = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    std::error_code error;
    if (pid <= 0 || std::filesystem::read_symlink(entry.path() / "exe", error) !=
                        std::filesystem::canonical(executable)) {
      continue;
    }
    std::array<char, 4096> text{};
    std::FILE* file = std::fopen((entry.path() / "cmdline").c_str(), "r");
    const std::size_t size =
        file != nullptr ? std::fread(text.data(), 1, text.size() - 1, file) : 0;
    if (file != nullptr) {
      std::fclose(file);
    }
    for (std::size_t i = 0; i + 1 < size; ++i) {
      text[i] = text[i] == 0 ? ' ' : text[i];
    }
    if (std::string(text.data()).find(role) != std::string::npos) {
      return pid;
    }
  }
  return -1;
}

}  // namespace

void measure_footprint(const Options& options, Rows& rows) {
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
  const Background session(
      {options.mirrord, "demo", "--", "/bin/sh", "-c", "echo started; sleep 60"}, "started");
  ::usleep(500'000);
  for (const char* role : {"intproxy", "agent"}) {
    const pid_t pid = find_role(options.mirrord, role);
    if (pid > 0) {
      rows.push_back({"footprint", std::string(role) + " resident, idle", "allowed", 8,
                      resident_mib(pid), "MiB", Kind::kTime, 1, ""});
    }
  }
}

}  // namespace mirrord::bench
