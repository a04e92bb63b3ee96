// tests/bench/floor_client: the least that an IMAPS client can do: OpenSSL, one thread per connection, 100 messages per FETCH, two in
// flight, bodies thrown away. What the node's CPU per message is compared with.
//
//   floor_client --port P [--ca FILE] [--mailboxes 1] [--parallel 4] [--batch 100] [--in-flight 2]
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "mail.hpp"
#include "report.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/tls_client.hpp"

namespace {

using namespace mailherd;

struct settings {
  std::uint16_t port = 0;
  std::string ca;
  std::size_t mailboxes = 1, parallel = 4, batch = 100, in_flight = 2;
};

struct drained {
  std::size_t messages = 0;
  std::uint64_t bytes = 0;
};

std::size_t exists_of(const std::string& answer) {
  const auto end = answer.find(" EXISTS");
  if (end == std::string::npos) throw peers::peer_error("SELECT: " + answer);
  return std::strtoull(answer.c_str() + answer.rfind(' ', end - 1) + 1, nullptr, 10);
}

drained drain(const settings& s, std::size_t mailbox) {
  peers::tls_client client({.port = s.port, .ca_file = s.ca, .timeout = std::chrono::minutes(1)});
  client.read_line();
  const std::string login = client.imap("a", fmt::format("LOGIN {} {}", bench::mail::user(mailbox), bench::mail::password));
  if (login.find("a OK") == std::string::npos) throw peers::peer_error("LOGIN: " + login);
  const std::size_t exists = exists_of(client.imap("b", "SELECT INBOX"));
  drained out;
  std::size_t next = 1, running = 0;
  const auto ask = [&] {
    if (next > exists) return;
    client.write(fmt::format("f FETCH {}:{} (UID BODY.PEEK[])\r\n", next, std::min(next + s.batch - 1, exists)));
    next += s.batch;
    ++running;
  };
  for (std::size_t i = 0; i < s.in_flight; ++i) ask();
  while (running > 0) {
    const std::string_view line = client.next_line();
    if (line.size() > 2 && line.compare(0, 2, "f ") == 0) {
      if (line.compare(0, 4, "f OK") != 0) throw peers::peer_error("FETCH: " + std::string(line));
      --running;
      ask();
    } else if (!line.empty() && line.back() == '}') {
      const std::size_t size = std::strtoull(line.data() + line.rfind('{') + 1, nullptr, 10);
      client.skip(size);
      ++out.messages;
      out.bytes += size;
    }
  }
  client.write("z LOGOUT\r\n");
  if (out.messages != exists) throw peers::peer_error(fmt::format("{} of {} messages came", out.messages, exists));
  return out;
}

void run(const settings& s) {
  const bench::stopwatch watch;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  drained all;
  std::string problem;
  const auto work = [&] {
    try {
      for (std::size_t box = 0; (box = next.fetch_add(1)) < s.mailboxes;) {
        const drained one = drain(s, box);
        const std::lock_guard lock(mutex);
        all.messages += one.messages;
        all.bytes += one.bytes;
      }
    } catch (const peers::peer_error& error) {
      const std::lock_guard lock(mutex);
      problem = error.what();
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < std::min(s.parallel, s.mailboxes); ++i) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  if (!problem.empty()) throw peers::peer_error(problem);
  bench::measurement out = watch.stop("floor", all.messages);
  out.more["bytes"] = static_cast<double>(all.bytes);
  std::puts(bench::to_json(out).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"IMAPS client that discards"};
  settings s;
  app.add_option("--port", s.port)->required();
  app.add_option("--ca", s.ca);
  app.add_option("--mailboxes", s.mailboxes);
  app.add_option("--parallel", s.parallel);
  app.add_option("--batch", s.batch);
  app.add_option("--in-flight", s.in_flight);
  CLI11_PARSE(app, argc, argv);
  try {
    run(s);
    return 0;
  } catch (const peers::peer_error& error) {
    std::fprintf(stderr, "floor_client: %s\n", error.what());
    return 1;
  }
}
