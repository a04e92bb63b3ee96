// transport/resolver: cache, coalescing and the lookup threads.
#include "transport/resolver.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>

#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::net {

namespace {

/// What one lookup brought; `passing`: the resolver is in trouble, which says nothing about the name.
struct answer {
  result<address_list> value;
  bool passing = false;
};

answer system_lookup(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int rc = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (rc != 0) {
    const bool passing = rc == EAI_AGAIN || rc == EAI_SYSTEM || rc == EAI_MEMORY;
    return {fail(failure::dns_failed, fmt::format("{}: {}", host, passing ? "no resolver answered" : "there is no such host name")),
            passing};
  }
  address_list out;
  for (const addrinfo* a = found; a != nullptr && out.size() < limits::addresses_per_name; a = a->ai_next)
    if (auto address = ip_address::of(a->ai_addr); address && std::find(out.begin(), out.end(), *address) == out.end())
      out.push_back(*address);
  freeaddrinfo(found);
  if (out.empty()) return {fail(failure::dns_failed, fmt::format("{}: the name has no address", host)), false};
  return {std::move(out), false};
}

answer given_lookup(const lookup_function& lookup, const std::string& host) {
  auto texts = lookup(host);
  if (!texts) return {fail(std::move(texts.error())), true};
  address_list out;
  for (const auto& text : *texts)
    if (auto address = ip_address::parse(text); address && out.size() < limits::addresses_per_name) out.push_back(*address);
  if (out.empty()) return {fail(failure::dns_failed, fmt::format("{}: the name has no address", host)), false};
  return {std::move(out), false};
}

std::string key_of(std::string_view host) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  std::string out(host);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace

bool valid_host(std::string_view host) {
  if (ip_address::parse(host)) return true;
  return !host.empty() && host.size() <= 253 && host.front() != '.' && host.front() != '-' &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
         });
}

struct resolver::state {
  struct waiter {
    reactor* where;
    handler on_done;
  };
  struct entry {
    std::string host;
    result<address_list> value;
    mono_time fresh_until;
    mono_time usable_until;   ///< as a stand-in while the resolver is in trouble
  };

  lookup_function lookup;
  clock now;

  mutable std::mutex mutex;   // guards all below
  std::condition_variable work, idle;
  std::list<entry> entries;   ///< newest first
  std::unordered_map<std::string, std::list<entry>::iterator> by_host;
  std::unordered_map<std::string, std::vector<waiter>> asked;   ///< lookups queued or under way
  std::deque<std::string> queue;
  unsigned threads = 0, waiting = 0;
  std::size_t lookups = 0;
  bool stopping = false;

  void remember(const std::string& host, answer& a) {
    const auto t = now();
    const auto known = by_host.find(host);
    if (known != by_host.end()) {
      entry& old = *known->second;
      if (!a.value && a.passing && old.value && t < old.usable_until) {
        old.fresh_until = t + limits::dns_negative_ttl;   // ask again soon, and serve what was true a while ago
        a.value = old.value;
        return;
      }
      entries.erase(known->second);
      by_host.erase(known);
    }
    const bool good = a.value.has_value();
    entries.push_front({host, a.value, t + (good ? limits::dns_ttl : limits::dns_negative_ttl), t + limits::dns_stale});
    by_host[host] = entries.begin();
    if (entries.size() > limits::dns_names) {
      by_host.erase(entries.back().host);
      entries.pop_back();
    }
  }

  /// REQUIRED: the mutex is held. The thread takes no signals: those are the main thread's.
  static bool add_thread(const std::shared_ptr<state>& self) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool added = true;
    try {
      std::thread(&state::run, self).detach();
      ++self->threads;
    } catch (const std::system_error&) {
      added = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return added;
  }

  static void run(const std::shared_ptr<state>& self) {
    pthread_setname_np(pthread_self(), "mh-dns");
    std::unique_lock lock(self->mutex);
    for (;;) {
      ++self->waiting;
      self->work.wait(lock, [&] { return self->stopping || !self->queue.empty(); });
      --self->waiting;
      if (self->stopping) break;
      const std::string host = std::move(self->queue.front());
      self->queue.pop_front();
      ++self->lookups;
      lock.unlock();
      answer a = self->lookup ? given_lookup(self->lookup, host) : system_lookup(host);
      lock.lock();
      if (self->stopping) break;
      self->remember(host, a);
      const auto waiters = std::move(self->asked[host]);
      self->asked.erase(host);
      // Posted under the lock: after ~resolver no reactor is touched any more.
      for (const auto& w : waiters) w.where->post([done = w.on_done, value = a.value] { done(value); });
    }
    --self->threads;
    self->idle.notify_all();
  }
};

resolver::resolver(lookup_function lookup, clock now) : state_(std::make_shared<state>()) {
  state_->lookup = std::move(lookup);
  state_->now = now ? std::move(now) : clock(&mono_clock::now);
}

resolver::~resolver() {
  std::unordered_map<std::string, std::vector<state::waiter>> dropped;
  {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    dropped.swap(state_->asked);
    state_->work.notify_all();
    state_->idle.wait_for(lock, std::chrono::seconds(2), [this] { return state_->threads == 0; });
  }
}

void resolver::resolve(reactor& where, const std::string& host, handler on_done) {
  const auto answer_now = [&](result<address_list> value) {
    where.post([done = std::move(on_done), value = std::move(value)] { done(value); });
  };
  if (const auto literal = ip_address::parse(host)) return answer_now(address_list{*literal});
  if (!valid_host(host))
    return answer_now(fail(failure::invalid_input, fmt::format("\"{}\" is not a host name", clean_server_text(host))));
  const std::string key = key_of(host);

  const std::lock_guard lock(state_->mutex);
  if (const auto known = state_->by_host.find(key); known != state_->by_host.end() && state_->now() < known->second->fresh_until)
    return answer_now(known->second->value);
  if (const auto under_way = state_->asked.find(key); under_way != state_->asked.end()) {
    under_way->second.push_back({&where, std::move(on_done)});
    return;
  }
  if (state_->asked.size() >= limits::dns_waiting) return answer_now(fail(failure::limit_exceeded, "too many names wait for the resolver"));
  const bool wanted = state_->queue.size() + 1 > state_->waiting && state_->threads < limits::dns_threads;
  if (wanted && !state::add_thread(state_) && state_->threads == 0)
    return answer_now(fail(failure::dns_failed, fmt::format("{}: this machine allows no thread for the lookup", host)));
  state_->asked[key].push_back({&where, std::move(on_done)});
  state_->queue.push_back(key);
  state_->work.notify_one();
}

std::size_t resolver::lookups() const {
  const std::lock_guard lock(state_->mutex);
  return state_->lookups;
}

}  // namespace mailherd::net
