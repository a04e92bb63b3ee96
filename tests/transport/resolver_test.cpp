// tests/transport/resolver: the cache, one lookup per name, stand-ins while the resolver fails. No network.
#include <condition_variable>
#include <mutex>

#include "core/limits.hpp"
#include "fixture.hpp"
#include "transport/io_reactor.hpp"
#include "transport/resolver.hpp"

namespace mailherd::net::test {
namespace {

class resolving : public ::testing::Test {
 protected:
  using answer = result<address_list>;

  resolving()
      : names_([this](const std::string& host) { return look_up(host); },
               [this] {
                 const std::lock_guard lock(mutex_);
                 return now_;
               }) {}
  // The reactor must stop first, as in a network.
  ~resolving() override {
    open_gate();
    loop_.stop();
  }

  result<std::vector<std::string>> look_up(const std::string& host) {
    std::unique_lock lock(mutex_);
    asked_.push_back(host);
    changed_.notify_all();
    changed_.wait(lock, [this] { return gate_open_; });
    if (failing_) return fail(failure::dns_failed, host + ": no resolver answered");
    if (host.starts_with("many")) return std::vector<std::string>(500, "192.0.2.1");
    return std::vector<std::string>{address_, "2001:db8::1"};
  }

  void open_gate() {
    const std::lock_guard lock(mutex_);
    gate_open_ = true;
    changed_.notify_all();
  }

  std::future<answer> ask(const std::string& host) {
    auto promise = std::make_shared<std::promise<answer>>();
    names_.resolve(loop_, host, [promise](answer a) { promise->set_value(std::move(a)); });
    return promise->get_future();
  }
  std::string first(const std::string& host) {
    const auto a = wait(ask(host));
    return a ? a->front().text() : std::string(to_string(a.error().code));
  }
  void pass(duration d) {
    const std::lock_guard lock(mutex_);
    now_ += d;
  }
  void set(bool failing, std::string address) {
    const std::lock_guard lock(mutex_);
    failing_ = failing;
    address_ = std::move(address);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool gate_open_ = true, failing_ = false;
  std::string address_ = "192.0.2.1";
  std::vector<std::string> asked_;
  mono_time now_{};
  io_reactor loop_{"test"};
  resolver names_;
};

TEST_F(resolving, an_answer_is_remembered_for_its_time_and_spellings_are_one) {
  EXPECT_EQ(first("mail.acme.test"), "192.0.2.1");
  set(false, "192.0.2.2");
  EXPECT_EQ(first("Mail.ACME.test."), "192.0.2.1");
  EXPECT_EQ(names_.lookups(), 1u);
  pass(limits::dns_ttl);
  EXPECT_EQ(first("mail.acme.test"), "192.0.2.2");
  EXPECT_EQ(names_.lookups(), 2u);
}

TEST_F(resolving, a_failure_is_remembered_shortly) {
  set(true, "");
  EXPECT_EQ(first("mail.acme.test"), "dns_failed");
  set(false, "192.0.2.1");
  EXPECT_EQ(first("mail.acme.test"), "dns_failed");
  pass(limits::dns_negative_ttl);
  EXPECT_EQ(first("mail.acme.test"), "192.0.2.1");
  EXPECT_EQ(names_.lookups(), 2u);
}

TEST_F(resolving, an_old_answer_stands_in_while_the_resolver_fails) {
  EXPECT_EQ(first("mail.acme.test"), "192.0.2.1");
  set(true, "");
  pass(limits::dns_ttl);
  EXPECT_EQ(first("mail.acme.test"), "192.0.2.1");
  EXPECT_EQ(names_.lookups(), 2u);
  pass(limits::dns_stale);
  EXPECT_EQ(first("mail.acme.test"), "dns_failed");
}

TEST_F(resolving, many_askers_share_one_lookup) {
  {
    const std::lock_guard lock(mutex_);
    gate_open_ = false;
  }
  std::vector<std::future<answer>> askers;
  for (int i = 0; i < 500; ++i) askers.push_back(ask("mail.acme.test"));
  auto other = ask("other.acme.test");   // a name that hangs does not hold up another
  {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, patience, [this] { return asked_.size() == 2; }));
  }
  open_gate();
  for (auto& a : askers) EXPECT_TRUE(wait(std::move(a)));
  EXPECT_TRUE(wait(std::move(other)));
  EXPECT_EQ(names_.lookups(), 2u);
}

TEST_F(resolving, literals_and_nonsense_need_no_lookup) {
  EXPECT_EQ(first("192.0.2.9"), "192.0.2.9");
  EXPECT_EQ(first("[2001:db8::9]"), "2001:db8::9");
  EXPECT_EQ(first("not a name"), "invalid_input");
  EXPECT_EQ(names_.lookups(), 0u);
}

TEST_F(resolving, a_zone_with_a_thousand_addresses_is_cut) {
  const auto a = wait(ask("many.acme.test"));
  ASSERT_TRUE(a);
  EXPECT_EQ(a->size(), limits::addresses_per_name);
}

TEST(system_resolver, knows_this_machine_and_not_an_invalid_name) {
  resolver names;
  io_reactor loop("test");
  auto promise = std::make_shared<std::promise<result<address_list>>>();
  names.resolve(loop, "localhost", [promise](result<address_list> a) { promise->set_value(std::move(a)); });
  const auto here = wait(promise->get_future());
  ASSERT_TRUE(here) << describe(here.error());
  EXPECT_FALSE(here->front().is_public());
  loop.stop();
}

}  // namespace
}  // namespace mailherd::net::test
