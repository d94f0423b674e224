// bench/main.cpp — one command, one table: every figure next to its yardstick of the same run.
//
//   mirrord_bench MIRRORD PROBE [--only GROUP] [--quick]
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "bench/options.h"
#include "bench/process.h"

namespace mirrord::bench {
namespace {

void make_files(const Options& options) {
  namespace fs = std::filesystem;
  const fs::path folder = options.folder;
  fs::remove_all(folder);
  fs::create_directories(folder / "entries");
  fs::create_directories(folder / "thousand");
  const auto fill = [](const fs::path& path, std::size_t size) {
    std::ofstream file(path, std::ios::binary);
    std::string block(std::min<std::size_t>(size, 1 << 20), 'm');
    for (std::size_t done = 0; done < size; done += block.size()) {
      file.write(block.data(), static_cast<std::streamsize>(block.size()));
    }
  };
  fill(folder / "small", 200);
  fill(folder / "large", 256U << 20);
  fill(options.folder + "-local", 4096);
  for (int i = 0; i < 500; ++i) {
    fill(folder / "entries" / ("entry-" + std::to_string(i)), 0);
  }
  for (int i = 0; i < 1000; ++i) {
    fill(folder / "thousand" / ("entry-" + std::to_string(i)), 0);
  }
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
  return text;
}

// Markdown, so that the table can be put into a document as it is.
int print(const Rows& rows) {
  int missed = 0;
  std::printf(
      "| what | measured | yardstick, same run | ratio | rounds | allowed | | all processors |\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  for (const Row& row : rows) {
    const char* sign = row.kind == Kind::kTime ? "≤" : "≥";
    const std::string limit = row.limit > 0 ? std::string(sign) + " " + number(row.limit) : "";
    const std::string rounds =
        row.highest > 0 ? number(row.lowest) + "–" + number(row.highest) : "";
    const std::string beside = row.all_processors > 0 ? number(row.all_processors) : "";
    missed += row.is_met() ? 0 : 1;
    std::printf("| %s: %s | %s %s | %s %s (%s) | %s | %s | %s | %s | %s |\n", row.group.c_str(),
                row.name.c_str(), number(row.ours).c_str(), row.unit.c_str(),
                number(row.yardstick).c_str(), row.unit.c_str(), row.yardstick_name.c_str(),
                number(row.ratio()).c_str(), rounds.c_str(), limit.c_str(),
                row.is_met() ? "" : "**missed**", beside.c_str());
  }
  std::printf("\n%zu rows, %d missed\n", rows.size(), missed);
  return 0;
}

struct Group {
  const char* name;
  void (*measure)(const Options&, Rows&);
};

constexpr Group kGroups[] = {
    {"agent", measure_agent},       {"bypass", measure_bypass},
    {"path", measure_whole_path},   {"link", measure_delayed_link},
    {"incoming", measure_incoming}, {"footprint", measure_footprint},
};

int run(int argc, char** argv) {
  Options options;
  std::string_view only;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      options.scale = 10;
    } else if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
      only = argv[++i];
    } else if (options.mirrord.empty()) {
      options.mirrord = argv[i];
    } else {
      options.probe = argv[i];
    }
  }
  if (options.probe.empty()) {
    std::fprintf(stderr,
                 "usage: mirrord_bench MIRRORD PROBE [--only "
                 "agent|bypass|path|link|incoming|footprint] [--quick]\n");
    return 2;
  }
  // Not below /tmp: that is local by default, and what is remote must be so by configuration alone.
  options.folder = "/var/tmp/mirrord-bench-" + std::to_string(::getpid());
  make_files(options);
  ::setenv("MIRRORD_PROGRESS_MODE", "off", 1);
  Rows rows;
  for (const Group& group : kGroups) {
    if (only.empty() || only == group.name) {
      std::fprintf(stderr, "bench: %s …\n", group.name);
      group.measure(options, rows);
    }
  }
  std::filesystem::remove_all(options.folder);
  std::filesystem::remove(options.folder + "-local");
  return print(rows);
}

}  // namespace
}  // namespace mirrord::bench

int main(int argc, char** argv) {
  return mirrord::bench::run(argc, argv);
}
