// tests/bench/pop3_floor: what POP3 clients do: POP3S, one RETR at a time (or --pipeline of them in flight), bodies thrown away.
//
//   pop3_floor --port P [--ca FILE] [--mailboxes 1] [--parallel 4] [--pipeline 1]
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
  std::size_t mailboxes = 1, parallel = 4, pipeline = 1;
};

void expect_ok(std::string_view answer, std::string_view command) {
  if (answer.compare(0, 3, "+OK") != 0) throw peers::peer_error(fmt::format("{}: {}", command, answer));
}

std::size_t drain(const settings& s, std::size_t mailbox) {
  peers::tls_client client({.port = s.port, .ca_file = s.ca, .timeout = std::chrono::minutes(1)});
  client.read_line();
  expect_ok(client.pop3("USER " + bench::mail::user(mailbox)), "USER");
  expect_ok(client.pop3(std::string("PASS ") + bench::mail::password), "PASS");
  const std::string stat = client.pop3("STAT");
  expect_ok(stat, "STAT");
  const std::size_t count = std::strtoull(stat.c_str() + 4, nullptr, 10);
  std::size_t asked = 0;
  for (std::size_t done = 0; done < count; ++done) {
    for (; asked < std::min(count, done + s.pipeline); ++asked) client.write(fmt::format("RETR {}\r\n", asked + 1));
    expect_ok(client.next_line(), "RETR");
    while (client.next_line() != ".") {
    }
  }
  client.write("QUIT\r\n");
  return count;
}

void run(const settings& s) {
  const bench::stopwatch watch;
  std::atomic<std::size_t> next{0}, messages{0};
  std::mutex mutex;
  std::string problem;
  const auto work = [&] {
    try {
      for (std::size_t box = 0; (box = next.fetch_add(1)) < s.mailboxes;) messages += drain(s, box);
    } catch (const peers::peer_error& error) {
      const std::lock_guard lock(mutex);
      problem = error.what();
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < std::min(s.parallel, s.mailboxes); ++i) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  if (!problem.empty()) throw peers::peer_error(problem);
  std::puts(
      bench::to_json(watch.stop(s.pipeline > 1 ? fmt::format("POP3 floor, {} in flight", s.pipeline) : "POP3 floor", messages)).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"POP3S client that discards"};
  settings s;
  app.add_option("--port", s.port)->required();
  app.add_option("--ca", s.ca);
  app.add_option("--mailboxes", s.mailboxes);
  app.add_option("--parallel", s.parallel);
  app.add_option("--pipeline", s.pipeline)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    run(s);
    return 0;
  } catch (const peers::peer_error& error) {
    std::fprintf(stderr, "pop3_floor: %s\n", error.what());
    return 1;
  }
}
