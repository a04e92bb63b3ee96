// node/process_metrics: the node's own use of its machine, under the names that every Prometheus client library uses.
//
// Owns:   process_cpu_seconds_total, process_resident_memory_bytes, process_virtual_memory_bytes, process_open_fds, process_max_fds,
//         process_threads, process_start_time_seconds.
// Never:  fails: what /proc does not tell is left out.
// Used by: telemetry, at each scrape. Any thread.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

namespace mailherd::node {

std::vector<prometheus::MetricFamily> process_metrics();

}  // namespace mailherd::node
