// Crashes: during a drain of 5,000 messages the node, its database and the mail server are killed (SIGKILL) at random moments. Afterwards the
// store holds every message exactly once, byte for byte, and sequences and positions have no gap.
//
// CRASH_SEED=<n> repeats one run; CRASH_RUNS=<n> makes more than one.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "tests/corpus/corpus.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/real_node/real_node.hpp"

namespace mailherd::test {
namespace {

constexpr std::size_t messages = 5'000;
const std::string user = "support@acme.test";

peers::dovecot_options one_user() {
  peers::dovecot_options o;
  o.users = {{user, "secret"}};
  return o;
}

unsigned number(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned>(std::stoul(text));
}

/// Most small, so that a drain is long in messages and not in bytes; some of each kind that customers send, and stretches of nothing else, whose
/// bodies go into the database ahead of their commits.
std::string message(unsigned seed, std::size_t i) {
  return i % 10 == 0 || i % 1'000 < 300 ? corpus::message(seed, i) : corpus::simple(fmt::format("number {} of {}", i, seed));
}

class crash : public ::testing::TestWithParam<const char*> {
 protected:
  crash() : server_(one_user()), node_({{"MAILHERD_CA_FILE", server_.ca_file().string()}, {"MAILHERD_POLL_INTERVAL", "1s"}}) {}

  ctl::json channel() const {
    const bool imap = std::string(GetParam()) == "imap";
    return {{"name", "Support"},
            {"address", user},
            {"incoming", {{"protocol", GetParam()}, {"host", "127.0.0.1"}, {"port", imap ? server_.imaps_port() : server_.pop3s_port()}, {"tls", "implicit"}}},
            {"auth", {{"type", "basic"}, {"username", user}, {"password", "secret"}}},
            {"start_from", "all"}};
  }

  void expect_same(tenant_id tenant, const std::string& story) {
    const auto here = node_.digests(tenant), there = server_.digests(user);
    std::vector<std::string> missing, extra;
    std::set_difference(there.begin(), there.end(), here.begin(), here.end(), std::back_inserter(missing));
    std::set_difference(here.begin(), here.end(), there.begin(), there.end(), std::back_inserter(extra));
    EXPECT_TRUE(here == there) << missing.size() << " are missing, " << extra.size() << " are too many (" << std::count(extra.begin(), extra.end(), "")
                               << " of them without a body: "
                               << node_.query("SELECT string_agg(DISTINCT problem, ' | ') FROM messages WHERE NOT has_body").value_or("") << ") after" << story << "\n"
                               << "the first too many is of: "
                               << (extra.empty() ? "" : node_.query(fmt::format("SELECT string_agg(format('%s uidl %s at %s', sequence, uidl, received_at), ' | ') FROM messages "
                                                                                 "WHERE digest = decode('{}', 'hex')", extra.front())).value_or(""))
                               << "\nidentities: "
                               << node_.query("SELECT string_agg(format('%s x %s', n, validity), ', ') FROM (SELECT right(uidl, 8) AS validity, count(*) AS n FROM ledger GROUP BY 1) AS x")
                                      .value_or("")
                               << "\n" << peers::tail(node_.log_file(), 3000) << "\nthe server:\n" << peers::tail(server_.log_file(), 3000);
  }

  void one_run(unsigned seed) {
    SCOPED_TRACE(fmt::format("CRASH_SEED={}", seed));
    std::mt19937 random(seed);
    server_.clear(user);
    server_.deliver_many(user, "INBOX", messages, [&](std::size_t i) { return message(seed, i); });
    if (!node_.running()) node_.start();
    const auto tenant = *parse_id<tenant_id>(node_.ask("POST", "/v1/tenants", ctl::json{{"name", "Acme"}})["id"].get<std::string>());
    const auto before = node_.stored();
    node_.ask("POST", fmt::format("/v1/tenants/{}/channels", to_string(tenant)), channel());

    std::string story;
    for (std::int64_t at = random() % 300; at < static_cast<std::int64_t>(messages); at += 100 + random() % 900) {
      ASSERT_TRUE(peers::wait_until([&] { return node_.stored() - before >= at; }, real_node::patience)) << story << "\n" << peers::tail(node_.log_file());
      switch (random() % 4) {
        case 0: story += fmt::format(" {}:node", at), node_.kill(), node_.start(); break;
        case 1: story += fmt::format(" {}:database", at), node_.database_kill(); break;
        case 2: story += fmt::format(" {}:server", at), server_.kill(), server_.start(); break;
        case 3: story += fmt::format(" {}:all", at), node_.database_kill(), node_.kill(), server_.kill(), server_.start(), node_.start(); break;
      }
    }
    ASSERT_TRUE(peers::wait_until([&] { return node_.stored() - before >= static_cast<std::int64_t>(messages); }, real_node::patience))
        << node_.stored() - before << " after" << story << "\n" << peers::tail(node_.log_file());
    expect_same(tenant, story);
    for (const auto* form : {"body IS NOT NULL", "body_index IS NOT NULL"})
      EXPECT_NE(node_.query(fmt::format("SELECT count(*) FROM messages WHERE {}", form)), "0") << "none was stored in this form: " << form;
    // What is fetched again after the crash must not come twice later either.
    server_.deliver(user, "INBOX", corpus::simple("the last one"));
    ASSERT_TRUE(peers::wait_until([&] { return node_.stored() - before > static_cast<std::int64_t>(messages); }, real_node::patience));
    expect_same(tenant, story + ", and one message later");
    node_.ask("DELETE", fmt::format("/v1/tenants/{}", to_string(tenant)));
  }

  peers::dovecot_server server_;
  real_node node_;
};

INSTANTIATE_TEST_SUITE_P(drains, crash, ::testing::Values("imap", "pop3"), [](const auto& info) { return std::string(info.param); });

TEST_P(crash, kills_at_random_moments_lose_nothing_and_bring_nothing_twice) {
  const auto first = number("CRASH_SEED", std::random_device{}());
  const auto runs = std::getenv("CRASH_SEED") != nullptr ? 1U : number("CRASH_RUNS", 1);
  for (unsigned run = 0; run < runs && !HasFatalFailure(); ++run) one_run(first + run);
  EXPECT_EQ(node_.terminate(), 0) << peers::tail(node_.log_file(), 4000);
}

}  // namespace
}  // namespace mailherd::test
