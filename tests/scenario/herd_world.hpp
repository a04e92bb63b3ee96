// tests/scenario/herd_world: a whole herd in the test's process: real actors, sockets, TLS and PostgreSQL; mail servers real or scripted.
//
// Owns:   a database, storage workers, the network, one herd at a time, a tenant; what the herd reported.
// Never:  reaches into an actor: what happened is read from the store, as the API would, and from the servers.
// Waiting: `wait_*` look until something is so, for at most `patience`; nothing sleeps for a fixed time.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/herd.hpp"
#include "storage/postgres.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/test_ca.hpp"
#include "tests/storage/postgres_fixture.hpp"
#include "transport/network.hpp"

namespace mailherd::test {

class heard_telemetry final : public actors::telemetry {
 public:
  void log(actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields) override;
  void stored(tenant_id, protocol_kind, std::int64_t messages, std::uint64_t) override { add("stored", static_cast<double>(messages)); }
  void duplicates_suppressed(std::int64_t n) override { add("suppressed", static_cast<double>(n)); }
  void sessions(protocol_kind, tls_mode, int change) override { add("sessions", change); }
  void session_failed(protocol_kind, failure f) override { add("failed." + std::string(to_string(f)), 1); }
  void login(std::string_view mechanism, bool ok) override { add("login." + std::string(mechanism) + (ok ? ".ok" : ".failed"), 1); }
  void token_refresh(provider_kind, bool ok, double) override { add(ok ? "refresh.ok" : "refresh.failed", 1); }
  void auth_switch(auth_type, auth_type, bool ok, double gap) override {
    add(ok ? "switch.ok" : "switch.failed", 1);
    add("switch.gap", gap);
  }
  void watchdog_restart() override { add("watchdog", 1); }
  void fenced_write() override { add("fenced", 1); }

  [[nodiscard]] double count(const std::string& what) const;
  /// Log lines of the herd, newest last: shown when a test fails.
  [[nodiscard]] std::string lines() const;

 private:
  void add(const std::string& what, double n);
  mutable std::mutex guard_;
  std::map<std::string, double> counts_;
  std::vector<std::string> lines_;
};

/// A message as stored. `body` is read back and hashed; `sha256` is the store's own digest. Empty without body.
struct kept {
  std::int64_t sequence = 0;
  std::string sha256, body_sha256;
  store::stored_message message;
};

class herd_world : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds patience{60};

  /// `authority`: whom the network trusts; null: an own one.
  explicit herd_world(const peers::test_ca* authority = nullptr);
  ~herd_world() override;

  /// A node of its own; joins, claims and serves until `stop_herd` or the test's end.
  void start_herd(const std::function<void(actors::herd_options&)>& adjust = {});
  void stop_herd();
  [[nodiscard]] actors::herd& herd() { return *herd_; }

  /// Runs `work(session&)` on a storage worker and waits for it.
  template <class Work>
  auto ask(Work work) -> decltype(work(std::declval<store::session&>())) {
    using answer = decltype(work(std::declval<store::session&>()));
    std::promise<answer> said;
    const bool taken = store_->submit(deadline::after(mono_clock::now(), seconds(60)),
                                      [&](result<store::session*> s) { said.set_value(s ? work(**s) : answer(fail(s.error()))); });
    if (!taken) return answer(fail(failure::store_busy));
    return said.get_future().get();
  }

  /// IMAP with implicit TLS, password "secret", everything from the beginning, INBOX.
  static channel_spec spec(const std::string& host, std::uint16_t port);
  static credential password(const std::string& user = "support", const std::string& word = "secret");
  channel_id add_channel(const channel_spec& spec, const credential& auth = password());
  void change_channel(channel_id id, const channel_spec& spec);
  std::int64_t change_credential(channel_id id, const credential& auth);

  channel_record channel(channel_id id);
  std::vector<kept> mail(channel_id id);
  std::vector<std::string> digests(channel_id id);   ///< of the bodies as stored, sorted, duplicates included

  bool wait(const std::function<bool()>& condition, std::chrono::seconds timeout = patience) { return peers::wait_until(condition, timeout); }
  ::testing::AssertionResult wait_state(channel_id id, channel_state state, const std::string& reason = "*");
  ::testing::AssertionResult wait_stored(channel_id id, std::int64_t messages);
  /// Everything in `raws` is stored exactly once, byte for byte, and sequences are 1, 2, 3 ...
  ::testing::AssertionResult holds_exactly(channel_id id, std::vector<std::string> raws);
  ::testing::AssertionResult holds_digests(channel_id id, std::vector<std::string> sorted);

  peers::temp_dir dir_{"scenario"};
  peers::test_ca ca_{dir_.path()};
  test_database database_;
  heard_telemetry report_;
  std::unique_ptr<store::executor> store_;
  std::unique_ptr<net::network> network_;
  std::shared_ptr<actors::fetch_budget> budget_;
  std::unique_ptr<actors::herd> herd_;
  tenant_id tenant_;
};

}  // namespace mailherd::test
