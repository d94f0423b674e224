// bench/options.h — what the benchmark runs on, shared by all groups of rows.
#pragma once

#include <string>
#include <vector>

#include "bench/measure.h"

namespace mirrord::bench {

struct Options {
  std::string mirrord;  // the executable under measurement
  std::string probe;    // the program that runs under it
  std::string folder;   // scratch files, remote and local
  int scale = 1;        // divides repetitions; 1 = full, 10 = quick
};

using Rows = std::vector<Row>;

// The agent alone, over its wire protocol, on loopback.
void measure_agent(const Options& options, Rows& rows);
// The hook when it has nothing to do.
void measure_bypass(const Options& options, Rows& rows);
// Program, hook, intproxy and agent together.
void measure_whole_path(const Options& options, Rows& rows);
// The same over a link with a delay: round trips and streams.
void measure_delayed_link(const Options& options, Rows& rows);
// Stolen and mirrored connections; takes root.
void measure_incoming(const Options& options, Rows& rows);
// Start-up, memory and sizes.
void measure_footprint(const Options& options, Rows& rows);

}  // namespace mirrord::bench
