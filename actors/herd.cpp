#include "actors/herd.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/atom.hpp>
#include <caf/send.hpp>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "actors/channel_fetcher.hpp"
#include "actors/consent/connector.hpp"
#include "actors/consent/discovery.hpp"
#include "actors/terminator.hpp"

namespace mailherd::actors {

namespace {

struct quiet_config : caf::actor_system_config {
  explicit quiet_config(unsigned threads) {
    // Neither command line nor caf-application.ini is read: node/ owns configuration.
    set("scheduler.max-threads", static_cast<std::int64_t>(threads > 0 ? threads : 1));
    // A shared queue lets idle workers sleep; the stealing default looks around for work a hundred times a second, for ever.
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-throughput", std::int64_t{100});   // messages of one actor before the next has its turn
    set("logger.verbosity", caf::atom("quiet"));
  }
};

/// Runs its function exactly once: with an answer, or with `cancelled` if it is dropped without one (the actors are gone).
class answer_once {
 public:
  explicit answer_once(std::function<void(result<test_report>)> on_done) : on_done_(std::move(on_done)) {}
  ~answer_once() { (*this)(fail(failure::cancelled, "the node stops")); }
  answer_once(const answer_once&) = delete;
  answer_once& operator=(const answer_once&) = delete;

  void operator()(result<test_report> r) {
    std::function<void(result<test_report>)> run;
    {
      std::lock_guard lock(mutex_);
      run.swap(on_done_);
    }
    if (run) run(std::move(r));
  }

 private:
  std::mutex mutex_;
  std::function<void(result<test_report>)> on_done_;
};

environment with_providers(environment env) {
  if (!env.providers && env.http != nullptr && !env.reactors.empty()) env.providers = std::make_shared<discovery>(*env.http, *env.reactors.front());
  return env;
}

class running_herd final : public herd {
 public:
  running_herd(environment env, unsigned threads) : env_(with_providers(std::move(env))), config_(threads), system_(config_) {
    terminator_parts parts;
    parts.env = &env_;
    parts.serving = serving_;
    parts.open = open_session;
    parts.fetchers = [this](const storage_gate_actor& gate, const pacer_actor& pace) -> fetcher_maker {
      return [this, gate, pace](const store::lease_guard& guard, const caf::weak_actor_ptr& supervisor, const std::shared_ptr<vitals>& v) {
        // The same channel comes to the same thread again: its TLS session is remembered there.
        auto* reactor = env_.reactors[static_cast<std::size_t>(guard.channel.value) % env_.reactors.size()];
        auto made = spawn_channel_fetcher(system_, fetcher_parts{&env_, reactor, guard, gate, pace, supervisor, v});
        env_.roster->add("channel_fetcher " + to_string(guard.channel), caf::actor_cast<caf::weak_actor_ptr>(made));
        return made;
      };
    };
    parts.on_end = [this](bool orderly) {
      std::lock_guard lock(mutex_);
      ended_ = orderly;
      changed_.notify_all();
    };
    root_ = system_.spawn(terminator, std::move(parts));
    connector_ = std::make_shared<connector>(env_, [root = caf::actor_cast<caf::weak_actor_ptr>(root_)](tenant_id, channel_id) {
      if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(root)) caf::anon_send(caf::actor_cast<caf::actor>(strong), changed_atom::value);
    });
  }

  ~running_herd() override {
    connector_->stop();
    stop(seconds(0));
    root_ = nullptr;
  }

  bool stop(seconds grace) override {
    std::unique_lock lock(mutex_);
    if (ended_) return *ended_;
    stopping_ = true;
    caf::anon_send<caf::message_priority::high>(root_, stop_atom::value, caf::timespan{grace});
    if (!changed_.wait_for(lock, grace + seconds(1), [this] { return ended_.has_value(); })) {
      ended_ = false;
      env_.report->log(log_level::error, "node kills its actors: they did not end in time", {});
      lock.unlock();
      caf::anon_send_exit(root_, caf::exit_reason::kill);
      env_.roster->kill();
      return false;
    }
    return *ended_;
  }

  void test(test_subject subject, deadline until, std::function<void(result<test_report>)> on_done) override {
    auto once = std::make_shared<answer_once>(std::move(on_done));
    auto request = std::make_shared<probe_request>(
        probe_request{std::move(subject), until, [once](result<test_report> r) { (*once)(std::move(r)); }});
    caf::anon_send(root_, test_atom::value, std::move(request));
  }

  void changed(tenant_id, channel_id channel) override {
    // Rows decide: the keeper looks for itself what changed, and tells whoever serves it.
    caf::anon_send(root_, changed_atom::value);
    if (!channel) caf::anon_send(root_, hooks_atom::value);   // of a tenant as a whole: its apps, its webhooks
  }

  void connect(connect_request wanted, deadline until, std::function<void(result<connect_answer>)> on_done) override {
    connector_->connect(std::move(wanted), until, std::move(on_done));
  }
  void come_back(browser_return what, deadline until, std::function<void(result<consent_outcome>)> on_done) override {
    connector_->come_back(std::move(what), until, std::move(on_done));
  }
  void look_at_link(secret<> token, std::function<void(result<link_view>)> on_done) override {
    connector_->look_at_link(std::move(token), std::move(on_done));
  }
  void follow_link(secret<> token, const std::string& base_url, std::optional<sha256_digest> browser, deadline until,
                   std::function<void(result<connect_answer>)> on_done) override {
    connector_->follow_link(std::move(token), base_url, browser, until, std::move(on_done));
  }
  [[nodiscard]] app_setup setup_of(const oauth_app& app, const std::string& base_url, const std::string& mailbox) const override {
    return connector_->setup_of(app, base_url, mailbox);
  }

  void fed(tenant_id tenant) override { caf::anon_send(root_, fed_atom::value, tenant); }

  result<void> drain(const std::string& node) override {
    if (node != env_.options.node_name) return fail(failure::not_found, "that is not this node");
    stopping_ = true;
    caf::anon_send(root_, drain_atom::value);
    return {};
  }

  [[nodiscard]] bool serving() const override { return *serving_ && !stopping_; }

 private:
  environment env_;
  std::shared_ptr<std::atomic<bool>> serving_ = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool> stopping_{false};   ///< or draining
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<bool> ended_;           ///< in order?
  quiet_config config_;
  caf::actor_system system_;            ///< its destructor waits for every actor
  terminator_actor root_;
  std::shared_ptr<connector> connector_;
};

}  // namespace

std::unique_ptr<herd> herd::start(environment env, unsigned threads) { return std::make_unique<running_herd>(std::move(env), threads); }

}  // namespace mailherd::actors
