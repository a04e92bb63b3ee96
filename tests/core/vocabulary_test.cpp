// tests/core: ids, names, failures and their advice, back-off, secrets, limits.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>

#include "core/advice.hpp"
#include "core/backoff.hpp"
#include "core/ids.hpp"
#include "core/limits.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd {
namespace {

using testing::HasSubstr;

std::vector<failure> all_failures() {
  std::vector<failure> all;
  for (int i = 0; i <= static_cast<int>(failure::internal); ++i) all.push_back(static_cast<failure>(i));
  return all;
}

TEST(ids, text_form_round_trips_and_rejects_everything_else) {
  EXPECT_EQ(to_string(channel_id{17}), "c17");
  EXPECT_EQ(parse_id<channel_id>("c17"), channel_id{17});
  EXPECT_EQ(parse_id<tenant_id>("t9223372036854775807"), tenant_id{INT64_MAX});
  for (const char* bad : {"", "c", "17", "t17", "c0", "c017", "c-1", "c+1", "c1x", "c 1", "c9223372036854775808", "C17"})
    EXPECT_FALSE(parse_id<channel_id>(bad)) << bad;
  EXPECT_FALSE(channel_id{});
}

TEST(ids, messages) {
  const message_id id{tenant_id{3}, 1042};
  EXPECT_EQ(to_string(id), "m3-1042");
  EXPECT_EQ(parse_message_id("m3-1042"), id);
  for (const char* bad : {"", "m", "m3", "m3-", "m-3", "m0-1", "m3-0", "t3-1", "m3-1-2", "m3--1", "-"})
    EXPECT_FALSE(parse_message_id(bad)) << bad;
}

TEST(failures, every_one_has_a_name_an_action_and_words) {
  std::set<std::string_view> names;
  for (const failure f : all_failures()) {
    const auto name = to_string(f);
    EXPECT_FALSE(name.empty()) << static_cast<int>(f);
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(failure_from(name), f);
    const auto words = explain(f);
    EXPECT_GT(words.cause.size(), 5u) << name;
    EXPECT_GT(words.next_step.size(), 5u) << name;
    EXPECT_FALSE(to_string(action_for(f)).empty());
  }
  EXPECT_FALSE(failure_from("nothing_of_the_kind"));
}

TEST(failures, only_the_token_endpoint_may_ask_a_person_to_consent) {
  for (const failure f : all_failures()) EXPECT_EQ(action_for(f) == action::reconsent, f == failure::consent_required) << to_string(f);
}

TEST(failures, network_troubles_never_blame_credentials) {
  for (const failure f : {failure::dns_failed, failure::timed_out, failure::connection_lost, failure::server_busy,
                          failure::token_unavailable, failure::throttled})
    EXPECT_TRUE(action_for(f) == action::retry_now || action_for(f) == action::retry_later) << to_string(f);
}

TEST(failures, describe_names_both) {
  EXPECT_EQ(describe(error{failure::throttled, "wait", {}}), "throttled: wait");
  const result<int> r = fail(failure::conflict, "x");
  EXPECT_EQ(r.error().code, failure::conflict);
}

TEST(backoff, grows_to_its_cap_and_keeps_its_floor) {
  const backoff_policy policy{seconds(1), seconds(60), 2.0, 0.5};
  for (unsigned attempt = 0; attempt < 200; ++attempt) {
    const auto bound = attempt >= 6 ? duration(seconds(60)) : duration(seconds(1LL << attempt));
    for (const std::uint64_t random : {std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
      const auto wait = backoff_delay(policy, attempt, random);
      EXPECT_GE(wait, bound / 2 - std::chrono::microseconds(1)) << attempt;
      EXPECT_LE(wait, bound + std::chrono::microseconds(1)) << attempt;
    }
    EXPECT_LT(backoff_delay(policy, attempt, 0), backoff_delay(policy, attempt, ~std::uint64_t{0})) << "jitter";
  }
  EXPECT_GT(backoff_delay(policy, 4'000'000'000U, 0), duration::zero());
}

TEST(backoff, restarts_are_budgeted_per_window) {
  restart_budget budget(2, seconds(10));
  const mono_time start{seconds(1000)};
  EXPECT_TRUE(budget.take(start));
  EXPECT_TRUE(budget.take(start + seconds(1)));
  EXPECT_FALSE(budget.take(start + seconds(2)));
  EXPECT_TRUE(budget.take(start + seconds(20)));
}

TEST(deadline, is_absolute) {
  const mono_time start{seconds(1000)};
  const auto d = deadline::after(start, seconds(5));
  EXPECT_FALSE(d.expired(start + seconds(4)));
  EXPECT_TRUE(d.expired(start + seconds(5)));
  EXPECT_EQ(d.left(start + seconds(3)), duration(seconds(2)));
  EXPECT_EQ(d.left(start + seconds(9)), duration::zero());
}

TEST(secrets, print_stars_compare_and_vanish) {
  const secret<> a(std::string("hunter2-hunter2-hunter2")), same(std::string("hunter2-hunter2-hunter2")), other(std::string("x"));
  EXPECT_EQ(fmt::format("{}", a), "***");
  EXPECT_TRUE(a == same);
  EXPECT_FALSE(a == other);
  secret<> from(std::string("gone")), to;
  to = std::move(from);
  EXPECT_EQ(to.reveal(), "gone");
  EXPECT_TRUE(from.empty());  // NOLINT: moved-from on purpose
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_FALSE(equal_in_constant_time("a", "b"));
  std::string wiped = "secret";
  wipe(wiped.data(), wiped.size());
  EXPECT_EQ(wiped, std::string(6, '\0'));
}

template <class Enum>
void expect_names(std::initializer_list<const char*> names) {
  int i = 0;
  std::string joined;
  for (const char* name : names) {
    const auto value = static_cast<Enum>(i++);
    EXPECT_EQ(to_string(value), name);
    EXPECT_EQ(parse_name<Enum>(name), value);
    joined += (joined.empty() ? "" : ", ") + std::string(name);
  }
  EXPECT_EQ(names_of<Enum>(), joined);
  EXPECT_FALSE(parse_name<Enum>("Nonsense"));
  EXPECT_FALSE(parse_name<Enum>(""));
}

TEST(names, are_those_of_the_contract) {
  expect_names<protocol_kind>({"imap", "pop3"});
  expect_names<tls_mode>({"implicit", "starttls", "none"});
  expect_names<after_fetch>({"keep", "seen", "delete"});
  expect_names<auth_type>({"basic", "oauth2"});
  expect_names<grant_kind>({"authorization_code", "client_credentials", "device_code"});
  expect_names<provider_kind>({"microsoft", "google", "custom"});
  expect_names<channel_state>({"disabled", "consent_pending", "connecting", "backfilling", "active", "throttled", "backoff", "needs_reauth",
                               "needs_admin", "app_blocked"});
  expect_names<switch_state>({"none", "running", "done", "failed"});
}

// The relations that must hold are static_asserts of core/limits.hpp; these are the facts they rest on.
TEST(limits, fit_what_the_outside_gives) {
  EXPECT_LT(limits::idle_restart, seconds(29 * 60)) << "RFC 2177";
  EXPECT_GT(limits::token_lifetime_default, limits::token_renew_ahead);
  EXPECT_GE(limits::pop3_line_bytes, 512u) << "RFC 1939";
  EXPECT_GE(limits::imap_line_bytes, 8192u) << "RFC 7162";
  EXPECT_LE(limits::inline_message_bytes, limits::message_bytes);
  EXPECT_LE(limits::message_bytes, limits::imap_body_literal_bytes);
}

}  // namespace
}  // namespace mailherd
