// bench/http_rows.h — the rows of HTTP requests among those of incoming traffic.
#pragma once

#include "bench/incoming.h"

namespace mirrord::bench {

// In the target's network, as the other rows of incoming traffic.
void measure_http(const Options& options, const OwnNetwork& network, Rows& rows);

}  // namespace mirrord::bench
