// tests/bench/arrivals: implementation.
#include "arrivals.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "tests/corpus/corpus.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::bench {

void arrival_board::heard(const std::string& user, clock::time_point at) {
  const std::lock_guard lock(mutex_);
  last_[user] = at;
  changed_.notify_all();
}

std::optional<arrival_board::clock::time_point> arrival_board::wait(const std::string& user, clock::time_point since,
                                                                    std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const bool came = changed_.wait_for(lock, timeout, [&] {
    const auto found = last_.find(user);
    return found != last_.end() && found->second >= since;
  });
  return came ? std::optional(last_[user]) : std::nullopt;
}

double arrival_times::percentile(double q) const {
  if (ms.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(ms.size())));
  return ms[std::clamp<std::size_t>(rank, 1, ms.size()) - 1];
}

arrival_times deliver_and_wait(peers::dovecot_server& server, arrival_board& board, const arrival_options& options) {
  arrival_times out;
  // Nobody twice before everybody once: a session that has just been told something has a process again, and Dovecot lets that one wait
  // half a second for more.
  std::vector<std::size_t> order(options.mailboxes);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), std::minstd_rand(static_cast<unsigned>(options.seed)));
  for (std::size_t i = 0; i < options.arrivals; ++i) {
    const std::string user = mail::user(order[i % order.size()]);
    const std::string raw = corpus::message(options.seed + 1'000, i);
    const auto start = arrival_board::clock::now();
    server.deliver(user, "INBOX", raw);
    const auto heard = board.wait(user, start, options.timeout);
    if (heard) out.ms.push_back(std::chrono::duration<double, std::milli>(*heard - start).count());
    else ++out.lost;
    peers::wait_until([] { return false; }, options.gap);
  }
  std::sort(out.ms.begin(), out.ms.end());
  return out;
}

}  // namespace mailherd::bench
