// tests/bench/arrivals_run: arrival → client event at N idle sessions of imapflow: what the node's arrival → durable is compared with.
//
//   arrivals_run [--mailboxes 1000] [--arrivals 300] [--gap 20]
// Prints the measurement of the imapflow process with p50_ms, p99_ms, max_ms, lost, kb_per_session, open_cpu_ms (per session).
#include <cstdio>

#include <CLI/CLI.hpp>

#include "arrivals.hpp"
#include "idle_client.hpp"
#include "report.hpp"
#include "tests/peers/files.hpp"

int main(int argc, char** argv) {
  using namespace mailherd;
  CLI::App app{"Arrivals at idle imapflow sessions"};
  bench::arrival_options options;
  std::size_t gap = 20;
  app.add_option("--mailboxes", options.mailboxes);
  app.add_option("--arrivals", options.arrivals);
  app.add_option("--gap", gap);
  CLI11_PARSE(app, argc, argv);
  options.gap = std::chrono::milliseconds(gap);
  try {
    bench::mail mail({.mailboxes = options.mailboxes, .messages = 0, .hibernate = true, .sessions_per_mailbox = 3});
    bench::arrival_board board;
    bench::idle_client client(mail, board);
    if (!mail.wait_hibernated()) throw peers::peer_error("Dovecot's sessions do not hibernate");
    const bench::arrival_times times = bench::deliver_and_wait(mail.server(), board, options);
    bench::measurement out = client.finish();
    out.messages = times.ms.size();
    out.more["p50_ms"] = times.percentile(0.5);
    out.more["p99_ms"] = times.percentile(0.99);
    out.more["max_ms"] = times.percentile(1);
    out.more["lost"] = static_cast<double>(times.lost);
    std::puts(bench::to_json(out).c_str());
    return times.lost == 0 ? 0 : 1;
  } catch (const peers::peer_error& error) {
    std::fprintf(stderr, "arrivals_run: %s\n", error.what());
    return 1;
  }
}
