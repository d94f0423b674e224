// applets/latency.cpp — measures with the monotonic clock, one round trip at a time.
#include "applets/latency.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>

namespace mirrord {

std::optional<double> round_trip_ms(net::Loop& loop, intproxy::AgentLink& link,
                                    const std::function<bool()>& is_over) {
  using Clock = std::chrono::steady_clock;
  const auto end = std::make_shared<std::optional<Clock::time_point>>();
  const Clock::time_point begin = Clock::now();
  link.ping([end, &loop] {
    *end = Clock::now();
    loop.stop();
  });
  while (!*end && !is_over() && link.is_ready() && !link.is_lost()) {
    loop.run();
  }
  return *end ? std::optional(std::chrono::duration<double, std::milli>(**end - begin).count())
              : std::nullopt;
}

std::string latency_text(std::vector<double> milliseconds) {
  if (milliseconds.empty()) {
    return "Latency statistics: none";
  }
  std::ranges::sort(milliseconds);
  // The nearest rank: the least value that at least this share does not exceed.
  const auto percentile = [&](double share) {
    const auto rank =
        static_cast<std::size_t>(std::ceil(share * static_cast<double>(milliseconds.size())));
    return milliseconds[std::max<std::size_t>(rank, 1) - 1];
  };
  const double mean = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0) /
                      static_cast<double>(milliseconds.size());
  char text[192];
  std::snprintf(text, sizeof text,
                "Latency statistics: min=%.3fms, max=%.3fms, avg=%.3fms, p50=%.3fms, p99=%.3fms",
                milliseconds.front(), milliseconds.back(), mean, percentile(0.5), percentile(0.99));
  return text;
}

}  // namespace mirrord
